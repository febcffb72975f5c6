"""Acting on the logical configuration: which editions its versions, product, keys and settings make. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zconnector.clock import Instant
from zconnector.versions.commits import Commits
from zconnector.versions.editions import Edition, Editions, Values, edition_of, ordered, versions_of
from zconnector.versions.rollouts import Rollouts
from zconnector.versions.states import CONFIGURATION, Actions, Outcome, Plan, Versions
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
        self._tried: Versions = ()
        """What is tried again then."""
        self._pause = AGAIN

    def wanted_for(self, edition: Edition) -> Wanted | None:
        """The configuration that an edition is started by: its own values, all else as it is now."""
        wanted, values = self._wanted(), self._commits.memory.values.get(edition.number)
        return wanted if wanted is None or values is None else values.into(wanted)

    def begin_values(self) -> None:
        """What runs since before there were editions has the values that are in force."""
        memory, wanted = self._commits.memory, self._wanted()
        if memory.running and not memory.values and wanted is not None:
            self._commits.memory = replace(memory, values={memory.number: values_of(wanted)})

    def apply(self, again: Versions | None = None) -> Actions:
        """Act on the configuration's versions, product, keys and worker settings where they changed.

        Where they did not, `again` is tried: versions that could not be had before and may be now.
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
        if new == memory.running:
            if memory == replace(memory, **more):
                return []
            return self._commits.commit(replace(memory, **more), lambda later: [])
        return self._rollouts.roll(Plan(memory.running, new, CONFIGURATION), **more)

    def failed_before(self) -> Versions | None:
        """What was tried in vain, where the last rollout did; it may do now that something was changed."""
        last = self._commits.memory.last
        if last is None or last.outcome is Outcome.DONE or last.plan.why != CONFIGURATION:
            return None
        return versions_of(last.plan.new)

    def new_word(self) -> None:
        """What was to be tried again is out of date."""
        self._again, self._pause = None, AGAIN

    def later(self, versions: Versions, now: Instant) -> None:
        """These could not be had for a passing reason."""
        self._again, self._tried = now.mono + self._pause, versions
        self._pause = min(AGAIN_MAX, 2 * self._pause)

    def tick(self, now: Instant) -> Actions:
        if self._again is None or self._again > now.mono:
            return []
        self._again = None
        return self.apply(self._tried)

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
