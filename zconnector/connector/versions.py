"""Which worker versions are active, and what was said about their traffic; kept in force in the queue. Pure.

| what | told by | means |
|---|---|---|
| registrations | the workers | a version is active while one that registered it is known and not silent |
| shares, pins | the configuration | see `queue/routing.py` |
| held | the admin worker | workers of a new version before its gate; one with no others is gated |
| drained | the admin worker | workers that get nothing more, and whose SendStop is answered false |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.connector.workers import Registration, Workers
from zconnector.queue.local import LocalQueue
from zconnector.queue.routing import Aim, Routing

NONE: Mapping[str, str] = {}


class Versions:
    """Invariant: after each of these calls the queue's table is that of the registrations."""

    def __init__(self, queue: LocalQueue, workers: Workers) -> None:
        self._queue = queue
        self._workers = workers
        self._seen = workers.changes
        self._shares: dict[Version, int] = {}
        self._pins: dict[str, Version] = {}
        self._aims: dict[str, Aim] = {}
        self._held: frozenset[str] = frozenset()
        self._beside: frozenset[str] = frozenset()

    def steer(
        self,
        shares: Mapping[Version, int],
        pins: Mapping[str, Version],
        held: Iterable[str],
        drained: Iterable[str],
        now: Instant,
        aims: Mapping[str, str] = NONE,
        beside: Iterable[str] = (),
    ) -> Actions:
        """All that is said about traffic, in the place of what was: percent of it by version, versions by
        application context, the names of workers held back and of those drained, and the one worker among
        those held back that a context is aimed at. `beside`: held back ones whose version others should
        serve, so that no pin of it is for them, whoever falls silent."""
        self._shares, self._pins = dict(shares), dict(pins)
        self._aims = {context: Aim(worker) for context, worker in aims.items()}
        self._held, self._beside = frozenset(held), frozenset(beside)
        self._workers.drain(frozenset(drained), now)
        return self._route(now)

    def register(self, worker: str, major: int, minor: int, commands: Iterable[str], now: Instant) -> Actions:
        """As `Workers.register`, and in force in the queue."""
        self._workers.register(worker, major, minor, commands, now)
        return self.follow(now)

    def follow(self, now: Instant) -> Actions:
        """To be called after somebody may have registered, fallen silent or come back."""
        return [] if self._seen == self._workers.changes else self._route(now)

    def status(self) -> dict[str, Any]:
        """What `zconnector status` shows of it."""
        routing = self._queue.routing
        return {
            "active": [_named(version) for version in sorted(routing.active)],
            "gated": [_named(version) for version in sorted(routing.gated)],
            "shares": {_named(version): share for version, share in sorted(routing.shares.items())},
            "pins": {context: _named(version) for context, version in sorted(routing.pins.items())},
            "aims": {context: aim.worker for context, aim in sorted(routing.aims.items())},
            "held": sorted(routing.held),
            "drained": sorted(routing.drained),
        }

    def _route(self, now: Instant) -> Actions:
        self._seen = self._workers.changes
        drained = self._workers.drained
        serving = [known for known in self._workers.known() if known.worker not in drained]
        active = _declared(known for known in serving if known.worker not in self._held)
        held = _declared(known for known in serving if known.worker in self._held - self._beside)
        gated = {version: names for version, names in held.items() if version not in active}
        routing = Routing(active, gated, self._shares, self._pins, self._held, drained, self._aims)
        return [] if routing == self._queue.routing else self._queue.route(routing, now)


def _declared(registrations: Iterable[Registration]) -> dict[Version, frozenset[str]]:
    """The names that the workers of each version registered."""
    names: dict[Version, set[str]] = {}
    for known in registrations:
        names.setdefault(Version(known.major, known.minor), set()).update(known.commands)
    return {version: frozenset(of) for version, of in names.items()}


def _named(version: Version) -> str:
    return f"{version.major}.{version.minor}"
