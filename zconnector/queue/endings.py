"""How commands end: completed by a worker, or buried because no worker can be handed them.

Either way one commit holds the end of the command and the reply in the outbox; the reply also takes the
place of the command's body, for copies that arrive within the dedupe window.
"""

from __future__ import annotations

from collections.abc import Callable

from zconnector.actions import Actions, Note, Reach
from zconnector.clock import Instant
from zconnector.errors import DamagedError, Reason, Refusal, StorageError
from zconnector.messages import Kind, Message, Outcome, clipped, derived_uuid, is_completion
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.dead import DeadLetters
from zconnector.queue.envelope import pack
from zconnector.queue.iterators import Iterators
from zconnector.queue.leases import Command
from zconnector.queue.outbox import Draft, Outbox
from zconnector.queue.outcomes import Completed, OnCompleted
from zconnector.queue.register import Register
from zconnector.queue.states import ENDED, State, Step
from zconnector.queue.store import COMMANDS, Put, Write


class Endings:
    """Completions, progress and burials."""

    def __init__(
        self,
        commits: Commits,
        messages: Messages,
        iterators: Iterators,
        register: Register,
        outbox: Outbox,
        dead: DeadLetters,
    ) -> None:
        self._commits = commits
        self._messages = messages
        self._iterators = iterators
        self._register = register
        self._outbox = outbox
        self._dead = dead
        self._postponed: list[Command] = []
        self._retry_at: float | None = None
        self.late = 0
        self.on_ready: Callable[[Command, Instant], Actions] = lambda command, now: []
        """Told of a command that is ready again, since its end could not be stored."""

    def complete(self, reply: Message, now: Instant, done: OnCompleted) -> Actions:
        """An event with a reference came from a worker: does it end a command, or tell of one?

        Only the first completion counts. Who holds the lease is not asked: a reply over the Gandalf
        API does not say whose it is, and one by a worker whose lease had ended still means that the
        work is done.
        """
        command = self._register.find(reply.reference)
        if command is None or command.state is State.STORING:
            return done(now, Completed("NOT_MINE"))
        if command.state in ENDED:
            self.late += 1
            return done(now, Completed("LATE"))
        if not is_completion(reply.text("event")):
            return self._progress(command, reply, now, done)
        if command.state is State.COMPLETING:
            command.after.append(lambda now: self.complete(reply, now, done))
            return []
        draft = self._reply(command, reply, now)
        if draft is None:
            refusal = Refusal(Reason.QUEUE_FULL, "the outbox is full of replies", reply.reference)
            return done(now, Completed("FAILED", refusal))
        self._register.step(command, Step.ANSWERED)
        command.reply = draft.entry.uuid
        put = Put(COMMANDS, command.key, command.as_meta(State.DONE), draft.write.body)

        def then(now: Instant) -> Actions:
            self._ended(command, Step.COMPLETED, draft, now)
            actions: Actions = [Reach("target.completion_after_commit")]
            actions += done(now, Completed("COMPLETED"))
            return actions + self._ask_again(command, now)

        def failed(now: Instant, error: StorageError) -> Actions:
            refusal = Refusal(Reason.STORAGE_FAILED, str(error), reply.reference)
            actions = done(now, Completed("FAILED", refusal)) + self._undo(command, draft, now)
            return actions + (self.on_ready(command, now) if command.state is State.READY else [])

        commit = self._commits.commit([put, draft.write], then, failed)
        return [Reach("target.completion_before_commit"), commit]

    def _progress(self, command: Command, reply: Message, now: Instant, done: OnCompleted) -> Actions:
        if reply.uuid in self._outbox:
            return done(now, Completed("PROGRESS"))
        draft = self._reply(command, reply, now)
        if draft is None:
            refusal = Refusal(Reason.QUEUE_FULL, "the outbox is full of replies", reply.reference)
            return done(now, Completed("FAILED", refusal))

        def then(now: Instant) -> Actions:
            self._outbox.accept(draft, now)
            return done(now, Completed("PROGRESS"))

        def failed(now: Instant, error: StorageError) -> Actions:
            self._outbox.abandon(draft)
            return done(now, Completed("FAILED", Refusal(Reason.STORAGE_FAILED, str(error), reply.reference)))

        return [self._commits.commit([draft.write], then, failed)]

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
        draft = self._reply(command, fail, now, force=True)
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
            self._ended(command, Step.BURIED, draft, now)
            fields = {"uuid": command.uuid, "reason": str(reason), "detail": detail}
            note = Note("warning", "command is a dead letter", fields)
            return [note, *self._ask_again(command, now)]

        def failed(now: Instant, error: StorageError) -> Actions:
            self._dead.undo(letter)
            actions = self._undo(command, draft, now)
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
                actions += self.on_ready(command, now)
        return actions

    def deadline(self) -> float | None:
        return self._retry_at

    def reply_again(self, command: Command, now: Instant) -> Actions:
        """Put the stored reply of an ended command on its way again.

        If it cannot be read, the next copy of the command tries it again: the command is stored and executed,
        and whoever heard otherwise could have it executed once more under another uuid.
        """
        if command.reply in self._outbox:
            self._outbox.wake_one(command.reply)
            return []
        try:
            reply = self._messages.message(COMMANDS, command.key)
        except StorageError as error:
            self._commits.failed()
            fields = {"uuid": command.uuid, "error": str(error)}
            return [Note("error", "stored reply cannot be read: not sent again", fields)]
        draft = self._outbox.draft(reply, now, lasting=True)
        if draft is None:
            return [Note("warning", "outbox full: reply not sent again", {"uuid": reply.uuid})]

        def then(now: Instant) -> Actions:
            self._outbox.accept(draft, now)
            return []

        def failed(now: Instant, error: StorageError) -> Actions:
            self._outbox.abandon(draft)
            return []

        return [self._commits.commit([draft.write], then, failed)]

    def _reply(self, command: Command, reply: Message, now: Instant, *, force: bool = False) -> Draft | None:
        fields = {"recipient": command.source, "tenant": command.tenant}
        if reply.uuid in self._outbox:  # a worker that uses a uuid twice must not lose a reply by it
            fields["uuid"] = derived_uuid(command.uuid, reply.uuid)
        kept = {name: value for name, value in fields.items() if value}
        return self._outbox.draft(reply.with_fields(**kept), now, lasting=True, force=force)

    def _ended(self, command: Command, step: Step, draft: Draft, now: Instant) -> None:
        if command.lease is not None:
            self._iterators.let_go(command.lease.iterator, now)
        body = draft.write.body or b""
        self._register.end(command, step, len(body), now)
        self._messages.keep(COMMANDS, command.key, body)
        self._outbox.accept(draft, now)

    def _undo(self, command: Command, draft: Draft, now: Instant) -> Actions:
        """The end was not stored: everything is as before, and the next completion in line is tried."""
        self._outbox.abandon(draft)
        command.reply = ""
        held = command.lease is not None
        self._register.step(command, Step.UNDONE_HELD if held else Step.UNDONE)
        # What rode towards the store before this commit may have been superseded by it.
        self._commits.ride(Put(COMMANDS, command.key, command.as_meta(command.state)))
        return self._ask_again(command, now)

    @staticmethod
    def _ask_again(command: Command, now: Instant) -> Actions:
        after, command.after = command.after, []
        actions: Actions = []
        for ask in after:
            actions += ask(now)
        return actions
