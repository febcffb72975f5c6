"""`workers`: who polls what, in which version, what it has, when it was last heard. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.connector.arguments import Args
from zconnector.connector.operating import Answer, Done, Verb
from zconnector.connector.tidings import Tidings
from zconnector.connector.workers import Registration, Workers
from zconnector.queue.lines import ADMIN_WORKER, Waiter
from zconnector.queue.local import LocalQueue

GANDALF, V1 = "gandalf", "v1"


class WorkerVerbs:
    """One row for each worker that names itself, and one for the unnamed ones of a version."""

    def __init__(self, queue: LocalQueue, workers: Workers, tidings: Tidings) -> None:
        self._queue = queue
        self._tidings = tidings
        self._workers = workers
        self.verbs: dict[str, Verb] = {"workers": self._ls}

    def _ls(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        return done(now, Answer({"rows": self.rows(now)}))

    def rows(self, now: Instant) -> list[dict[str, Any]]:
        leases = [c.lease for c in self._queue.operators.leased() if c.lease and not c.admin]
        rows: dict[tuple[str, int, int], dict[str, Any]] = {}
        for registration, silent in self._workers.registrations():
            row = _registered(registration, silent, now)
            rows[registration.worker, registration.major, registration.minor] = row
        for worker, heard in self._workers.strangers().items():
            rows[worker, 0, 0] = {**_row(worker), "state": "STRANGER", "last_beat_ms": _ms(now, heard)}
        streams = Counter(stream.worker for stream in self._tidings.streams())
        waiters: dict[str, list[Waiter]] = {}
        for waiter in self._queue.command_waiters():
            if waiter.worker != ADMIN_WORKER:
                waiters.setdefault(waiter.worker, []).append(waiter)
        held = Counter(lease.worker for lease in leases)
        known = {worker for worker, _, _ in rows}
        for worker in sorted({*waiters, *held, *streams} - known):
            rows[worker, 0, 0] = self._by_version(worker, waiters.get(worker, []), now)
        for (worker, _, _), row in rows.items():
            waits = waiters.get(worker, [])
            row["waits"], row["leases"] = len(waits), held[worker]
            if not row["commands"]:
                row["commands"] = sorted({name for waiter in waits for name in _names(waiter)})
            if streams[worker] or any(waiter.names for waiter in waits):
                row["api"] = V1
            if streams[worker]:  # it is watched by its stream, and need not beat
                row["last_beat_ms"] = 0
        return list(rows.values())

    def _by_version(self, worker: str, waiters: list[Waiter], now: Instant) -> dict[str, Any]:
        """It names itself in its waits, and registered without a name: the version's beats are its own."""
        serving = next((waiter.serving for waiter in waiters if waiter.serving), None)
        for registration, silent in self._workers.registrations() if serving else ():
            if not registration.worker and serving == (registration.major, registration.minor):
                return {**_registered(registration, silent, now), "worker": worker}
        return _row(worker)


def _names(waiter: Waiter) -> tuple[str, ...]:
    return waiter.names or (waiter.name,)


def _ms(now: Instant, mono: float) -> int:
    return max(0, round((now.mono - mono) * 1000))


def _row(worker: str) -> dict[str, Any]:
    return {
        "worker": worker,
        "api": GANDALF,
        "state": "UNREGISTERED",
        "major": None,
        "minor": None,
        "commands": [],
        "waits": 0,
        "leases": 0,
        "last_beat_ms": None,
        "since_ms": None,
    }


def _registered(registration: Registration, silent: bool, now: Instant) -> dict[str, Any]:
    return {
        **_row(registration.worker),
        "state": "SILENT" if silent else "REGISTERED",
        "major": registration.major,
        "minor": registration.minor,
        "commands": list(registration.commands),
        "last_beat_ms": _ms(now, registration.heard),
        "since_ms": _ms(now, registration.since),
    }
