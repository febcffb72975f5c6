"""The whole core of a connector process: its shoset and its router behind the `Machine` face."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from zconnector.actions import Actions, Caller, ControlReply, Link, Note, Stop
from zconnector.clock import Instant, earliest
from zconnector.connector.initialisation import Step
from zconnector.connector.router import ConnectorRouter
from zconnector.errors import Reason, Refusal
from zconnector.queue.local import LocalQueue
from zconnector.settings import ConnectorSettings
from zconnector.shoset.identity import Identity
from zconnector.shoset.uplinks import Target

_DRAIN_LIMIT = 2.0
"""Seconds that commands of ours under way may take to hear their receipt."""


class ConnectorMachine:
    """Wires the shell's events to shoset and router; decides only when a drain is over."""

    def __init__(
        self,
        identity: Identity,
        aggregators: Sequence[Target],
        queue: LocalQueue,
        settings: ConnectorSettings,
        rng: random.Random,
        now: Instant,
    ) -> None:
        self.router = ConnectorRouter(identity, queue, settings, rng, now)
        self._calls = self.router.calls
        self._shoset = self.router.shoset
        self._sessions = self._shoset.agenda
        self._targets = aggregators
        self._drain_ends: float | None = None
        self._grpc = self._operators = ""
        """Where workers and operators are served; "" while they are not."""

    def start(self, now: Instant) -> Actions:
        served = self.router.serve_from_cache(now)
        return served + self._shoset.aim(self._targets, now)

    def serving(self, address: str, operators: str, now: Instant) -> Actions:
        """The gRPC services, of workers and of operators, answer on these addresses."""
        self._grpc, self._operators = address, operators
        self.router.initialisation.done(Step.SERVING)
        return [Note("info", "serving workers", {})]

    def admin_running(self, now: Instant) -> Actions:
        """The admin worker runs."""
        self.router.initialisation.done(Step.ADMIN_WORKER)
        return []

    def tick(self, now: Instant) -> Actions:
        """What is due; the many parts of the router are not gone through for a beat of the shoset alone."""
        actions = self._shoset.tick(now)
        if self.router.soon() <= now.mono:
            actions += self.router.tick(now)
        return actions + self._drained(now)

    @property
    def quiet(self) -> bool:
        return self._shoset.quiet

    def soon(self) -> float:
        sessions = self._sessions.at
        if sessions <= 0.0:
            sessions = self._shoset.soon()
        own = self.router.soon()
        first = own if own < sessions else sessions
        return first if self._drain_ends is None else min(first, self._drain_ends)

    def due(self, now: Instant) -> bool:
        if self._drain_ends is not None and self._drain_ends <= now.mono:
            return True
        return self._shoset.due(now) or self.router.due(now)

    def doubt(self) -> None:
        self._shoset.agenda.doubt()
        self.router.doubt()

    def deadline(self) -> float | None:
        return earliest(self._shoset.deadline(), self.router.deadline(), self._drain_ends)

    def link_opened(self, link: int, now: Instant) -> Actions:
        self.router.initialisation.done(Step.COMMUNICATION)
        return self._shoset.link_opened(link, now)

    def link_lost(self, link: int, why: str, now: Instant) -> Actions:
        return self._shoset.link_lost(link, why, now)

    def frames(self, link: Link, key: str, frames: Sequence[bytes], now: Instant) -> Actions:
        actions = self._shoset.frames(link, key, frames, now)
        return actions if self._drain_ends is None else actions + self._drained(now)

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        return self._calls.call(caller, op, args, payload, now)

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        return self._calls.cancel(caller, now)

    def drain(self, now: Instant) -> Actions:
        """Take nothing new, let our commands under way hear their receipts, then GOAWAY."""
        actions = self.router.drain(now)
        self._drain_ends = now.mono + _DRAIN_LIMIT
        return actions + self._drained(now)

    def _drained(self, now: Instant) -> Actions:
        if self._drain_ends is None:
            return []
        if len(self.router.outgoing) and now.mono < self._drain_ends:
            return []
        self._drain_ends = None
        return [*self.router.queue.last_writes(), *self._shoset.leave(now), Stop()]

    def status(self, now: Instant) -> dict[str, Any]:
        return {
            **self.router.status(now),
            "grpc": self._grpc,
            "operators": self._operators,
            "sessions": self._shoset.status(),
        }

    def control(self, op: str, args: Mapping[str, Any], now: Instant, reply: ControlReply) -> Actions:
        if op == "status":
            reply(self.status(now))
        elif op == "operate":
            return self.router.operating.control(args, now, reply)
        elif op == "explain":  # a member has it under the same name: whoever asks need not know which this is
            return self.router.operating.control({**args, "verb": "explain"}, now, reply)
        else:
            reply(Refusal(Reason.BAD_ARGUMENT, f"a connector has no operation {op!r}"))
        return []
