"""What a line has besides while a rule says which version each of its commands goes to.

Commands come unsorted into the line's own heaps. They move to the heap of their slot, each once, when a
waiter looks for what is its version's and they are before it; where all of a major go the same way they stay.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from zconnector.actions import Caller
from zconnector.queue.leases import Command
from zconnector.queue.routing import ANY, UNSORTED, Allowed, Rule, Serves
from zconnector.queue.waiter import Waiter

KeyT = TypeVar("KeyT")
Group = tuple[int, int]
"""Major and slot."""
Find = Callable[[int], Command | None]
"""The command that a rank stands for, if that may still be handed out."""


Head = tuple[int, Group]
"""The rank of the first command for a waiter, and the heap at whose top it is."""


class Sorting:
    """Invariant: what stands in a slot's heap belongs there by the rule; every waiter has a seat."""

    def __init__(self, rule: Rule, unsorted: dict[int, list[int]]) -> None:
        self.rule = rule
        self._unsorted = unsorted
        """The line's heaps, by major."""
        self._heaps: dict[Group, list[int]] = {}
        self._seats: dict[tuple[int, Serves], OrderedDict[Caller, Waiter]] = {}

    @property
    def empty(self) -> bool:
        """Whether no sorted command stands here."""
        return not self._heaps

    # ---- waiters

    def seat(self, waiter: Waiter) -> None:
        self._seats.setdefault((waiter.major, waiter.stands_for), OrderedDict())[waiter.caller] = waiter

    def leave(self, waiter: Waiter) -> None:
        key = (waiter.major, waiter.stands_for)
        seats = self._seats[key]
        del seats[waiter.caller]
        if not seats:
            del self._seats[key]

    def first(self, command: Command) -> Waiter | None:
        """Who has waited longest of those who may have a command."""
        rule, major = self.rule, command.major
        target = rule.target(major, UNSORTED if rule.even(major) else rule.slot(command))
        first: Waiter | None = None
        for (wanted, serves), seats in self._seats.items():
            if (wanted == major or _meet(wanted, major)) and target in rule.allowed(serves):
                waiter = next(iter(seats.values()))
                if first is None or waiter.order < first.order:
                    first = waiter
        return first

    # ---- commands

    def take(self, waiter: Waiter, find: Find) -> int | None:
        """Remove and return the first command for a waiter."""
        head = self._head(waiter, find)
        if head is None:
            return None
        rank, group = head
        if group[1] == UNSORTED:
            _pop(self._unsorted, group[0])
        else:
            _pop(self._heaps, group)
        return rank

    def peek(self, waiter: Waiter, find: Find) -> int | None:
        """What `take` would return."""
        head = self._head(waiter, find)
        return None if head is None else head[0]

    def unsort(self) -> None:
        """Back to the line's heaps with all: slots mean something else from now on."""
        for (major, _), heap in self._heaps.items():
            self._unsorted.setdefault(major, []).extend(heap)
        for major in {major for major, _ in self._heaps}:
            heapq.heapify(self._unsorted[major])
        self._heaps.clear()

    def _head(self, waiter: Waiter, find: Find) -> Head | None:
        rule = self.rule
        allowed = rule.allowed(waiter.stands_for)
        first: Head | None = None
        # Without shares or pins, as mostly, nothing is sorted.
        for group, heap in list(self._heaps.items()) if self._heaps else ():
            if not _meet(waiter.major, group[0]) or rule.target(*group) not in allowed:
                continue
            while heap and find(heap[0]) is None:
                heapq.heappop(heap)
            if not heap:
                del self._heaps[group]
            elif first is None or heap[0] < first[0]:
                first = heap[0], group
        for major in list(self._unsorted):
            if (waiter.major == major or _meet(waiter.major, major)) and not rule.reach(major).isdisjoint(
                allowed
            ):
                first = self._among_unsorted(major, allowed, first, find)
        return first

    def _among_unsorted(self, major: int, allowed: Allowed, first: Head | None, find: Find) -> Head | None:
        """The better of `first` and the first unsorted one; what is before that finds its slot on the way."""
        rule, heap = self.rule, self._unsorted[major]
        even = rule.even(major)
        while heap and (first is None or heap[0] < first[0]):
            rank = heap[0]
            command = find(rank)
            if command is None:
                heapq.heappop(heap)
                continue
            if even:
                return rank, (major, UNSORTED)
            heapq.heappop(heap)
            group = (major, rule.slot(command))
            heapq.heappush(self._heaps.setdefault(group, []), rank)
            if rule.target(*group) in allowed:
                first = rank, group
        if not heap:
            del self._unsorted[major]
        return first


def _meet(major: int, other: int) -> bool:
    return major == other or ANY in (major, other)


def _pop(heaps: dict[KeyT, list[int]], key: KeyT) -> None:
    heapq.heappop(heaps[key])
    if not heaps[key]:
        del heaps[key]
