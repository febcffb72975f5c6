"""Workers as the router knows them: who registered, who still beats (DESIGN section 7), pure.

A worker that names itself (metadata of our SDK, or a socket of its own) is watched by that name. On a shared
socket all workers of one major version look alike: their beats are one beat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.queue.leases import Lease
from zconnector.queue.lines import ADMIN_WORKER

_LOOK = 1.0
"""Seconds between two looks, while there is anybody whose silence means something."""
_STALL = 1.0
"""A look that is later than this shows that the process stood still (stopped, or no CPU for it)."""
_MAX_SILENT = 1_000
"""Registrations of silent workers that are kept in case they come back; the longest silent go first."""
_MAX_STRANGERS = 1_000
"""Those that wait without having registered; the ones heard longest ago are forgotten first."""


@dataclass(slots=True)
class Registration:
    """One worker, or all unnamed workers of one version."""

    worker: str
    major: int
    minor: int
    commands: tuple[str, ...]
    heard: float
    """When it registered or beat last: workers beat each second from their first one on."""
    since: float = 0.0
    """When it registered."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Who is gone, and which leases end with it."""

    who: str
    held: Callable[[Lease], bool]
    worker: str = ""
    """Its name, if it has one: what it waits for is not handed to it either."""


class Workers:
    """Registrations since this router started.

    A silent worker loses its leases, and nothing else: when it beats again (it was stopped, or cut off) it
    goes on. Told to leave, it would end for good although nobody wants that.

    A **stranger** names itself and takes commands without having registered since this start: one of before
    the restart, mostly, that has not been told to leave yet. Its silence counts from when it was last heard,
    or from the lease it was given; its waits stay, since its beats may come without its name.

    One that is **drained** may stop beating: workers of the Gandalf API do so when SendStop says false, and
    finish what they have. Its process is watched instead; `forget` tells of its end.

    Invariant: what was registered before a restart is not here, so SendStop is false for it and
    the old workers leave or register anew instead of staying deaf. Nobody is both known and silent, and no
    stranger has the name of a registration.
    """

    def __init__(self, beat_missed: float, now: Instant) -> None:
        self.agenda = Agenda()
        """When to look at them."""
        self._beat_missed = beat_missed
        self._started = now.mono
        self._grace_ends = now.mono + beat_missed
        """When those of before the restart have had the time to come back."""
        self._looked = now.mono
        """When `tick` last looked; it asks to look again soon, so that a gap shows."""
        self._known: dict[tuple[str, int, int], Registration] = {}
        self._silent: dict[tuple[str, int, int], Registration] = {}
        """In the order in which they fell silent."""
        self._strangers: dict[str, float] = {}
        """When each was last heard; the one heard longest ago first."""
        self._attended: Counter[tuple[str, int, int]] = Counter()
        """By version of a worker: its streams, which are watched instead of its beats."""
        self._grace_over = False
        self.drained: frozenset[str] = frozenset()
        """Workers that are to finish what they have, and leave."""
        self.changes = 0
        """Grows whenever other workers, or other commands of theirs, are known than before."""

    def register(self, worker: str, major: int, minor: int, commands: Iterable[str], now: Instant) -> None:
        key = (worker, major, minor)
        self._silent.pop(key, None)
        self._strangers.pop(worker, None)
        self._watch(now)
        before = self._known.get(key)
        known = self._known[key] = Registration(worker, major, minor, tuple(commands), now.mono, now.mono)
        if before is None or before.commands != known.commands:
            self.changes += 1

    def beat(self, worker: str, major: int, minor: int, now: Instant) -> bool:
        """A SendStop: true tells the worker to go on."""
        key = (worker, major, minor)
        known = self._known.get(key)
        if known is None:
            known = self._silent.pop(key, None)
            if known is None:
                if worker in self._strangers:
                    self._strange(worker, now)
                return False
            self._known[key] = known
            self._watch(now)
            self.changes += 1
        known.heard = now.mono
        return worker not in self.drained

    def forget(self, worker: str) -> Gone:
        """A supervised process has ended: nothing it registered counts any more."""
        for table in (self._known, self._silent):
            for key in [key for key in table if key[0] == worker]:
                del table[key]
                self.changes += 1
        self._strangers.pop(worker, None)
        return Gone(worker, lambda lease: lease.worker == worker, worker)

    def drain(self, workers: frozenset[str], now: Instant) -> None:
        """These, in the place of those before, are to finish what they have, and leave."""
        self.drained = workers
        self._watch(now)

    def known(self) -> Iterable[Registration]:
        """Who registered and is not silent; to be read only."""
        return self._known.values()

    def attend(self, worker: str, major: int, minor: int, now: Instant) -> None:
        """A stream of it lives: as long as one does, it need not beat."""
        self._attended[worker, major, minor] += 1
        self.beat(worker, major, minor, now)

    def leave(self, worker: str, major: int, minor: int, now: Instant) -> None:
        """A stream of it has ended; without any it has to beat again, from now on."""
        key = (worker, major, minor)
        self._attended[key] -= 1
        if self._attended[key] <= 0:
            del self._attended[key]
            self._watch(now)
        self.beat(worker, major, minor, now)

    def heard_since(self, worker: str, mono: float) -> bool:
        """Whether a named worker has beaten since that monotonic time; that it has a stream says nothing."""
        return any(key[0] == worker and known.heard > mono for key, known in self._known.items())

    def commands_of(self, worker: str, version: Version) -> list[str]:
        """What it registered for that version; nothing if it did not, or is silent."""
        known = self._known.get((worker, *version))
        return [] if known is None else list(known.commands)

    def waits(self, worker: str, major: int, now: Instant) -> None:
        """It waits for a command, so it may be given a lease, which somebody must watch.

        One that names itself in its waits and registers without a name (Gandalf on a shared socket) serves
        the version of all those, and their beats are its own.
        """
        if worker and worker != ADMIN_WORKER and self.serving(worker, major) is None:
            self._strange(worker, now)

    def _strange(self, worker: str, now: Instant) -> None:
        self._strangers.pop(worker, None)
        self._strangers[worker] = now.mono
        self._watch(now)
        if len(self._strangers) > _MAX_STRANGERS:
            del self._strangers[next(iter(self._strangers))]

    def _watch(self, now: Instant) -> None:
        """Somebody's silence counts from now on."""
        self.agenda.by(min(self._looked + _LOOK, now.mono + self._beat_missed))

    def is_gone(self, worker: str) -> bool:
        """Whether it names itself, was taken for silent and not heard since: no lease of it is watched."""
        return bool(worker) and not self._is_named(worker) and any(key[0] == worker for key in self._silent)

    def serving(self, worker: str, major: int) -> Version | None:
        """The version a waiter serves: the newest that it may stand for."""
        return max(self.serves(worker, major), default=None)

    def serves(self, worker: str, major: int, name: str = "") -> tuple[Version, ...]:
        """The versions that a waiter for `name` may stand for: of what is registered under its name, else by
        the unnamed workers (who cannot be told apart), that of its major which declares the name.

        One that registered under its name stands for that whatever it waits for.
        """
        named = [known for known in self._known.values() if known.worker and known.worker == worker]
        alike = [known for known in self._known.values() if not known.worker and major in (0, known.major)]
        known = [k for k in named if major in (0, k.major)] or named or alike
        known = [k for k in known if name in k.commands] or known
        return tuple(sorted({Version(k.major, k.minor) for k in known}))

    def tick(self, now: Instant) -> list[Gone]:
        """Put the silent ones aside, and say whose leases end with them.

        Where this process itself stood still, nobody was silent meanwhile: what they said is still unread.
        """
        stood_still = now.mono - self._looked
        self._looked = now.mono
        if stood_still > _LOOK + _STALL:
            self._grace_ends += stood_still
            for known in self._known.values():
                known.heard = min(known.heard + stood_still, now.mono)
            for worker, heard in self._strangers.items():
                self._strangers[worker] = min(heard + stood_still, now.mono)
        silent = [
            key
            for key, known in self._known.items()
            if now.mono - known.heard >= self._beat_missed and self._must_beat(key)
        ]
        for key in silent:
            self._silent[key] = self._known.pop(key)
        self.changes += len(silent)
        gone = [self._gone(self._silent[key]) for key in silent]
        while len(self._silent) > _MAX_SILENT:
            del self._silent[next(iter(self._silent))]
        if not self._grace_over and now.mono >= self._grace_ends:
            self._grace_over = True
            gone.append(Gone("workers of before the restart", self._left_behind))
        return gone

    def overdue(self, now: Instant) -> Callable[[Lease], bool] | None:
        """Which leases of strangers have lasted longer than their silence may; None: nobody is one."""
        if not self._strangers:
            return None
        latest = now.mono - self._beat_missed
        return lambda lease: (
            lease.version is None and max(lease.since, self._strangers.get(lease.worker, now.mono)) <= latest
        )

    def _gone(self, known: Registration) -> Gone:
        if known.worker:
            return Gone(known.worker, lambda lease: lease.worker == known.worker, known.worker)
        version = Version(known.major, known.minor)
        return Gone(
            f"version {known.major}.{known.minor}",
            lambda lease: lease.version == version and not self._is_named(lease.worker),
        )

    def _left_behind(self, lease: Lease) -> bool:
        """Whether a lease from before the restart has a holder that has not come back."""
        if lease.since > self._started or self._is_named(lease.worker):
            return False
        return not any(
            not known.worker and lease.version == (known.major, known.minor) for known in self._known.values()
        )

    def _is_named(self, worker: str) -> bool:
        return any(known.worker and known.worker == worker for known in self._known.values())

    def deadline(self) -> float | None:
        if self._grace_over and not self._known and not self._strangers:
            return None
        first = self._looked + _LOOK
        if not self._grace_over and self._grace_ends < first:
            first = self._grace_ends
        for key, known in self._known.items():
            silent = known.heard + self._beat_missed
            if silent < first and self._must_beat(key):
                first = silent
        return first

    def _must_beat(self, key: tuple[str, int, int]) -> bool:
        return key not in self._attended and key[0] not in self.drained

    def registrations(self) -> list[tuple[Registration, bool]]:
        """Everybody who has registered since this start, and whether it is silent."""
        known = [(registration, False) for registration in self._known.values()]
        return known + [(registration, True) for registration in self._silent.values()]

    def strangers(self) -> dict[str, float]:
        """Who takes commands without having registered, and when it was last heard (monotonic)."""
        return dict(self._strangers)

    def status(self, now: Instant) -> list[dict[str, Any]]:
        return [
            {
                "worker": known.worker,
                "version": f"{known.major}.{known.minor}",
                "commands": list(known.commands),
                "last_beat_s": round(now.mono - known.heard, 3),
            }
            for known in self._known.values()
        ]
