"""The serial try: a command goes over one route after another until something definite is heard.

One mechanism serves all three hops (DESIGN section 4): a connector over its aggregator instances, an
aggregator over the cluster members, a member over the instances that hold a session with the target.

| state | event | next |
|---|---|---|
| TRYING | accepted, rejected (from any route, however late) | ENDED with that |
| TRYING | this route: no route, not taken, lost, share over | next route that has a place for it |
| TRYING | none of the routes that are left has a place | as if they had said BUSY |
| TRYING | routes exhausted, none in doubt | ENDED: NOT_SENT with the last reason |
| TRYING | routes exhausted, one in doubt | ENDED: UNKNOWN, after the share of the last one |

A route is **in doubt** when it took the command and then said nothing definite: it was lost, or
its share ended. A route that said NO_ROUTE, or whose socket refused, is not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from zconnector.errors import Reason

Route = TypeVar("Route")

_TIMED_OUT = Reason.TIMED_OUT
BURST = 0.005
"""Seconds in which what is sent one after the other goes the same way."""


class Verdict(StrEnum):
    """How a serial try ended."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    NOT_SENT = "NOT_SENT"
    UNKNOWN = "UNKNOWN"


class Burst(Generic[Route]):
    """A random order of routes, fresh for each burst.

    An order for each message would tear a burst apart: as many transmissions, wakes and commits behind each
    hop as there are routes, and each costs more than a message. The load is spread over the bursts.
    """

    __slots__ = ("_ends", "_of", "_order", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._order: list[Route] = []
        self._of: list[Route] = []
        """The same as they were given, which is how they mostly come again."""
        self._ends = 0.0
        """Monotonic seconds at which the burst is over, whatever comes."""

    def order(self, routes: Sequence[Route], now: float) -> list[Route]:
        """The routes in the order of this burst; a fresh one where they are not those of the burst."""
        if now >= self._ends or (routes != self._of and not self._has(routes)):
            self._of = list(routes)
            self._order = list(routes)
            self._rng.shuffle(self._order)
            self._ends = now + BURST
        return self._order.copy()

    def _has(self, routes: Sequence[Route]) -> bool:
        """Whether these are the routes of the burst, in whatever order."""
        burst = self._order
        return len(burst) == len(routes) and all(route in burst for route in routes)


@dataclass(slots=True)
class SerialTry(Generic[Route]):
    """The routes of one command, in the order in which they are tried.

    Ask `next` for the route to send to; tell `declined`, `lost` or the time. Times are monotonic seconds.

    Invariant: at most one route is current; a route is in `doubtful` from when it was left without a
    word until it says for certain that it did not hand the command on.
    """

    routes: list[Route]
    ends: float
    """When the whole budget is over."""
    share: float
    """Seconds for each route: T/n."""
    current: Route | None = None
    current_ends: float = 0.0
    doubtful: tuple[Route, ...] = ()
    last_reason: Reason = _TIMED_OUT
    last_detail: str = ""
    tried: tuple[Route, ...] = ()
    busy: tuple[Route, ...] = ()
    """Those that said BUSY, or had no place when the others had been tried: they may take it later."""

    @classmethod
    def over(
        cls, routes: list[Route], budget: float, now: float, first: Route | None = None
    ) -> SerialTry[Route]:
        """A try over routes in that order, `first` before them; the list is the try's own from now on."""
        if first is not None and routes and routes[0] is not first and first in routes:
            routes.remove(first)
            routes.insert(0, first)
        return cls(routes, now + budget, budget / len(routes) if routes else 0.0)

    def next(self, now: float, free: Callable[[Route], bool] | None = None) -> Route | None:
        """Make the next route that is free current and return it; None when there is none.

        Without `free` all are.
        """
        routes = self.routes
        if now >= self.ends:
            routes.clear()
        at = 0
        if free is not None:
            while at < len(routes) and not free(routes[at]):
                at += 1
        if at >= len(routes):
            if routes:
                self.last_reason, self.last_detail = Reason.BUSY, "no place is free"
                self.busy += tuple(routes)
                routes.clear()
            self.current = None
            return None
        route = self.current = routes.pop(at)
        ends = now + self.share
        self.current_ends = ends if ends < self.ends else self.ends
        self.tried += (route,)
        return route

    def declined(self, route: Route, reason: Reason, detail: str) -> bool:
        """A route certainly did not hand the command on. Returns whether to move on."""
        self.last_reason, self.last_detail = reason, detail
        if self.current is not None and route == self.current:
            self.current = None
            if reason is Reason.BUSY:
                self.busy += (route,)
            return True
        self.doubtful = _but(self.doubtful, route)
        return False

    def lost(self, route: Route) -> bool:
        """A route is gone (session lost, GOAWAY). Returns whether to move on."""
        if route in self.routes:
            self.routes.remove(route)
        self.busy = _but(self.busy, route)
        if self.current is not None and route == self.current:
            self.doubtful += (self.current,)
            self.current = None
            return True
        return False

    def due(self, now: float) -> bool:
        """Whether the current route's share is over; it is then in doubt, and the caller moves on."""
        if self.current is None or now < self.current_ends:
            return False
        self.doubtful += (self.current,)
        self.current = None
        return True

    @property
    def exhausted(self) -> Verdict:
        """The verdict once `next` has returned None."""
        return Verdict.UNKNOWN if self.doubtful else Verdict.NOT_SENT


def _but(routes: tuple[Route, ...], gone: Route) -> tuple[Route, ...]:
    """The routes without that one; no route is there twice."""
    return tuple(route for route in routes if route != gone) if gone in routes else routes
