"""Deadlines of many waits: those that end at nearly the same time share a timer."""

from __future__ import annotations

import asyncio
from typing import Any

Waiter = asyncio.Future[Any]

GRAIN = 0.005
"""Seconds that a wait may end too late; it never ends too early."""


class Deadlines:
    """Ends futures with TimeoutError. To make and cancel a timer for each wait costs as much as all the rest
    of it, and a command has two waits, whose deadlines hardly ever come.

    Invariant: a slot has a waiter at least, and its timer is under way.
    """

    def __init__(self) -> None:
        self._slots: dict[int, tuple[set[Waiter], asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, waiter: Waiter, deadline: float) -> int:
        """`waiter` ends by then (on its loop's clock), unless it is dropped. Returns its slot, for `drop`."""
        number = int(deadline / GRAIN) + 1
        slot = self._slots.get(number)
        if slot is None:
            timer = waiter.get_loop().call_at(number * GRAIN, self._over, number)
            slot = self._slots[number] = (set(), timer)
        slot[0].add(waiter)
        return number

    def drop(self, waiter: Waiter, number: int) -> None:
        """It has ended otherwise."""
        slot = self._slots.get(number)
        if slot is None:
            return
        waiters, timer = slot
        waiters.discard(waiter)
        if not waiters:
            timer.cancel()
            del self._slots[number]

    def _over(self, number: int) -> None:
        for waiter in self._slots.pop(number)[0]:
            if not waiter.done():
                waiter.set_exception(TimeoutError())
                waiter.exception()  # seen, also where its task has just been cancelled
