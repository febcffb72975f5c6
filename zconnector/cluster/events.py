"""Broadcast events through a member (WIRE.md section 8): numbered, journalled, confirmed, relayed; fetched.

The order within a tenant is that of the commits. What arrives in one transmission is one commit,
and is confirmed together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from zconnector.actions import Actions, Reach
from zconnector.clock import Instant
from zconnector.cluster.context import Context
from zconnector.cluster.store import Appended, AppendEvent, entry_of
from zconnector.errors import Reason, StorageError
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message
from zconnector.shoset.peers import Peer

RECENT = 20_000
"""Journalled events whose numbers are remembered without asking the store."""
FETCH_EVENTS = 500
FETCH_BYTES = 4_000_000
_CONFIRMED_AT_ONCE = 400
"""Entries of one CONFIRM: a header holds 65,536 bytes."""
_RELAYED_AT_ONCE = 64
"""Events that share one check of the peer's credit."""

_EventId = tuple[str, str]
"""Tenant and uuid."""


class Events:
    """Events on their way into the journal, bounded by `limit`, and the sequence of each tenant.

    Invariants: a uuid is in `_pending` exactly while its commit has no outcome, with the instances
    that gave a copy; `_latest` holds committed numbers only.
    """

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._limit = limit
        self._latest: dict[str, int] = {}
        self._pending: dict[_EventId, list[Peer]] = {}
        self._recent: OrderedDict[_EventId, int] = OrderedDict()
        self._batch: list[AppendEvent] = []
        self._known: dict[Peer, list[list[Any]]] = {}
        """Confirmations of copies that came late, until the next flush."""

    def load(self, latest: dict[str, int]) -> None:
        """Take what the store has."""
        self._latest = dict(latest)

    def latest(self, tenant: str) -> int:
        """Last committed number of the tenant's sequence."""
        return self._latest.get(tenant, 0)

    def received(self, peer: Peer, message: Message, now: Instant) -> None:
        """A copy of an event, from the instance that gives it. Journalled at the next `flush`."""
        event = message.with_fields(tenant=peer.tenant).without("seq")
        identity = (peer.tenant, event.uuid)
        givers = self._pending.get(identity)
        if givers is not None:
            if peer not in givers:
                givers.append(peer)
            return
        seq = self._recent.get(identity)
        if seq is not None:
            self._known.setdefault(peer, []).append([event.uuid, seq])
            return
        if len(self._pending) >= self._limit:
            self._context.counters["event_refused"] += 1
            return  # its outbox sends it again
        self._pending[identity] = [peer]
        self._batch.append(AppendEvent(peer.tenant, entry_of(event, "EVENT", now.wall)))

    def flush(self, now: Instant) -> Actions:
        """Commit what has come since the last flush, and confirm what was known."""
        actions: Actions = []
        for peer, entries in self._known.items():
            actions += self._confirm(peer, entries, now)
        self._known = {}
        if not self._batch:
            return actions
        writes, self._batch = self._batch, []
        commit = self._context.commits.commit(
            writes,
            lambda later, results: self._committed(writes, results, later),
            lambda later: self._failed(writes),
        )
        return [*actions, Reach("member.event_before_commit"), *commit]

    def _committed(self, writes: Sequence[AppendEvent], results: Sequence[Appended], now: Instant) -> Actions:
        actions: Actions = [Reach("member.event_after_commit")]
        confirms: dict[Peer, list[list[Any]]] = {}
        relays: dict[Peer, list[Message]] = {}
        for write, appended in zip(writes, results, strict=True):
            tenant, entry = write.tenant, write.entry
            givers = self._pending.pop((tenant, entry.uuid))
            self._recent[tenant, entry.uuid] = appended.seq
            self._latest[tenant] = max(self.latest(tenant), appended.seq)
            for peer in givers:
                confirms.setdefault(peer, []).append([entry.uuid, appended.seq])
            if appended.fresh:
                event = Message(Kind.EVENT, {**entry.header, "seq": appended.seq}, entry.payload)
                for peer in self._context.instances(tenant):
                    if peer in givers:
                        continue
                    if peer.room_for_events > len(relays.get(peer, ())):
                        relays.setdefault(peer, []).append(event)
                    else:
                        self._context.counters["relay_dropped"] += 1
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        for peer, entries in confirms.items():
            actions += self._confirm(peer, entries, now)
        for peer, events in relays.items():
            for chunk in _chunks(events, _RELAYED_AT_ONCE):
                dropped = self._context.counted("relay_dropped")
                actions += self._context.sessions.send(peer, chunk, now, dropped)
        return actions

    def _failed(self, writes: Sequence[AppendEvent]) -> Actions:
        for write in writes:
            del self._pending[write.tenant, write.entry.uuid]
        return []  # nobody is confirmed: the outbox sends again

    def _confirm(self, peer: Peer, entries: Sequence[list[Any]], now: Instant) -> Actions:
        actions: Actions = []
        for chunk in _chunks(entries, _CONFIRMED_AT_ONCE):
            header = {"entries": list(chunk), "tenant": peer.tenant}
            actions += self._context.send(peer, Message(Kind.CONFIRM, header), now, "confirm_dropped")
        return actions

    # ---- FETCH

    def fetch(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """Answer with the events of a span, as many as fit."""
        after, upto = message.number("after"), message.number("upto")
        if after < 0 or upto < after:
            detail = f"FETCH after {after} upto {upto}: must be 0 <= after <= upto"
            header = {"reason": Reason.BAD_HEADER, "detail": detail, "reference": message.uuid}
            return self._context.send(peer, Message(Kind.ERROR, header), now, "error_dropped")
        tenant, recipient = peer.tenant, message.text("source")
        latest = self.latest(tenant)
        upto = min(upto, latest)
        limit = min(FETCH_EVENTS, peer.room_for_events - 1)  # one more is the answer itself
        if limit < 1:
            self._context.counters["fetch_busy"] += 1
            return []  # asked again
        try:
            found = self._context.reads.events(tenant, after, upto, limit, FETCH_BYTES)
            oldest = self._context.reads.oldest(tenant)
        except StorageError as error:
            return self._context.commits.broken(error)
        events = [
            Message(
                Kind.EVENT,
                {**entry.header, "tenant": tenant, "seq": seq, "recipient": recipient},
                entry.payload,
            )
            for seq, entry in found
        ]
        told = found[-1].seq if found and (len(found) == limit or found[-1].seq < upto) else upto
        fields = {
            "reference": message.uuid,
            "recipient": recipient,
            "tenant": tenant,
            "upto": told,
            "latest": latest,
            "missed": max(0, min(told, oldest - 1) - after),
        }
        answer = Message(Kind.FETCH, fields, flags=Flag.ANSWER)
        return self._context.sessions.send(
            peer, (*events, answer), now, self._context.counted("fetch_dropped")
        )

    def tenants(self) -> Iterable[str]:
        """The tenants that have events."""
        return sorted(self._latest)


def _chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
