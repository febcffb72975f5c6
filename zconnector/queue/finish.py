"""What all ends of a command have in common: the reply in the outbox, and the way back when a commit fails.

One commit holds the end of the command and the reply; the reply also takes the place of the command's
body, for copies that arrive within the dedupe window.
"""

from __future__ import annotations

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.messages import Message, derived_uuid
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.iterators import Iterators
from zconnector.queue.leases import Command
from zconnector.queue.outbox import Draft, Outbox
from zconnector.queue.register import Register
from zconnector.queue.states import Step
from zconnector.queue.store import COMMANDS, Put


class Finish:
    """Drafts replies, and settles what follows the commit of an end."""

    def __init__(
        self,
        commits: Commits,
        messages: Messages,
        iterators: Iterators,
        register: Register,
        outbox: Outbox,
    ) -> None:
        self._commits = commits
        self._messages = messages
        self._iterators = iterators
        self._register = register
        self._outbox = outbox

    def reply(self, command: Command, reply: Message, now: Instant, *, force: bool = False) -> Draft | None:
        fields = {"recipient": command.source, "tenant": command.tenant}
        if reply.uuid in self._outbox:  # a worker that uses a uuid twice must not lose a reply by it
            fields["uuid"] = derived_uuid(command.uuid, reply.uuid)
        kept = {name: value for name, value in fields.items() if value}
        return self._outbox.draft(reply.with_fields(**kept), now, lasting=True, force=force)

    def ended(self, command: Command, step: Step, draft: Draft, now: Instant) -> None:
        if command.lease is not None:
            self._iterators.let_go(command.lease.iterator, now)
        body = draft.write.body or b""
        self._register.end(command, step, len(body), now)
        self._messages.keep(COMMANDS, command.key, body)
        self._outbox.accept(draft, now)

    def undo(self, command: Command, draft: Draft, now: Instant) -> Actions:
        """The end was not stored: everything is as before, and the next completion in line is tried."""
        self._outbox.abandon(draft)
        command.reply = ""
        held = command.lease is not None
        self._register.step(command, Step.UNDONE_HELD if held else Step.UNDONE)
        # What rode towards the store before this commit may have been superseded by it.
        self._commits.ride(Put(COMMANDS, command.key, command.as_meta(command.state)))
        return ask_again(command, now)


def ask_again(command: Command, now: Instant) -> Actions:
    """A commit is over: whoever asked meanwhile is answered now."""
    after, command.after = command.after, ()
    actions: Actions = []
    for ask in after:
        actions += ask(now)
    return actions
