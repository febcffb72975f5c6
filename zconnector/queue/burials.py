"""Commands that end without being done: a dead letter, and FAIL to their source, in one commit."""

from __future__ import annotations

from collections.abc import Callable

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.errors import DamagedError, Reason, Refusal, StorageError
from zconnector.messages import Kind, Message, Outcome, clipped, derived_uuid
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.dead import DeadLetters
from zconnector.queue.envelope import pack, unpack
from zconnector.queue.finish import Finish, ask_again, describe
from zconnector.queue.leases import Command
from zconnector.queue.outcomes import Done
from zconnector.queue.register import Register
from zconnector.queue.states import ENDED, WAITING, State, Step
from zconnector.queue.store import COMMANDS, Put, Write


def _nobody(now: Instant, refusal: Refusal | None) -> Actions:
    return []


class Burials:
    """Invariant: a command whose burial failed, and which nobody else asked for, is buried later."""

    def __init__(
        self, commits: Commits, messages: Messages, register: Register, finish: Finish, dead: DeadLetters
    ) -> None:
        self._commits = commits
        self._messages = messages
        self._register = register
        self._finish = finish
        self._dead = dead
        self._postponed: list[tuple[Command, Callable[[Instant], Actions]]] = []
        self._retry_at: float | None = None

    def bury(
        self,
        command: Command,
        reason: Reason,
        detail: str,
        now: Instant,
        *,
        payload: bytes = b"",
        settled: bool = False,
        done: Done | None = None,
    ) -> Actions:
        """READY, DELAYED or LEASED until now: it becomes a dead letter, its source hears FAIL.

        `payload` is that of the FAIL; `settled`: the stream that holds it says so itself. `done` hears None
        after the commit; or why it is not stored, then all is as before. Without a `done` it is tried again
        until it is stored.
        """
        try:
            body = self._messages.body(COMMANDS, command.key)
        except StorageError as error:
            self._commits.failed()
            return self._not_buried(command, reason, detail, now, error, done)
        letter = self._dead.bury(
            _letter(command, body),
            command.uuid,
            command.name,
            reason,
            now,
            detail=clipped(detail),
            attempts=command.attempt,
            error=command.error,
            source=command.source,
        )
        draft = self._finish.reply(
            command, self._fail(command, reason, detail, payload, now), now, force=True
        )
        if draft is None:  # `force` makes that there is one
            return []
        self._register.step(command, Step.BURY, now)
        command.reply = draft.entry.uuid
        meta = {**command.as_meta(State.DEAD), "at": now.wall}
        put = Put(COMMANDS, command.key, meta, draft.write.body)
        writes: list[Write] = [put, letter, draft.write]

        def then(now: Instant) -> Actions:
            why = "" if settled else str(reason)
            more = self._finish.ended(command, Step.BURIED, draft, why, now)
            fields = {"uuid": command.uuid, "reason": str(reason), "detail": detail}
            told = (done or _nobody)(now, None)
            note = Note("warning", "command is a dead letter", fields)
            return [note, *told, *more, *ask_again(command, now)]

        def failed(now: Instant, error: StorageError) -> Actions:
            self._dead.undo(letter)
            actions = self._finish.undo(command, draft, now)
            return actions + self._not_buried(command, reason, detail, now, error, done)

        return [self._commits.commit(writes, then, failed)]

    def expire(self, command: Command, now: Instant) -> Actions:
        """Its time to live is over."""
        return self.bury(command, Reason.EXPIRED, f"its {command.ttl} ms to live are over", now)

    def cancel(self, uuid: str, reason: Reason, detail: str, now: Instant, done: Done) -> Actions:
        """Bury a command because somebody wants it, whatever it is doing."""
        command = self._register.find(uuid)
        if command is None or command.state is State.STORING:
            return done(now, Refusal(Reason.NOT_FOUND, f"no command {uuid[:64]!r} here", uuid))
        if command.state in ENDED:
            return done(now, Refusal(Reason.FENCED, describe(command), uuid))
        if command.state is State.COMPLETING:
            command.after += (lambda later: self.cancel(uuid, reason, detail, later, done),)
            return []
        return self.bury(command, reason, detail, now, done=done)

    def _fail(self, command: Command, reason: Reason, detail: str, payload: bytes, now: Instant) -> Message:
        header = {
            "uuid": derived_uuid(command.uuid, Outcome.FAIL),
            "topic": command.name,
            "event": Outcome.FAIL,
            "reference": command.uuid,
            "timestamp": now.wall,
            "reason": str(reason),
            "detail": clipped(detail),
        }
        return Message(Kind.EVENT, header, payload)

    def _not_buried(
        self,
        command: Command,
        reason: Reason,
        detail: str,
        now: Instant,
        error: StorageError,
        done: Done | None,
    ) -> Actions:
        if done is not None:
            told = done(now, Refusal(Reason.STORAGE_FAILED, str(error), command.uuid))
            return told + (self._register.on_ready(command, now) if command.state is State.READY else [])
        # Not into its line meanwhile: a waiter there would bring it straight back here.
        self._postponed.append((command, lambda later: self.bury(command, reason, detail, later)))
        self._retry_at = now.mono + RETRY
        self._commits.agenda.by(self._retry_at)
        return []

    def tick(self, now: Instant) -> Actions:
        if self._retry_at is None or now.mono < self._retry_at:
            return []
        self._retry_at = None
        postponed, self._postponed = self._postponed, []
        actions: Actions = []
        for command, again in postponed:
            if command.state in WAITING or command.state is State.LEASED:
                actions += again(now)
            elif command.state is State.COMPLETING:  # another end of it is being stored, which may fail too
                self._postponed.append((command, again))
                self._retry_at = now.mono + RETRY
                self._commits.agenda.by(self._retry_at)
        return actions

    def deadline(self) -> float | None:
        return self._retry_at


def _letter(command: Command, body: bytes) -> bytes:
    """The stored form; for a body that is no message any more, what is left of it is the letter's payload."""
    try:
        unpack(body)
    except DamagedError:
        return pack(Message(Kind.COMMAND, {"uuid": command.uuid, "command": command.name}, body))
    return body
