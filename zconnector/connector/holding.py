"""Commands for workers of zconnector.v1: take, settle, give_back, adopt (WIRE.md section 14). Pure."""

from __future__ import annotations

from typing import Any, cast, get_args

from zconnector.actions import Actions, Caller, Respond, Then
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.connector import arguments
from zconnector.connector.arguments import Args
from zconnector.connector.tidings import Tidings
from zconnector.connector.workers import Workers
from zconnector.errors import Reason, Refusal
from zconnector.messages.message import clipped
from zconnector.messages.retry import MAX_PAUSE_MS
from zconnector.queue.local import LocalQueue
from zconnector.queue.settling import Settlement, Verb

MAX_BATCH = 64
"""Commands of one take."""
MAX_LEASE_MS = 86_400_000
MIN_LEASE_MS = 1_000
_MAX_SETTLED = 256
_MAX_DETAIL = 96
"""Bytes: that many results have to fit into one header."""
_MAX_LEASES = 4_096
_MAX_NAMES = 1_000
_MAX_WAIT_MS = 86_400_000
_OUTCOMES = get_args(Verb)


class Holding:
    """Reads the arguments, asks the queue, answers."""

    def __init__(self, queue: LocalQueue, workers: Workers, tidings: Tidings, flush: Then) -> None:
        """`flush` sends what is due in the outbox."""
        self.draining = False
        self._queue = queue
        self._workers = workers
        self._tidings = tidings
        self._flush = flush

    def take(self, caller: Caller, args: Args, now: Instant) -> Actions:
        """Commands as soon as there are any. Raises Refusal: BAD_ARGUMENT, DRAINING, NOT_FOUND."""
        if self.draining:
            raise Refusal(Reason.DRAINING, "the connector is stopping")
        worker = arguments.text(args, "worker", limit=256)
        version = _version(args)
        names = arguments.names(args, "commands", _MAX_NAMES)
        if not names:
            names = self._workers.commands_of(worker, version)
        if not names:
            detail = f"no commands are named, and worker {worker!r:.80} has registered none of {version}"
            raise Refusal(Reason.NOT_FOUND, detail)
        holder = _holder(args)
        lease = arguments.number(args, "lease", 0, MAX_LEASE_MS, 0)
        if 0 < lease < MIN_LEASE_MS:
            raise Refusal(Reason.BAD_ARGUMENT, f"lease must be at least {MIN_LEASE_MS:,} ms (got {lease})")
        limit = arguments.number(args, "limit", 1, MAX_BATCH, 1)
        wait_ms = arguments.number(args, "wait_ms", -1, _MAX_WAIT_MS, 0)
        if holder:
            self._tidings.seen(holder, worker, version, now)
        return self._queue.take_commands(
            caller, names, worker, version, now, holder=holder, limit=limit, lease_ms=lease, wait_ms=wait_ms
        )

    def settle(self, caller: Caller, args: Args, payload: bytes, now: Instant) -> Actions:
        """What became of leases. Raises Refusal: BAD_ARGUMENT, then none of them is settled."""
        outcomes = arguments.objects(args, "outcomes", _MAX_SETTLED)
        settlements: list[Settlement] = []
        at = 0
        for item in outcomes:
            size = arguments.number(item, "size", 0, len(payload) - at, 0)
            settlements.append(_settlement(item, payload[at : at + size]))
            at += size
        if at != len(payload):
            detail = f"the sizes add up to {at:,} bytes, the payload has {len(payload):,}"
            raise Refusal(Reason.BAD_ARGUMENT, detail)

        def settled(later: Instant, told: list[Refusal | None]) -> Actions:
            results = [_result(of.uuid, refusal) for of, refusal in zip(settlements, told, strict=True)]
            return [Respond(caller, {"results": results}), *self._flush(later)]

        return self._queue.settle(settlements, now, settled)

    def give_back(self, caller: Caller, args: Args, now: Instant) -> Actions:
        """Leases that end undone: those named, or all of the stream. Raises Refusal: BAD_ARGUMENT."""
        unseen = arguments.flag(args, "unseen")
        why = "given back unseen" if unseen else "given back"
        if "leases" in args:
            released, actions = self._queue.give_back(_leases(args), why, now, unseen=unseen)
        else:
            released, actions = self._queue.give_back_all(_holder(args), why, now, unseen=unseen)
        return [*actions, Respond(caller, {"released": released})]

    def adopt(self, caller: Caller, args: Args, now: Instant) -> Actions:
        """A stream goes on with leases of an earlier one of its worker. Raises Refusal: BAD_ARGUMENT."""
        holder = _holder(args)
        worker = arguments.text(args, "worker", limit=256)
        if not holder:
            raise Refusal(Reason.BAD_ARGUMENT, "holder is missing")
        leases = _leases(args)
        self._tidings.seen(holder, worker, _version(args), now)
        valid, actions = self._queue.adopt(caller, leases, holder, worker, now)
        return [*actions, Respond(caller, {"valid": valid})]


def _holder(args: Args) -> str:
    return arguments.text(args, "holder", limit=64)


def _version(args: Args) -> Version:
    return Version(arguments.small(args, "major"), arguments.small(args, "minor"))


def _leases(args: Args) -> list[tuple[str, str]]:
    return [
        (arguments.text(item, "uuid", limit=64), arguments.text(item, "token", limit=64))
        for item in arguments.objects(args, "leases", _MAX_LEASES)
    ]


def _settlement(item: Args, payload: bytes) -> Settlement:
    outcome = item.get("outcome")
    if outcome not in _OUTCOMES:
        detail = f"outcome must be one of {', '.join(_OUTCOMES)} (got {str(outcome)[:40]!r})"
        raise Refusal(Reason.BAD_ARGUMENT, detail)
    # An `ack`, as most are, has neither event nor error, neither delay nor extension.
    event = arguments.text(item, "event", limit=256) if "event" in item else ""
    if event in ("SUCCES", "FAIL"):
        raise Refusal(Reason.BAD_ARGUMENT, f"event must not be {event}: say ack or fail")
    return Settlement(
        uuid=arguments.text(item, "uuid", limit=64),
        token=arguments.text(item, "token", limit=64),
        outcome=cast(Verb, outcome),
        delay=arguments.number(item, "delay", 0, MAX_PAUSE_MS, 0) if "delay" in item else None,
        error=clipped(arguments.text(item, "error", limit=65_536)) if "error" in item else "",
        event=event,
        extend=arguments.number(item, "extend", 0, MAX_LEASE_MS, 0) if "extend" in item else 0,
        payload=payload,
    )


def _result(uuid: str, refusal: Refusal | None) -> dict[str, Any]:
    if refusal is None:
        return {"uuid": uuid}
    detail = clipped(refusal.detail, _MAX_DETAIL)
    return {"uuid": uuid, "error": {"code": str(refusal.reason), "detail": detail}}
