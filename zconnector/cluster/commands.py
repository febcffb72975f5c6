"""Commands through a member: resolved, committed, forwarded, receipted (WIRE.md section 6).

A command under way is a flight:

| state | event | next |
|---|---|---|
| - | a copy; a stored resolution or a live candidate | RESOLVING |
| RESOLVING | committed, same body | FORWARDING |
| RESOLVING | committed, another body | - (REJECTED CONFLICT) |
| RESOLVING | commit failed | - (NO_ROUTE STORAGE_FAILED) |
| FORWARDING | receipt of the target | - (handed back) |
| FORWARDING | NO_ROUTE, not taken, lost, share over | next instance |
| FORWARDING | exhausted, no copy in doubt, resolved by this flight, another candidate | RESOLVING (moved) |
| FORWARDING | exhausted, no copy in doubt | - (NO_ROUTE) |
| FORWARDING | exhausted, a copy in doubt | - (silence: the source's own share ends) |
| any | a further copy | joins: forwarded again to the same target, over the way it came |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zconnector.actions import Actions, Reach, Then
from zconnector.clock import Instant
from zconnector.cluster.context import Context, of_tenant
from zconnector.cluster.store import Reassign, Resolve, Resolved, entry_of
from zconnector.errors import REASONS, Reason, Refusal, StorageError
from zconnector.messages.kinds import Outcome
from zconnector.messages.late import Late
from zconnector.messages.message import Message, body_digest, receipt
from zconnector.shoset.dispatch import Verdict
from zconnector.shoset.dispatches import Dispatch, Dispatches, Ending
from zconnector.shoset.peers import Peer
from zconnector.shoset.permissions import may_send

MAX_BUDGET_MS = 600_000
_BEFORE_RESOLUTION, _AFTER_RESOLUTION = Reach("member.before_resolution"), Reach("member.after_resolution")
_AFTER_FORWARD = Reach("member.after_forward")
_ACCEPTED, _REJECTED, _TARGET_AWAY = Verdict.ACCEPTED, Verdict.REJECTED, Reason.TARGET_AWAY
"""A member of an enumeration costs as much as ten names (CPython 3.11)."""


@dataclass(slots=True, eq=False)
class Flight:
    """One command under way.

    Invariant: `handed` counts, for each instance, the copies that it took and has not definitely
    declined; a flight with any of them is in doubt.
    """

    key: str
    tenant: str
    digest: str
    command: Message
    origin: Peer
    """The instance that the newest copy came by."""
    ends: float
    """Monotonic time when the budget of the newest copy is over."""
    target: str = ""
    resolving: bool = True
    fresh: bool = False
    """Resolved by this flight: nobody before it can have handed a copy to the target."""
    declined: tuple[str, ...] = ()
    """Targets that certainly could not be reached."""
    handed: dict[Peer, int] = field(default_factory=dict)

    @property
    def in_doubt(self) -> bool:
        return any(count > 0 for count in self.handed.values())

    def took(self, peer: Peer, copies: int) -> None:
        """An instance took a copy, or (-1) declined one."""
        self.handed[peer] = self.handed.get(peer, 0) + copies


class Commands:
    """All commands under way, bounded by `limit`."""

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._limit = limit
        self._flights: dict[str, Flight] = {}
        self._too_late = Late()
        self._batch: list[tuple[Flight, Resolve]] = []
        """What has come and is not asked to be committed yet."""
        self._tries: Dispatches[Flight] = Dispatches(limit, context.rng, self._send, self._ended)

    def __len__(self) -> int:
        return len(self._flights)

    # ---- what comes in

    def received(self, origin: Peer, message: Message, now: Instant) -> Actions:
        """A copy of a command, from an aggregator instance. Committed at the next `flush`."""
        tenant = origin.tenant
        command = of_tenant(message, tenant)
        refusal = self._forbidden(command)
        if refusal is not None:
            return self._refuse(origin, command, refusal, now)
        header = command.header
        key = _key(tenant, header["uuid"])
        digest = body_digest(command)
        budget: int = header["budget"] if "budget" in header else header["timeout"]
        ends = now.mono + min(max(budget, 1), MAX_BUDGET_MS) / 1000
        flight = self._flights.get(key)
        if flight is not None:
            return self._join(flight, origin, command, digest, ends, now)
        if len(self._flights) >= self._limit:
            busy = Refusal(Reason.BUSY, f"{self._limit} commands are in flight")
            return self._refuse(origin, command, busy, now)
        flight = Flight(key, tenant, digest, command, origin, ends)
        return self._begin(flight, now)

    def flush(self) -> Actions:
        """Commit what has come since the last flush; a commit for each command would cost far more."""
        if not self._batch:
            return []
        batch, self._batch = self._batch, []
        return [_BEFORE_RESOLUTION, *self._commit(batch)]

    def receipt(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A receipt, from the instance that it came by."""
        event = of_tenant(message, peer.tenant)
        header = event.header
        name = header["event"]
        key = _key(peer.tenant, header.get("reference", ""))
        flight = self._flights.get(key)
        if name == Outcome.NO_ROUTE:
            if flight is None:
                return []
            flight.took(peer, -1)
            self._trace(event, peer, now)
            return self._tries.decline(key, peer, _reason(event), event.text("detail"), now)
        self._trace(event, peer, now)
        if flight is None:
            return self._hand_back(event, None, now)
        if flight.resolving:  # of a copy from before this member's restart; the target knows it twice
            return self._hand_back(event, flight.origin, now)
        if header.get("source") != flight.target:
            self._context.counters["receipt_of_another"] += 1
            return []
        verdict = _REJECTED if name == Outcome.REJECTED else _ACCEPTED
        return self._tries.settle(key, verdict, event, now)

    def lost(self, peer: Peer, now: Instant) -> Actions:
        """An aggregator instance is gone."""
        return self._tries.lost(peer, now)

    def tick(self, now: Instant) -> Actions:
        """Move on from every instance whose share is over."""
        return self._tries.tick(now)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return self._tries.deadline()

    def tenants_with(self, uuid: str) -> list[str]:
        """The tenants of which a command of that uuid is in flight."""
        tenants = {component.tenant for component in self._context.components.all()}
        return [tenant for tenant in tenants if _key(tenant, uuid) in self._flights]

    def under_way(self, tenant: str, uuid: str) -> str:
        """What a command in flight waits for; "" when it is not."""
        flight = self._flights.get(_key(tenant, uuid))
        if flight is None:
            return ""
        if flight.resolving:
            return "the commit of its resolution"
        dispatch = self._tries.get(flight.key)
        peer = dispatch.serial.current if dispatch else None
        over = f", asked over instance {peer.instance}" if peer else ""
        return f"a receipt of connector {flight.target}{over}"

    def _trace(self, event: Message, peer: Peer, now: Instant) -> None:
        header = event.header
        reason = f" {header['reason']}" if "reason" in header else ""
        source = f" of {header['source']}" if "source" in header else ""
        what, uuid = "receipt {}{}{}, over instance {}", header.get("reference", "")
        traces = self._context.traces
        traces.add(peer.tenant, uuid, now.wall, what, header["event"], reason, source, peer.instance)

    # ---- resolution

    def _forbidden(self, command: Message) -> Refusal | None:
        header = command.header
        source = self._context.components.connector(header["tenant"], header.get("source", ""))
        if source is None:
            return Refusal(Reason.NOT_PERMITTED, f"{command.text('source')!r} is not declared here")
        if not may_send(source.permissions, command):
            what = f"{command.text('type')}:{command.text('command')}"
            return Refusal(Reason.NOT_PERMITTED, f"{source.name} may not send {what}")
        return None

    def _begin(self, flight: Flight, now: Instant) -> Actions:
        command = flight.command
        candidate = self._candidate(flight, now)
        if isinstance(candidate, Refusal):
            # A copy of a command that was resolved before keeps its answer, whatever has changed since.
            try:
                known = self._context.reads.resolution(flight.tenant, command.uuid)
            except StorageError as error:
                failed = Refusal(Reason.STORAGE_FAILED, "the resolution could not be read")
                broken = self._context.commits.broken(error)
                return broken + self._refuse(flight.origin, command, failed, now)
            if known is None:
                return self._refuse(flight.origin, command, candidate, now)
            self._flights[flight.key] = flight
            return self._resolved(flight, known, now)
        self._flights[flight.key] = flight
        header = {**command.header, "target": candidate}
        flight.command = command = Message(command.kind, header, command.payload, command.flags)
        entry = entry_of(command, "COMMAND", now.wall)
        resolve = Resolve(flight.tenant, entry.uuid, flight.digest, candidate, entry)
        self._batch.append((flight, resolve))
        return []

    def _candidate(self, flight: Flight, now: Instant) -> str | Refusal:
        """A connector that may have the command, or why there is none."""
        command, tenant, context = flight.command, flight.tenant, self._context
        header = command.header
        if self._too_late.by(flight.key, header["accept_until"], now.wall):
            return Refusal(Reason.EXPIRED, "first seen too long after accept_until")
        connector_type: str = header["type"]
        connectors = context.components.connectors(tenant, connector_type)
        if not connectors:
            return Refusal(Reason.NO_SUCH_TYPE, f"no connector of type {connector_type!r} is declared")
        refusal = context.catalogues.of(tenant, connector_type).declared(command)
        if refusal is not None:
            return refusal
        has, declined = context.presence.has, flight.declined
        live = [c.name for c in connectors if c.name not in declined and has(tenant, c.name)]
        if not live:
            return Refusal(Reason.TARGET_AWAY, f"no connector of type {connector_type} has a session")
        return live[0] if len(live) == 1 else context.rng.choice(live)

    def _commit(self, batch: Sequence[tuple[Flight, Resolve | Reassign]]) -> Actions:
        def committed(now: Instant, results: Sequence[Resolved]) -> Actions:
            actions: Actions = [_AFTER_RESOLUTION]
            for (flight, _), resolved in zip(batch, results, strict=True):
                if self._flights.get(flight.key) is flight:
                    actions += self._resolved(flight, resolved, now)
            return actions

        def failed(now: Instant) -> Actions:
            refusal = Refusal(Reason.STORAGE_FAILED, "the resolution could not be stored")
            actions: Actions = []
            for flight, _ in batch:
                if self._flights.pop(flight.key, None) is flight:
                    actions += self._refuse(flight.origin, flight.command, refusal, now)
            return actions

        return self._context.commits.commit([write for _, write in batch], committed, failed)

    def _resolved(self, flight: Flight, resolved: Resolved, now: Instant) -> Actions:
        if resolved.digest != flight.digest:
            del self._flights[flight.key]
            refusal = Refusal(Reason.CONFLICT, "this uuid was used for another command")
            return self._refuse(flight.origin, flight.command, refusal, now)
        flight.target = resolved.target
        flight.fresh = resolved.fresh
        flight.resolving = False
        return self._forward(flight, now)

    def _join(
        self, flight: Flight, origin: Peer, command: Message, digest: str, ends: float, now: Instant
    ) -> Actions:
        if digest != flight.digest:
            refusal = Refusal(Reason.CONFLICT, "this uuid is in use for another command")
            return self._refuse(origin, command, refusal, now)
        flight.origin, flight.command, flight.ends = origin, command, ends
        return [] if flight.resolving else self._forward(flight, now)

    # ---- forwarding

    def _forward(self, flight: Flight, now: Instant) -> Actions:
        command = flight.command
        if command.header.get("target") != flight.target:
            command = command.with_fields(target=flight.target)
        return self._tries.start(
            flight.key,
            command,
            self._context.presence.routes(flight.tenant, flight.target),
            max(0.0, flight.ends - now.mono),
            flight,
            now,
            first=flight.origin,
            without_routes=_TARGET_AWAY,
        )

    def _send(
        self, peer: Peer, messages: Sequence[Message], now: Instant, refused: Then | None = None
    ) -> Actions:
        """Send one copy and keep count of it."""
        uuid: str = messages[0].header["uuid"]
        flight = self._flights[_key(peer.tenant, uuid)]
        flight.took(peer, 1)
        what = "forwarded to {} over instance {}"
        self._context.traces.add(flight.tenant, uuid, now.wall, what, flight.target, peer.instance)

        def not_taken(later: Instant) -> Actions:
            flight.took(peer, -1)
            return refused(later) if refused else []

        sent = self._context.sessions.send(peer, messages, now, not_taken)
        return [*sent, _AFTER_FORWARD]

    def _ended(self, dispatch: Dispatch[Flight], ending: Ending, now: Instant) -> Actions:
        flight = dispatch.context
        if ending.answer is not None:
            self._flights.pop(flight.key, None)
            return self._hand_back(ending.answer, flight.origin, now)
        if flight.in_doubt:
            self._flights.pop(flight.key, None)
            self._context.counters["unknown"] += 1
            return []
        flight.declined = (*flight.declined, flight.target)
        if flight.fresh and now.mono < flight.ends:
            other = self._candidate(flight, now)
            if isinstance(other, str):
                flight.resolving = True
                move = Reassign(flight.tenant, flight.command.uuid, flight.target, other)
                return self._commit([(flight, move)])
        self._flights.pop(flight.key, None)
        detail = f"{flight.target}: {ending.detail}"
        return self._refuse(flight.origin, flight.command, Refusal(ending.reason, detail), now)

    # ---- answers

    def _refuse(self, origin: Peer, command: Message, refusal: Refusal, now: Instant) -> Actions:
        """A receipt of our own: REJECTED is final, NO_ROUTE means that another way may do."""
        event = Outcome.NO_ROUTE if REASONS[refusal.reason].elsewhere else Outcome.REJECTED
        self._context.counters[f"{event}.{refusal.reason}"] += 1
        told = ("refused with {} {}: {}", event, refusal.reason, refusal.detail)
        self._context.traces.add(command.text("tenant"), command.uuid, now.wall, *told)
        answer = receipt(command, event, reason=refusal.reason, detail=refusal.detail)
        return self._context.send(origin, answer, now, "receipt_dropped")

    def _hand_back(self, event: Message, origin: Peer | None, now: Instant) -> Actions:
        """A receipt to the command's source, first over the instance that the command came by."""
        header = event.header
        tenant, recipient = header["tenant"], header.get("recipient", "")
        return self._context.deliver(tenant, recipient, event, now, "receipt_dropped", origin)


def _key(tenant: str, uuid: str) -> str:
    return f"{tenant}/{uuid}"  # a tenant's name holds no slash


def _reason(event: Message) -> Reason:
    """Why an instance could not hand a command on; never one that would be final."""
    try:
        reason = Reason(event.text("reason"))
    except ValueError:
        return Reason.TARGET_AWAY
    return reason if REASONS[reason].elsewhere else Reason.TARGET_AWAY
