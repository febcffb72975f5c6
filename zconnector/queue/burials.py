"""Commands that end without a worker: dead letters, and FAIL to their source."""

from __future__ import annotations

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.errors import DamagedError, Reason, StorageError
from zconnector.messages import Kind, Message, Outcome, clipped, derived_uuid
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.dead import DeadLetters
from zconnector.queue.envelope import pack
from zconnector.queue.finish import Finish, ask_again
from zconnector.queue.leases import Command
from zconnector.queue.register import Register
from zconnector.queue.states import State, Step
from zconnector.queue.store import COMMANDS, Put, Write


class Burials:
    """One commit holds the dead letter, the end of the command and the FAIL in the outbox."""

    def __init__(self, commits: Commits, register: Register, finish: Finish, dead: DeadLetters) -> None:
        self._commits = commits
        self._register = register
        self._finish = finish
        self._dead = dead
        self._postponed: list[Command] = []
        self._retry_at: float | None = None

    def bury_damaged(self, command: Command, body: bytes, now: Instant, error: DamagedError) -> Actions:
        """As `bury`, for a body that is no message any more: what is left of it is the letter's payload."""
        left = Message(Kind.COMMAND, {"uuid": command.uuid, "command": command.name}, body)
        return self.bury(command, left, now, Reason.STORAGE_FAILED, str(error))

    def bury(
        self,
        command: Command,
        message: Message,
        now: Instant,
        reason: Reason,
        detail: str,
    ) -> Actions:
        """No waiter can be handed it: a dead letter, and FAIL to its source."""
        fail = Message(
            Kind.EVENT,
            {
                "uuid": derived_uuid(command.uuid, Outcome.FAIL),
                "topic": command.name,
                "event": Outcome.FAIL,
                "reference": command.uuid,
                "timestamp": now.wall,
                "reason": str(reason),
                "detail": clipped(detail),
            },
        )
        draft = self._finish.reply(command, fail, now, force=True)
        if draft is None:
            return []
        letter = self._dead.bury(
            pack(message),
            command.uuid,
            command.name,
            reason,
            now,
            detail=detail,
            attempts=command.attempt,
            source=command.source,
        )
        self._register.step(command, Step.UNFIT)
        command.reply = draft.entry.uuid
        put = Put(COMMANDS, command.key, command.as_meta(State.DEAD), draft.write.body)
        writes: list[Write] = [put, letter, draft.write]

        def then(now: Instant) -> Actions:
            self._finish.ended(command, Step.BURIED, draft, now)
            fields = {"uuid": command.uuid, "reason": str(reason), "detail": detail}
            note = Note("warning", "command is a dead letter", fields)
            return [note, *ask_again(command, now)]

        def failed(now: Instant, error: StorageError) -> Actions:
            self._dead.undo(letter)
            actions = self._finish.undo(command, draft, now)
            if command.state is State.READY:
                # Not into its line at once: a waiter there would bring it straight back here.
                self._postponed.append(command)
                self._retry_at = now.mono + RETRY
            return actions

        return [self._commits.commit(writes, then, failed)]

    def tick(self, now: Instant) -> Actions:
        if self._retry_at is None or now.mono < self._retry_at:
            return []
        self._retry_at = None
        postponed, self._postponed = self._postponed, []
        actions: Actions = []
        for command in postponed:
            if command.state is State.READY:
                actions += self._register.on_ready(command, now)
        return actions

    def deadline(self) -> float | None:
        return self._retry_at
