"""Replies through a member (WIRE.md section 7): passed on at once, journalled, confirmed after that.

The confirmation of the connector that received a reply takes it out of the outbox of the one that
made it; so it is passed on only once the reply is in the journal.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from zconnector.actions import Actions, Reach
from zconnector.clock import Instant
from zconnector.cluster.context import Context, of_tenant
from zconnector.cluster.store import AppendReply, entry_of
from zconnector.errors import StorageError
from zconnector.messages.kinds import CONFIRMED_AT_ONCE, Kind
from zconnector.messages.message import Message
from zconnector.shoset.peers import Peer

RECENT = 20_000
"""Journalled replies that are remembered without asking the store."""

_EVENT = Kind.EVENT
"""A member of an enumeration costs as much as ten names (CPython 3.11)."""
_ReplyId = tuple[str, str]
"""Tenant and uuid."""


_Held = tuple[tuple[Peer, Message], ...]
"""Confirmations that wait for the journal: the instance they came by, and the message that had them."""
_NONE_HELD: _Held = ()


class Replies:
    """Replies on their way into the journal, bounded by `limit`.

    Invariant: a uuid is in `_pending` exactly while its commit has no outcome.
    """

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._limit = limit
        self._pending: dict[_ReplyId, _Held] = {}
        self._recent: OrderedDict[_ReplyId, None] = OrderedDict()
        self._batch: list[AppendReply] = []

    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A reply, from the instance it came by. Journalled at the next `flush`."""
        tenant = peer.tenant
        reply = of_tenant(message, tenant)
        header = reply.header
        identity = (tenant, header["uuid"])
        if identity not in self._pending and identity not in self._recent:
            if len(self._pending) >= self._limit:
                self._context.counters["reply_refused"] += 1
                return []  # its outbox sends it again
            self._pending[identity] = _NONE_HELD
            self._batch.append(AppendReply(tenant, entry_of(reply, "REPLY", now.wall)))
        return self._context.deliver(tenant, header["recipient"], reply, now, "reply_dropped", peer)

    def confirmed(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A CONFIRM of the connector that received replies, for the one that made them."""
        confirm = of_tenant(message, peer.tenant)
        ready: list[list[Any]] = []
        for uuid in _uuids(message):
            identity = (peer.tenant, uuid)
            held = self._pending.get(identity)
            if held is not None:
                self._pending[identity] = (*held, (peer, confirm))
                continue
            try:
                journalled = identity in self._recent or self._context.reads.has_reply(*identity)
            except StorageError as error:
                return self._context.commits.broken(error)
            if journalled:
                ready.append([uuid, 0])
            else:  # lost in a crash of this member: the reply comes again, and its confirmation with it
                self._context.counters["confirm_before_reply"] += 1
        return self._pass_on(peer, confirm.with_fields(entries=ready), now) if ready else []

    def flush(self) -> Actions:
        """Commit what has come since the last flush."""
        if not self._batch:
            return []
        writes, self._batch = self._batch, []
        commit = self._context.commits.commit(
            writes,
            lambda now, _: self._committed(writes, now),
            lambda now: self._failed(writes),
            lazy=True,  # the reply is on its way: only what its sender keeps of it waits
        )
        return [Reach("member.reply_before_commit"), *commit]

    def _committed(self, writes: Sequence[AppendReply], now: Instant) -> Actions:
        actions: Actions = [Reach("member.reply_after_commit")]
        together: dict[tuple[Peer, str, str], tuple[Message, list[Any]]] = {}
        for write in writes:
            identity = (write.tenant, write.entry.uuid)
            self._recent[identity] = None
            for peer, confirm in self._pending.pop(identity):
                ends = (peer, confirm.text("recipient"), confirm.text("source"))
                together.setdefault(ends, (confirm, []))[1].append([write.entry.uuid, 0])
        for (peer, _, _), (confirm, entries) in together.items():
            for at in range(0, len(entries), CONFIRMED_AT_ONCE):
                some = confirm.with_fields(entries=entries[at : at + CONFIRMED_AT_ONCE])
                actions += self._pass_on(peer, some, now)
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return actions

    def _failed(self, writes: Sequence[AppendReply]) -> Actions:
        for write in writes:
            del self._pending[write.tenant, write.entry.uuid]
        return []  # nobody is confirmed: the outbox sends again

    def _pass_on(self, peer: Peer, confirm: Message, now: Instant) -> Actions:
        recipient = confirm.text("recipient")
        return self._context.deliver(peer.tenant, recipient, confirm, now, "confirm_dropped", peer)


def is_reply(event: Message) -> bool:
    """Whether an event is for one connector: a reply to a command or to an event."""
    return event.kind is _EVENT and bool(event.header.get("recipient"))


def _uuids(confirm: Message) -> Iterator[str]:
    for entry in confirm.header["entries"]:
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str):
            yield entry[0]
