"""Which version a command goes to (docs/versions.md), pure.

`Routing` is the table in force, made anew at each change. Of each command name it makes a `Rule`, or none
where there is nothing to decide. A rule sorts commands by **slot**: that of the context they are pinned by,
else one of `BUCKETS` by the hash of what a retry has again; and it says which version gets which slot.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from zconnector.configuration.pivot import Version
from zconnector.queue.leases import Command

ANY = 0
"""The major version that stands for all."""
BUCKETS = 100
UNSORTED = -1
"""The slot of a command that nobody has looked at yet."""
EXEMPT = "ADMIN_"
"""Names that begin so are for the admin worker, whatever versions there are."""
_MAX_RULES = 10_000


class Aim(NamedTuple):
    """In the place of a version: one worker alone, that of a new edition beside one that serves."""

    worker: str


Target = Version | Aim
Serves = tuple[Target, ...]
"""The versions that a waiter may stand for: mostly one; none of a stranger; several where workers of several
versions look alike."""
Allowed = tuple[Target | None, ...]
"""Of which versions a waiter gets the commands; None: those that no version gets."""


class Rule:
    """Of one command name.

    Invariants: the same slot of the same major always goes to the same version; it is an active one that
    declares the name, or a gated one by a pin; no version (None) where there is none.
    """

    __slots__ = (
        "_allowed",
        "_candidates",
        "_even",
        "_known",
        "_pinned",
        "_reach",
        "_shares",
        "_targets",
        "pins",
    )

    def __init__(
        self,
        candidates: tuple[Version, ...],
        known: frozenset[Target],
        shares: Mapping[Version, int],
        pins: Mapping[str, tuple[int, Target]],
    ) -> None:
        """`candidates`: active and declaring the name, newest first. `known`: all active and gated ones, and
        workers that are aimed at."""
        self.pins = pins
        """The slot and version of each context that is pinned to a version that may have the name."""
        self._pinned = dict(pins.values())
        self._candidates = candidates
        self._known = known
        self._shares = shares
        self._targets: dict[tuple[int, int], Target | None] = {}
        self._reach: dict[int, frozenset[Target | None]] = {}
        self._even: dict[int, bool] = {}
        self._allowed: dict[Serves, Allowed] = {}

    def slot(self, command: Command) -> int:
        """Where a command belongs: 0..99 by its hash, 100 + i by the i-th pinned context."""
        if command.context and self.pins:
            pin = self.pins.get(command.context)
            if pin is not None and _is_of(pin[1], command.major):
                return pin[0]
        return bucket(command.order_key or command.uuid)

    def target(self, major: int, slot: int) -> Target | None:
        """The version that gets what is in a slot (of UNSORTED: where `even`); None: no active one may."""
        key = (major, slot)
        try:
            return self._targets[key]
        except KeyError:
            target = self._pinned[slot] if slot >= BUCKETS else self._share(major, max(slot, 0))
            self._targets[key] = target
            return target

    def goes_to(self, command: Command) -> Target | None:
        """The version that gets a command."""
        return self.target(command.major, self.slot(command))

    def reach(self, major: int) -> frozenset[Target | None]:
        """All that commands of a major may go to."""
        reach = self._reach.get(major)
        if reach is None:
            pinned = {target for target in self._pinned.values() if _is_of(target, major)}
            shared = {self.target(major, number) for number in range(BUCKETS)}
            reach = self._reach[major] = frozenset(pinned | shared)
        return reach

    def even(self, major: int) -> bool:
        """Whether all commands of a major go the same way: then they need not be sorted."""
        even = self._even.get(major)
        if even is None:
            even = self._even[major] = len(self.reach(major)) == 1
        return even

    def allowed(self, serves: Serves) -> Allowed:
        """Whose commands a waiter gets. One that stands for no version in force gets what no version gets."""
        allowed = self._allowed.get(serves)
        if allowed is None:
            known = tuple(version for version in serves if version in self._known)
            allowed = self._allowed[serves] = known or (None,)
        return allowed

    def _share(self, major: int, number: int) -> Version | None:
        candidates = [version for version in self._candidates if major in (ANY, version.major)]
        if not candidates:
            return None
        named = [version for version in candidates if version in self._shares]
        rest = next((version for version in candidates if version not in self._shares), None)
        total = sum(self._shares[version] for version in named)
        of = BUCKETS if rest is not None and total <= BUCKETS else total
        upto = 0
        for version in named:
            upto += self._shares[version]
            if number * of < upto * BUCKETS:
                return version
        return rest or candidates[0]


@dataclass(frozen=True)
class Routing:
    """The versions there are, and what was said about their traffic."""

    active: Mapping[Version, frozenset[str]] = field(default_factory=dict)
    """The names that each declares."""
    gated: Mapping[Version, frozenset[str]] = field(default_factory=dict)
    """The same of versions held back: they get what is pinned to them and nothing else."""
    shares: Mapping[Version, int] = field(default_factory=dict)
    """Percent of the traffic that several could take."""
    pins: Mapping[str, Version] = field(default_factory=dict)
    """By application context."""
    held: frozenset[str] = frozenset()
    """Workers held back."""
    drained: frozenset[str] = frozenset()
    """Workers that get nothing more."""
    aims: Mapping[str, Aim] = field(default_factory=dict)
    """By application context: to one worker that is held back, though others serve its version. It gets
    nothing else."""
    bars_some: bool = field(default=False, init=False)
    """Whether there is any worker whose waits may get nothing, or not what others of its version get."""
    free: frozenset[str] | None = field(default=None, init=False)
    """Names that have no rule, for a quick look; None: none has one."""
    _rules: dict[str, Rule | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bars_some", bool(self.held or self.drained or self.aims))
        if self.active or self.gated or self.aims:
            only = len(self.active) == 1 and not self.gated and not self.aims
            object.__setattr__(self, "free", next(iter(self.active.values())) if only else frozenset())

    def rule(self, name: str) -> Rule | None:
        """The rule of a command name; None: whoever waits for it may have it."""
        try:
            return self._rules[name]
        except KeyError:
            if len(self._rules) >= _MAX_RULES:
                self._rules.clear()
            rule = self._rules[name] = None if self._is_free(name) else self._rule(name)
            return rule

    def bars(self, worker: str, serves: Serves) -> bool:
        """Whether a worker's waits get nothing at all.

        One that is held back gets what is pinned to its version, as long as nobody serves that in earnest;
        and what is aimed at it.
        """
        if worker in self.drained:
            return True
        if worker not in self.held or self.aim(worker) is not None:
            return False
        return not any(version in self.gated for version in serves)

    def aim(self, worker: str) -> Aim | None:
        """What a worker stands for instead of its version, where it is aimed at."""
        return Aim(worker) if self.aims and Aim(worker) in self.aims.values() else None

    def _is_free(self, name: str) -> bool:
        return self.free is None or name in self.free or name.startswith(EXEMPT)

    def _rule(self, name: str) -> Rule:
        candidates = sorted((v for v, names in self.active.items() if name in names), reverse=True)
        targets: dict[str, Target] = {
            context: version
            for context, version in self.pins.items()
            if name in self.active.get(version, ()) or name in self.gated.get(version, ())
        }
        targets |= self.aims
        pins = {context: (BUCKETS + i, targets[context]) for i, context in enumerate(sorted(targets))}
        known: frozenset[Target] = frozenset({*self.active, *self.gated, *self.aims.values()})
        return Rule(tuple(candidates), known, self.shares, pins)


def _is_of(target: Target, major: int) -> bool:
    return isinstance(target, Aim) or major in (ANY, target.major)


def bucket(key: str) -> int:
    """One of `BUCKETS`, always the same for one text."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % BUCKETS
