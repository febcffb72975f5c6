"""Indexes of retained events: for each thing that can be waited for, the keys that match, in order.

An event stands in the lane of (topic, event) and of the topic alone, and when it has a reference, in the same
two with that reference. A wait looks at one lane only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

IndexKey = tuple[str, str | None, str]
"""A LaneKey, or a plain tuple that is equal to it: four are made for each reply, and those cost a tenth."""


class LaneKey(NamedTuple):
    """What can be waited for."""

    topic: str
    event: str | None
    """None: any of the topic."""
    reference: str
    """"": any."""


def lanes_of(topic: str, event: str, reference: str) -> tuple[IndexKey, ...]:
    """The lanes that an event stands in."""
    if not reference:
        return (topic, event, ""), (topic, None, "")
    return (topic, event, ""), (topic, None, ""), (topic, event, reference), (topic, None, reference)


class Lane:
    """Keys in growing order. Removing the oldest and finding by position cost the same at any length."""

    __slots__ = ("_keys", "_start")

    def __init__(self, *keys: int) -> None:
        self._keys = list(keys)
        self._start = 0

    def __len__(self) -> int:
        return len(self._keys) - self._start

    def append(self, key: int) -> None:
        """A new key, greater than all before."""
        self._keys.append(key)

    def after(self, position: int) -> int | None:
        """The first key beyond a position."""
        index = bisect_right(self._keys, position, lo=self._start)
        return self._keys[index] if index < len(self._keys) else None

    def remove(self, key: int) -> None:
        """Take a key out; mostly the oldest."""
        index = bisect_left(self._keys, key, lo=self._start)
        if index == self._start:
            self._start += 1
            if self._start > 32 and self._start * 2 > len(self._keys):
                del self._keys[: self._start]
                self._start = 0
        else:
            del self._keys[index]


class Lanes:
    """All lanes in which anything stands.

    Invariant: a lane has a key, or a Lane with one at least. Those of a reference mostly stay with one,
    that of the reply, and there are as many of them as there are replies.
    """

    def __init__(self) -> None:
        self._lanes: dict[IndexKey, int | Lane] = {}

    def __contains__(self, lane: IndexKey) -> bool:
        return lane in self._lanes

    def __len__(self) -> int:
        return len(self._lanes)

    def append(self, lanes: Iterable[IndexKey], key: int) -> None:
        """A new key, greater than all before, stands in these."""
        of = self._lanes
        for lane in lanes:
            keys = of.get(lane)
            if keys is None:
                of[lane] = key
            elif isinstance(keys, int):
                of[lane] = Lane(keys, key)
            else:
                keys.append(key)

    def after(self, lane: IndexKey, position: int) -> int | None:
        """The first key of a lane beyond a position."""
        keys = self._lanes.get(lane)
        if keys is None:
            return None
        if isinstance(keys, int):
            return keys if keys > position else None
        return keys.after(position)

    def remove(self, lanes: Iterable[IndexKey], key: int) -> None:
        """Take a key out of the lanes that it stands in."""
        for lane in lanes:
            keys = self._lanes[lane]
            if not isinstance(keys, int):
                keys.remove(key)
                if keys:
                    continue
            del self._lanes[lane]
