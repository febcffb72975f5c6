"""Commands that our workers send (DESIGN section 4, "Send a command"), pure.

| outcome | the sender hears |
|---|---|
| ACCEPTED | its uuid |
| REJECTED | the target's or the cluster's reason |
| NOT_SENT | the last reason heard (NO_AGGREGATOR, TARGET_AWAY, ...): nothing was stored |
| UNKNOWN | its uuid, once it is remembered that a FAIL follows if no receipt ever comes |
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zconnector.actions import Actions, Caller, Note, Reach, Respond
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, WireError
from zconnector.messages.codec import encode_one
from zconnector.messages.fields import check_field
from zconnector.messages.kinds import Kind, Outcome
from zconnector.messages.message import Message, body_digest
from zconnector.queue.local import LocalQueue
from zconnector.settings import ConnectorSettings
from zconnector.shoset.dispatch import Verdict
from zconnector.shoset.dispatches import Dispatch, Dispatches, Ending
from zconnector.shoset.identity import Identity, fresh_uuid
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset

_MAX_IN_FLIGHT = 10_000


@dataclass(slots=True)
class Senders:
    """Who waits for the outcome of one command."""

    callers: list[Caller] = field(default_factory=list)


class Outgoing:
    """Commands of ours without an outcome yet."""

    def __init__(
        self,
        identity: Identity,
        shoset: Shoset,
        queue: LocalQueue,
        settings: ConnectorSettings,
        rng: random.Random,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._shoset = shoset
        self._queue = queue
        self._settings = settings
        self._rng = rng
        self._tries: Dispatches[Senders] = Dispatches(_MAX_IN_FLIGHT, rng, shoset.send, self._ended)

    def __len__(self) -> int:
        return len(self._tries)

    def send(self, caller: Caller, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        """A worker sends a command; `caller` is answered with the outcome.

        Raises:
            Refusal: BAD_ARGUMENT, TOO_LARGE, BUSY; CONFLICT with one of the same uuid under way.
        """
        command = self._command(args, payload, now)
        under_way = self._tries.get(command.uuid)
        if under_way is not None:
            if body_digest(under_way.message) != body_digest(command):
                raise Refusal(Reason.CONFLICT, "the uuid is in use for another command", command.uuid)
            under_way.context.callers.append(caller)
            return []
        if self._tries.full:
            raise Refusal(Reason.BUSY, f"{_MAX_IN_FLIGHT} commands are in flight", command.uuid)
        budget = command.number("timeout") / 1000
        self.counters["sent"] += 1
        note = Note("debug", "command sent", {"uuid": command.uuid, "type": command.text("type")})
        return [
            note,
            Reach("source.before_send"),
            *self._tries.start(
                command.uuid,
                command,
                self._shoset.peers(upward=True),
                budget,
                Senders([caller]),
                now,
                without_routes=Reason.NO_AGGREGATOR,
            ),
            Reach("source.after_send"),
        ]

    def cancel(self, caller: Caller) -> None:
        """The sender is gone: the command goes on without it."""
        for dispatch in self._tries.all():
            if caller in dispatch.context.callers:
                dispatch.context.callers.remove(caller)

    def receipt(self, event: Message, peer: Peer, now: Instant) -> Actions:
        """A receipt from the event queue, matched by the command's uuid."""
        uuid, name = event.reference, event.text("event")
        if name == Outcome.NO_ROUTE:
            reason = _known(event.text("reason"), Reason.TARGET_AWAY)
            return self._tries.decline(uuid, peer, reason, event.text("detail"), now)
        verdict = Verdict.REJECTED if name == Outcome.REJECTED else Verdict.ACCEPTED
        if self._tries.get(uuid) is None:
            self.counters["late_receipts"] += 1
            return self._queue.forget_unknown(uuid, now) if verdict is Verdict.ACCEPTED else []
        return self._tries.settle(uuid, verdict, event, now)

    def session_down(self, peer: Peer, now: Instant) -> Actions:
        return self._tries.lost(peer, now)

    def tick(self, now: Instant) -> Actions:
        return self._tries.tick(now)

    def deadline(self) -> float | None:
        return self._tries.deadline()

    def _ended(self, dispatch: Dispatch[Senders], ending: Ending, now: Instant) -> Actions:
        uuid, senders = dispatch.key, dispatch.context
        self.counters[str(ending.verdict)] += 1
        if ending.verdict is Verdict.ACCEPTED:
            told = [Respond(c, {"uuid": uuid, "outcome": "ACCEPTED"}) for c in senders.callers]
            # An earlier try of the same uuid may have ended UNKNOWN; no FAIL is to follow this one.
            return [Reach("source.after_receipt"), *told, *self._queue.forget_unknown(uuid, now)]
        if ending.verdict is Verdict.UNKNOWN:
            return self._queue.remember_unknown(
                dispatch.message, now, lambda _later, refusal: _unknown(senders, uuid, refusal)
            )
        reason, detail = ending.reason, ending.detail
        if ending.answer is not None:
            reason = _known(ending.answer.text("reason"), Reason.INVALID_PAYLOAD)
            detail = ending.answer.text("detail")
        return [Respond(c, error=Refusal(reason, detail, uuid)) for c in senders.callers]

    def _command(self, args: Mapping[str, Any], payload: bytes, now: Instant) -> Message:
        uuid = args.get("uuid") or fresh_uuid(self._rng)
        timeout = args.get("timeout") or self._settings.default_timeout_ms
        header: dict[str, Any] = {
            "uuid": uuid,
            "tenant": args.get("tenant") or self._identity.tenant,
            "source": self._identity.name,
            "type": args.get("type", ""),
            "command": args.get("command", ""),
            "major": args.get("major", 0),
            "minor": args.get("minor", 0),
            "timeout": timeout,
            "timestamp": now.wall,
        }
        for name in ("admin", "command_type", "context", "token", "worker"):
            if args.get(name):
                header[name] = args[name]
        for name, value in header.items():
            broken = check_field(name, value)
            if broken:
                raise Refusal(Reason.BAD_ARGUMENT, broken, str(uuid)[:64])
        for name in ("type", "command"):
            if not header[name]:
                raise Refusal(Reason.BAD_ARGUMENT, f"{name} is missing", uuid)
        if timeout < 1:
            raise Refusal(Reason.BAD_ARGUMENT, f"timeout must be at least 1 ms (got {timeout})", uuid)
        header["timeout"] = min(timeout, self._settings.max_timeout_ms)
        header["accept_until"] = now.wall + header["timeout"]
        command = Message(Kind.COMMAND, header, payload)
        try:
            encode_one(command.with_fields(budget=header["timeout"], target="t" * 128))
        except WireError as error:
            raise Refusal(error.reason, error.detail, uuid) from None
        return command


def _unknown(senders: Senders, uuid: str, refusal: Refusal | None) -> Actions:
    """UNKNOWN is answered even when it could not be remembered: an error would say "not taken"."""
    notes: Actions = []
    if refusal is not None:
        notes.append(Note("error", "unknown outcome not stored", {"uuid": uuid, "why": refusal.detail}))
    return notes + [Respond(c, {"uuid": uuid, "outcome": "UNKNOWN"}) for c in senders.callers]


def _known(reason: str, otherwise: Reason) -> Reason:
    return Reason(reason) if reason in Reason.__members__ else otherwise
