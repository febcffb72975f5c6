"""What all ends of a command have in common: the reply in the outbox, and the way back when a commit fails.

One commit holds the end of the command and the reply; the reply also takes the place of the command's
body, for copies that arrive within the dedupe window.
"""

from __future__ import annotations

from datetime import UTC, datetime

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.messages import Message, derived_uuid
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.drafts import Draft
from zconnector.queue.iterators import Iterators
from zconnector.queue.leases import Command
from zconnector.queue.outbox import Outbox
from zconnector.queue.register import Alarm, Register
from zconnector.queue.states import ENDED, State, Step
from zconnector.queue.store import COMMANDS, Put


def addressed(command: Command, reply: Message) -> Message:
    """A reply, to whoever sent the command."""
    header = dict(reply.header)
    if command.source:
        header["recipient"] = command.source
    if command.tenant:
        header["tenant"] = command.tenant
    return Message(reply.kind, header, reply.payload, reply.flags)


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
        """The outbox entry that tells its source; None when there is no room (`force`: beyond the bound)."""
        return self.draft(command, addressed(command, reply), now, force=force)

    def draft(
        self, command: Command, addressed: Message, now: Instant, *, force: bool = False
    ) -> Draft | None:
        """As `reply`, of one that is addressed already."""
        uuid = addressed.header["uuid"]
        if uuid in self._outbox:  # a worker that uses a uuid twice must not lose a reply by it
            addressed = addressed.with_fields(uuid=derived_uuid(command.uuid, uuid))
        return self._outbox.draft(addressed, now, lasting=True, force=force)

    def ended(self, command: Command, step: Step, draft: Draft, why: str, now: Instant) -> Actions:
        """Its end is stored. Whoever else holds it still is told `why` it is over."""
        lease = command.lease
        self.let_go(command, now)
        actions = self._register.end(command, step, len(draft.write.body or b""), now)
        self._messages.forget(COMMANDS, command.key)  # its row has the reply now, which few ask for again
        self._outbox.accept(draft, now)
        if lease is not None and lease.holder and why:
            actions += self._register.on_lost(command, lease, why, now)
        return actions

    def let_go(self, command: Command, now: Instant) -> None:
        """Its lease, if there is one, is over."""
        lease = command.lease
        if lease is None:
            return
        if lease.iterator:
            self._iterators.let_go(lease.iterator, now)
        self._register.unlease(command)

    def undo(self, command: Command, draft: Draft | None, now: Instant) -> Actions:
        """That commit failed: everything is as before, and whoever asked meanwhile is tried."""
        if draft is not None:
            self._outbox.abandon(draft)
        command.reply = ""
        if command.lease is not None:
            step = Step.UNDONE_HELD
        elif command.due:
            step = Step.UNDONE_DELAYED
            left = min(command.delay, max(0, command.due - now.wall))
            self._register.set_alarm(command, Alarm.DUE, now.mono + left / 1000)
        else:
            step = Step.UNDONE
        self._register.step(command, step, now)
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


def describe(command: Command | None) -> str:
    """The state a command is in, for people: why a settlement of an earlier lease has no effect."""
    if command is None or command.state is State.STORING:
        return "unknown here"
    if command.state in ENDED:
        if not command.at:
            return str(command.state)
        since = datetime.fromtimestamp(command.at / 1000, UTC).isoformat(timespec="milliseconds")
        return f"{command.state} since {since}"
    if command.state is State.LEASED:
        again = " again" if command.attempt > 1 else ""
        return f"leased{again}, attempt {command.attempt}"
    return str(command.state)
