"""Acting on the logical configuration: which editions its versions, product, keys and settings make. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zconnector.clock import Instant
from zconnector.versions.actions import Actions
from zconnector.versions.commits import Commits
from zconnector.versions.editions import Edition, Editions, Values, edition_of, ordered, versions_of
from zconnector.versions.rollouts import Rollouts
from zconnector.versions.states import CONFIGURATION, Outcome, Plan, Versions
from zconnector.versions.wanted import Wanted

AGAIN = 5.0
AGAIN_MAX = 300.0
"""Seconds until a configuration that could not be applied for a passing reason is tried again; doubling."""


def values_of(wanted: Wanted | None) -> Values:
    """What a configuration has new processes read."""
    return Values() if wanted is None else Values.of(wanted)


class Applying:
    """Invariant: each word of the configuration is acted on once, and again only where it may do then."""

    def __init__(self, commits: Commits, rollouts: Rollouts, wanted: Callable[[], Wanted | None]) -> None:
        """`wanted`: the configuration in force."""
        self._commits = commits
        self._rollouts = rollouts
        self._wanted = wanted
        self._again: float | None = None
        """When what waits is tried again; None: nothing waits, or a rollout goes on."""
        self.again_wall: int | None = None
        """The same by the wall clock (ms), for people."""

    def wanted_for(self, edition: Edition) -> Wanted | None:
        """The configuration that an edition is started by: its own values, all else as it is now."""
        wanted, values = self._wanted(), self._commits.memory.values.get(edition.number)
        return wanted if wanted is None or values is None else values.into(wanted)

    def begin_values(self) -> None:
        """What runs since before there were editions has the values that are in force."""
        memory, wanted = self._commits.memory, self._wanted()
        if memory.running and not memory.values and wanted is not None:
            self._commits.memory = replace(memory, values={memory.number: values_of(wanted)})

    def apply(self, again: Versions | None = None, *, new_word: bool = False) -> Actions:
        """Act on the configuration's versions, product, keys and worker settings where they changed.

        Where they did not, `again` is tried: versions that could not be had before and may be now.
        `new_word`: something of the configuration has changed; tries in vain are counted anew.
        """
        wanted, memory = self._wanted(), self._commits.memory
        if wanted is None or self._rollouts.going is not None:
            return []
        number = self._number()
        changed, anew = wanted.versions != (memory.applied or ()), number != memory.number
        if not (changed or anew) and again is None:
            return []
        versions = wanted.versions if changed else again
        if versions is None:
            versions = versions_of(memory.running)
        new = self._editions(versions, number, anew or again is not None)
        more: dict[str, Any] = {"applied": wanted.versions, "number": number}
        if anew:
            more |= {"unfit": "", "values": {**memory.values, number: values_of(wanted)}}
            more["given"] = max(memory.given, number)
        if changed or anew or new_word or new == memory.running:
            more["waits"] = None
        if new == memory.running:
            if memory == replace(memory, **more):
                return []
            return self._commits.commit(replace(memory, **more), lambda later: [])
        return self._rollouts.roll(Plan(memory.running, new, CONFIGURATION), **more)

    def failed_before(self) -> Versions | None:
        """What was tried in vain, where the last rollout did; it may do now that something was changed."""
        memory = self._commits.memory
        if memory.waits is not None:
            return memory.waits.versions
        last = memory.last
        if last is None or last.outcome is Outcome.DONE or last.plan.why != CONFIGURATION:
            return None
        return versions_of(last.plan.new)

    def arrange(self, now: Instant) -> None:
        """Anything may have changed: what waits is tried again after a pause, also after a restart."""
        waits = self._commits.memory.waits
        if waits is None or self._rollouts.going is not None:
            self._again = self.again_wall = None
        elif self._again is None:
            pause = min(AGAIN_MAX, AGAIN * 2 ** min(waits.tries - 1, 16))
            self._again, self.again_wall = now.mono + pause, now.wall + round(1000 * pause)

    def tick(self, now: Instant) -> Actions:
        if self._again is None or self._again > now.mono:
            return []
        self._again = self.again_wall = None
        actions = self.apply(self.failed_before())
        self.arrange(now)
        return actions

    def deadline(self) -> float | None:
        return self._again

    def _number(self) -> int:
        """Of the values in force: one that was given to such before, else the next."""
        memory, values = self._commits.memory, values_of(self._wanted())
        if not memory.values:
            return memory.number
        known = [number for number, of in memory.values.items() if of == values]
        return memory.number if memory.number in known else max(known, default=memory.given + 1)

    def _editions(self, versions: Versions, number: int, anew: bool) -> Editions:
        """Of these versions. What runs stays; where the values are `anew`, not what has others."""
        memory, values = self._commits.memory, values_of(self._wanted())
        found = []
        for version in versions:
            runs = edition_of(version, memory.running)
            stays = runs is not None and (not anew or memory.values.get(runs.number) == values)
            found.append(runs if runs is not None and stays else Edition(*version, number))
        return ordered(found)
