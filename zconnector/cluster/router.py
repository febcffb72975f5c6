"""A cluster member's core, pure: the role on top of its shoset, and the machine that its shell runs.

It only sends each message to the part that owns what it is about:

| from an aggregator instance | part |
|---|---|
| SECRET | `Admission` |
| COMMAND, receipt | `Commands` |
| reply, CONFIRM | `Replies` |
| broadcast EVENT, FETCH | `Events` |
| CONFIG, CONFIGURATION | `Configure` |
| JOURNAL | `Journalling` |
| PRESENCE | `Presence` |

The tenant of everything is that of the session it came by; nothing of a tenant is ever sent to an instance
of another (`Context.instances`, `Presence.routes`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zconnector.actions import Actions, Caller, ControlReply, Link, Note, Respond, Serve, Stop
from zconnector.clock import Instant, earliest
from zconnector.cluster.admission import Admission
from zconnector.cluster.catalogues import Catalogues
from zconnector.cluster.commands import Commands
from zconnector.cluster.components import Components
from zconnector.cluster.configure import Configure
from zconnector.cluster.context import Context
from zconnector.cluster.events import Events
from zconnector.cluster.explaining import Explaining
from zconnector.cluster.health import Commits
from zconnector.cluster.journalling import Journalling
from zconnector.cluster.operations import Operations
from zconnector.cluster.presence import Presence
from zconnector.cluster.replies import Replies, is_reply
from zconnector.cluster.retention import Retention
from zconnector.cluster.store import Reads
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message
from zconnector.settings import ClusterSettings
from zconnector.shoset.enrolment import Endpoint
from zconnector.shoset.identity import Identity
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset

_COMMAND, _EVENT = Kind.COMMAND, Kind.EVENT
"""Most of what comes. A member of an enumeration costs as much as ten names (CPython 3.11)."""
_PLAIN = Flag.NONE
_ANSWERED = (Kind.CONFIG, Kind.CONFIGURATION, Kind.FETCH, Kind.JOURNAL)
"""What is answered to the connector in `source`."""
_DRAIN_LIMIT = 3.0
"""Seconds that SIGTERM waits for commits under way."""


class ClusterRouter:
    """One cluster member: `Role` of its shoset and `Machine` of its process."""

    def __init__(
        self,
        identity: Identity,
        settings: ClusterSettings,
        reads: Reads,
        rng: random.Random,
        new_secret: Callable[[], str],
    ) -> None:
        """Take over what the store has.

        `new_secret` makes an unguessable text; it comes from outside like the clock and the disk.

        Raises:
            StorageError: the store cannot be read.
        """
        self.identity = identity
        self._settings = settings
        self._commits = Commits()
        self._shoset = Shoset(identity, self, settings.session, rng)
        self._sessions = self._shoset.agenda
        self._context = Context(
            sessions=self._shoset,
            reads=reads,
            commits=self._commits,
            components=Components(self._commits, rng),
            catalogues=Catalogues(),
            presence=Presence(),
            rng=rng,
        )
        self._commands = Commands(self._context, settings.max_in_flight)
        self._replies = Replies(self._context, settings.max_in_flight)
        self._events = Events(self._context, settings.max_in_flight)
        self._journalling = Journalling(self._context, settings.max_in_flight)
        self._configure = Configure(self._context, strict=settings.strict)
        self._admission = Admission(self._context)
        own = Endpoint(identity.instance, identity.endpoint, identity.server_key)
        explaining = Explaining(self._context, self._commands, identity.instance)
        self._operations = Operations(
            self._context, self._admission, self._configure, explaining, own, new_secret
        )
        self._retention = Retention(self._commits, settings.journal_days, settings.journal_bytes)
        self._drained_by: float | None = None
        self._context.components.load(reads.components())
        self._context.catalogues.load(reads.pivots(), reads.products())
        self._events.load(reads.latest_of_all())

    # ---- Role: sessions

    def admit(self, hello: Message, key: str, now: Instant) -> Refusal | None:
        return self._admission.admit(hello, key)

    def secret(self, peer: Peer, message: Message, now: Instant) -> Actions:
        return self._admission.secret(peer, message, now)

    def peer_up(self, peer: Peer, now: Instant) -> Actions:
        self._context.presence.up(peer)
        return [Note("info", "session begins", {"peer": str(peer)})]

    def peer_down(self, peer: Peer, why: str, now: Instant) -> Actions:
        self._context.presence.down(peer)
        self._configure.forget(peer)
        fields = {"peer": str(peer), "why": why}
        return [Note("info", "session ends", fields), *self._commands.lost(peer, now)]

    def room_again(self, peer: Peer, now: Instant) -> Actions:
        return self._configure.room_again(peer, now)

    def refused(self, peer: Peer, refusal: Refusal, now: Instant) -> Actions:
        return []  # a member has nobody above it

    def beat(self, peer: Peer) -> Mapping[str, Any]:
        return {"latest": self._events.latest(peer.tenant)}

    def welcome(self, peer: Peer) -> Mapping[str, Any]:
        return {**self.beat(peer), "instances": self._admission.instances(peer)}

    def welcomed_again(self, peer: Peer, now: Instant) -> Actions:
        return []  # a member has nobody above it

    def heard_beat(self, peer: Peer, header: Mapping[str, Any], now: Instant) -> Actions | None:
        return None

    # ---- Role: messages

    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        kind = message.kind
        if kind is _COMMAND:
            return self._commands.received(peer, message, now)
        if kind is _EVENT:
            if message.flags is not _PLAIN and message.is_receipt:
                return self._commands.receipt(peer, message, now)
            if is_reply(message):
                return self._replies.received(peer, message, now)
            self._events.received(peer, message, now)
            return []
        if kind is Kind.CONFIRM:
            return self._replies.confirmed(peer, message, now)
        if kind in _ANSWERED and not message.text("source"):
            return self._sourceless(peer, message, now)
        if kind is Kind.FETCH and not message.is_answer:
            return self._events.fetch(peer, message, now)
        if kind is Kind.JOURNAL and not message.is_answer:
            return self._journalling.received(peer, message, now)
        if kind in (Kind.CONFIG, Kind.CONFIGURATION) and not message.is_answer:
            return self._configure.received(peer, message, now)
        if kind is Kind.PRESENCE:
            return self._present(peer, message, now)
        fields = {"peer": str(peer), "kind": kind.name, "uuid": message.uuid}
        return [Note("warning", "unexpected kind", fields)]

    def _sourceless(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """An answer would have no recipient, and be refused with all that travels beside it."""
        detail = f"{message.kind.name} lacks source: an aggregator sets it from the session"
        header = {"reason": Reason.BAD_HEADER, "detail": detail, "reference": message.uuid}
        return self._context.send(peer, Message(Kind.ERROR, header), now, "error_dropped")

    def _present(self, peer: Peer, message: Message, now: Instant) -> Actions:
        presence = self._context.presence
        expected = presence.expected(peer)
        came = presence.hear(peer, message)
        if came is None:
            detail = f"PRESENCE {message.number('number')}, expected {expected}: begin anew with a full set"
            return self._shoset.drop(peer, Reason.BAD_HEADER, detail, now)
        if not came:
            return []
        returned = Message(Kind.PRESENCE, {"number": 0, "entries": came, "tenant": peer.tenant})
        return [
            action
            for instance in self._context.instances(peer.tenant)
            for action in self._context.send(instance, returned, now, "presence_dropped")
        ]

    # ---- Machine

    def start(self, now: Instant) -> Actions:
        self._retention.start(now)
        return [Serve()]

    def tick(self, now: Instant) -> Actions:
        actions = self._shoset.tick(now) + self._commands.tick(now) + self._retention.tick(now)
        if self._drained_by is not None and now.mono >= self._drained_by:
            self._drained_by = None
            actions.append(Stop())
        return actions

    @property
    def quiet(self) -> bool:
        return self._shoset.quiet

    def soon(self) -> float:
        first = self._sessions.at
        if first <= 0.0:
            first = self._shoset.soon()
        for own in (self._commands.deadline(), self._retention.deadline(), self._drained_by):
            if own is not None and own < first:
                first = own
        return first

    def due(self, now: Instant) -> bool:
        own = self._own_deadline()
        return (own is not None and own <= now.mono) or self._shoset.due(now)

    def doubt(self) -> None:
        self._shoset.agenda.doubt()

    def deadline(self) -> float | None:
        return earliest(self._shoset.deadline(), self._own_deadline())

    def _own_deadline(self) -> float | None:
        return earliest(self._commands.deadline(), self._retention.deadline(), self._drained_by)

    def link_opened(self, link: int, now: Instant) -> Actions:
        return []  # a member opens no links

    def link_lost(self, link: int, why: str, now: Instant) -> Actions:
        return []

    def frames(self, link: Link, key: str, frames: Sequence[bytes], now: Instant) -> Actions:
        actions = self._shoset.frames(link, key, frames, now)
        if self._shoset.quiet:  # a beat brings nothing to be committed
            return actions
        return actions + self._commands.flush() + self._events.flush(now) + self._replies.flush()

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        """A member has no door."""
        return [Respond(caller, error=Refusal(Reason.BAD_ARGUMENT, f"no operation {op} here"))]

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        return []

    def drain(self, now: Instant) -> Actions:
        """After GOAWAY nothing new comes; commits under way may end."""
        actions = self._shoset.leave(now)
        if not self._commits.pending:
            return [*actions, Stop()]
        self._drained_by = now.mono + _DRAIN_LIMIT
        self._commits.idle = lambda _: [Stop()]
        return actions

    def status(self, now: Instant) -> dict[str, Any]:
        context = self._context
        tenants = sorted({c.tenant for c in context.components.all()} | set(self._events.tenants()))
        return {
            "kind": "cluster",
            "member": self.identity.instance,
            "endpoint": self.identity.endpoint,
            "healthy": self._commits.healthy,
            "last_error": self._commits.last_error,
            "strict": self._settings.strict,
            "in_flight": len(self._commands),
            "commits_pending": self._commits.pending,
            "journal": {"bytes": self._retention.bytes, "deleted": self._retention.deleted},
            "tenants": {
                tenant: {
                    "latest": self._events.latest(tenant),
                    "present": context.presence.names(tenant),
                    "types": context.catalogues.types(tenant),
                }
                for tenant in tenants
            },
            "counters": dict(context.counters),
            "sessions": self._shoset.status(),
        }

    def control(self, op: str, args: Mapping[str, Any], now: Instant, reply: ControlReply) -> Actions:
        if op == "status":
            reply(self.status(now))
            return []
        return self._operations.perform(op, args, now, reply)
