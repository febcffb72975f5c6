"""What connectors sent to themselves, told afterwards (WIRE.md section 8): journalled, never forwarded.

A command gets the connector that took it as its resolution, in the same write, so that a further copy which
anybody sends goes there too. One that was resolved to another connector before, or with another body, stays
so: that is counted and logged, for then a uuid was used twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.cluster.context import Context
from zconnector.cluster.store import AppendReply, Resolve, Resolved, entry_of
from zconnector.errors import Reason, WireError
from zconnector.messages.fields import check_header
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message, body_digest
from zconnector.shoset.peers import Peer
from zconnector.shoset.permissions import may_send

_KINDS = {"COMMAND": Kind.COMMAND, "REPLY": Kind.EVENT}
_OURS = ("kind", "size")
"""Fields of a record that are not its message's."""


class Journalling:
    """JOURNAL messages on their way into the journal, at most `limit`; what is beyond is sent again."""

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._limit = limit
        self._pending = 0

    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """Commit the records, then answer. A record that is none is logged, counted, and passed over."""
        source = message.text("source")
        component = self._context.components.connector(peer.tenant, source)
        if component is None:
            detail = f"{source!r} is not declared here"
            header = {"reason": Reason.NOT_PERMITTED, "detail": detail, "reference": message.uuid}
            return self._context.send(peer, Message(Kind.ERROR, header), now, "error_dropped")
        if self._pending >= self._limit:
            self._context.counters["journal_refused"] += 1
            return []
        writes: list[Resolve | AppendReply] = []
        actions: Actions = []
        for record in _records(message, peer.tenant):
            if isinstance(record, str):
                actions += self._odd("journal_bad", source, message.uuid, record)
                continue
            if record.kind is Kind.EVENT:
                writes.append(AppendReply(peer.tenant, entry_of(record, "REPLY", now.wall)))
                continue
            if not may_send(component.permissions, record):
                actions += self._odd("journal_not_permitted", source, record.uuid, "may not send that")
            entry = entry_of(record, "COMMAND", now.wall)
            digest = record.text("digest") if "cut" in record.header else ""
            writes.append(Resolve(peer.tenant, record.uuid, digest or body_digest(record), source, entry))
        if not writes:
            return actions + self._answer(peer, message, now)
        self._pending += 1

        def committed(now: Instant, results: Sequence[Any]) -> Actions:
            self._pending -= 1
            told: Actions = []
            for write, result in zip(writes, results, strict=True):
                told += self._check(write, result, source)
            return told + self._answer(peer, message, now)

        def failed(now: Instant) -> Actions:
            self._pending -= 1
            return []  # not answered: it is sent again

        return actions + self._context.commits.commit(writes, committed, failed)

    def _check(self, write: Resolve | AppendReply, result: Any, source: str) -> Actions:
        if not isinstance(result, Resolved) or not isinstance(write, Resolve):
            return []
        if (result.target, result.digest) == (write.candidate, write.digest):
            return []
        return self._odd("journal_conflict", source, write.uuid, f"resolved to {result.target} before")

    def _odd(self, counter: str, source: str, uuid: str, why: str) -> Actions:
        self._context.counters[counter] += 1
        return [Note("warning", counter.replace("_", " "), {"source": source, "uuid": uuid, "why": why})]

    def _answer(self, peer: Peer, message: Message, now: Instant) -> Actions:
        header = {"reference": message.uuid, "recipient": message.text("source"), "tenant": peer.tenant}
        return self._context.send(
            peer, Message(Kind.JOURNAL, header, flags=Flag.ANSWER), now, "journal_dropped"
        )


def _records(message: Message, tenant: str) -> Iterator[Message | str]:
    """The messages that a JOURNAL tells of; for one that is none: why."""
    source, at = message.text("source"), 0
    for record in message.header["entries"]:
        if not isinstance(record, dict):
            yield "it is no object"
            continue
        kind, size = _KINDS.get(str(record.get("kind"))), record.get("size")
        if kind is None or type(size) is not int or not 0 <= size <= len(message.payload) - at:
            yield f"kind {record.get('kind')!r:.40} or size {size!r:.40} is none"
            return  # nobody knows where the next payload begins
        header = {name: value for name, value in record.items() if name not in _OURS}
        header |= {
            "tenant": tenant,
            "source": source,
            "target" if kind is Kind.COMMAND else "recipient": source,
        }
        payload = message.payload[at : at + size]
        at += size
        try:
            check_header(kind, Flag.NONE, header)
        except WireError as error:
            yield error.detail
            continue
        yield Message(kind, header, payload)
