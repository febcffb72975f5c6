"""How workers end commands, and tell of them: SUCCES, FAIL, progress, and the reply that is kept."""

from __future__ import annotations

from typing import Literal

from zconnector.actions import Actions, Note, Reach
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.messages import Message, is_completion
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.finish import Finish, addressed, ask_again
from zconnector.queue.leases import Command
from zconnector.queue.outbox import Outbox
from zconnector.queue.outcomes import Completed, Done, OnCompleted
from zconnector.queue.register import Register
from zconnector.queue.states import COMPLETING, DONE, ENDED, READY, State, Step
from zconnector.queue.store import COMMANDS, Put

_ANSWERED, _COMPLETED = Step.ANSWERED, Step.COMPLETED
_BEFORE_COMMIT = Reach("target.completion_before_commit")
_AFTER_COMMIT = Reach("target.completion_after_commit")


class Endings:
    """Completions and progress."""

    def __init__(
        self, commits: Commits, messages: Messages, register: Register, outbox: Outbox, finish: Finish
    ) -> None:
        self._commits = commits
        self._messages = messages
        self._register = register
        self._outbox = outbox
        self._finish = finish
        self.late = 0

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
            if reply.uuid in self._outbox:
                return done(now, Completed("PROGRESS"))
            return self.tell(command, addressed(command, reply), now, _told("PROGRESS", done))
        if command.state is COMPLETING:
            command.after += (lambda now: self.complete(reply, now, done),)
            return []
        reply = addressed(command, reply)
        return self.end(command, reply, now, _told("COMPLETED", done), why=str(DONE))

    def end(self, command: Command, reply: Message, now: Instant, done: Done, *, why: str = "") -> Actions:
        """A worker has done it (or says FAIL): DONE with that reply (`addressed`), in one commit.

        `why` is told to the stream that holds it, where the reply is not its own.
        """
        draft = self._finish.draft(command, reply, now)
        if draft is None:
            return done(now, Refusal(Reason.QUEUE_FULL, "the outbox is full of replies", command.uuid))
        self._register.step(command, _ANSWERED)
        command.reply = draft.entry.uuid
        meta = command.as_meta(DONE)
        meta["at"] = now.wall
        put = Put(COMMANDS, command.key, meta, draft.write.body)

        def then(now: Instant) -> Actions:
            more = self._finish.ended(command, _COMPLETED, draft, why, now)
            actions: Actions = [_AFTER_COMMIT, *done(now, None), *more]
            return actions + ask_again(command, now) if command.after else actions

        def failed(now: Instant, error: StorageError) -> Actions:
            refusal = Refusal(Reason.STORAGE_FAILED, str(error), command.uuid)
            actions = done(now, refusal) + self._finish.undo(command, draft, now)
            return actions + (self._register.on_ready(command, now) if command.state is READY else [])

        return [_BEFORE_COMMIT, self._commits.commit((put, draft.write), then, failed)]

    def tell(self, command: Command, reply: Message, now: Instant, done: Done) -> Actions:
        """Progress: an event (`addressed`) to its source, from the outbox."""
        draft = self._finish.draft(command, reply, now)
        if draft is None:
            return done(now, Refusal(Reason.QUEUE_FULL, "the outbox is full of replies", command.uuid))

        def then(now: Instant) -> Actions:
            self._outbox.accept(draft, now)
            return done(now, None)

        def failed(now: Instant, error: StorageError) -> Actions:
            self._outbox.abandon(draft)
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error), command.uuid))

        return [self._commits.commit([draft.write], then, failed)]

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


def _told(outcome: Literal["COMPLETED", "PROGRESS"], done: OnCompleted) -> Done:
    """How an outcome is told to whoever sent a reply."""

    def tell(now: Instant, refusal: Refusal | None) -> Actions:
        return done(now, Completed("FAILED", refusal) if refusal else Completed(outcome))

    return tell
