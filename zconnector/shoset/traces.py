"""What a member did with the last commands, beyond what the journal keeps: forwarded, receipted, refused.

In memory, since this member's start: it costs a command a few tuples, and no write.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_TRACED = 20_000
"""Commands remembered; the one that was first heard of longest ago goes first."""
_MAX_STEPS = 32
"""Steps of one command; beyond it the last ones are not kept (a command that is tried again for hours)."""

_Step = tuple[int, str, tuple[object, ...]]


class Traces:
    """Steps by tenant and uuid."""

    def __init__(self, limit: int = MAX_TRACED) -> None:
        self._limit = limit
        self._steps: OrderedDict[tuple[str, str], list[_Step]] = OrderedDict()

    def add(self, tenant: str, uuid: str, wall: int, what: str, *about: object) -> None:
        """Something happened at `wall` (ms). `what` has a `{}` for each of `about`, filled in when asked."""
        about_it = tenant, uuid
        steps = self._steps.get(about_it)
        if steps is None:
            self._steps[about_it] = [(wall, what, about)]
            if len(self._steps) > self._limit:
                self._steps.popitem(last=False)
        elif len(steps) < _MAX_STEPS:
            steps.append((wall, what, about))

    def of(self, tenant: str, uuid: str) -> list[tuple[int, str]]:
        """What happened to a command: times and sentences."""
        return [(wall, what.format(*about)) for wall, what, about in self._steps.get((tenant, uuid), ())]

    def tenants(self, uuid: str) -> list[str]:
        """The tenants in which something happened to a uuid."""
        return sorted({tenant for tenant, known in self._steps if known == uuid})
