"""The whole core of an aggregator process: its shoset and its router behind the `Machine` face."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from zconnector.actions import Actions, Caller, ControlReply, Link, Respond, Stop
from zconnector.aggregator.router import AggregatorRouter
from zconnector.clock import Instant, earliest
from zconnector.errors import Reason, Refusal
from zconnector.settings import AggregatorSettings
from zconnector.shoset.identity import Identity
from zconnector.shoset.uplinks import Target


class AggregatorMachine:
    """Wires shells' events to shoset and router; decides nothing itself."""

    def __init__(
        self,
        identity: Identity,
        members: Sequence[Target],
        settings: AggregatorSettings,
        rng: random.Random,
    ) -> None:
        self.router = AggregatorRouter(identity, settings, rng)
        self._shoset = self.router.shoset
        self._sessions = self._shoset.agenda
        self._targets = members

    def start(self, now: Instant) -> Actions:
        return self._shoset.aim(self._targets, now)

    def tick(self, now: Instant) -> Actions:
        actions = self._shoset.tick(now)
        if self.router.soon() <= now.mono:
            actions += self.router.tick(now)
        return actions

    @property
    def quiet(self) -> bool:
        return self._shoset.quiet

    def soon(self) -> float:
        sessions = self._sessions.at
        if sessions <= 0.0:
            sessions = self._shoset.soon()
        own = self.router.soon()
        return own if own < sessions else sessions

    def due(self, now: Instant) -> bool:
        return self._shoset.due(now) or self.router.due(now)

    def doubt(self) -> None:
        self._shoset.agenda.doubt()
        self.router.doubt()

    def deadline(self) -> float | None:
        return earliest(self._shoset.deadline(), self.router.deadline())

    def link_opened(self, link: int, now: Instant) -> Actions:
        return self._shoset.link_opened(link, now)

    def link_lost(self, link: int, why: str, now: Instant) -> Actions:
        return self._shoset.link_lost(link, why, now)

    def frames(self, link: Link, key: str, frames: Sequence[bytes], now: Instant) -> Actions:
        return self._shoset.frames(link, key, frames, now)

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        """An aggregator has no door."""
        return [Respond(caller, error=Refusal(Reason.BAD_ARGUMENT, f"no operation {op} here"))]

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        return []

    def drain(self, now: Instant) -> Actions:
        """Nothing is kept here: after GOAWAY the peers move on, so there is nothing to wait for."""
        return [*self._shoset.leave(now), Stop()]

    def status(self, now: Instant) -> dict[str, Any]:
        return {**self.router.status(), "sessions": self._shoset.status()}

    def control(self, op: str, args: Mapping[str, Any], now: Instant, reply: ControlReply) -> Actions:
        if op == "status":
            reply(self.status(now))
        else:
            reply(Refusal(Reason.BAD_ARGUMENT, f"an aggregator has no operation {op!r}"))
        return []
