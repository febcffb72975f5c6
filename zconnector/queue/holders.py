"""Who holds which events of the subscriptions, by holder and by call."""

from __future__ import annotations

from typing import TypeVar

from zconnector.actions import Caller
from zconnector.queue.subscription import Outstanding

KeyT = TypeVar("KeyT")

Held = tuple[str, int]
"""A subscription's name, and the key of an event of it."""


class Holders:
    """Invariant: an event is under its holder and its call exactly while its lease lasts."""

    def __init__(self) -> None:
        self._of_holder: dict[str, dict[Held, None]] = {}
        self._of_call: dict[Caller, dict[Held, None]] = {}
        self._doubted: set[str] = set()
        """Holders from before a restart, not heard of since: their client may have ended with the process."""

    def took(self, out: Outstanding, name: str, key: int) -> None:
        if out.holder:
            self._of_holder.setdefault(out.holder, {})[name, key] = None
        if out.caller is not None:
            self._of_call.setdefault(out.caller, {})[name, key] = None

    def left(self, out: Outstanding, name: str, key: int) -> None:
        """Its lease is over; twice does no harm."""
        if _drop(self._of_holder, out.holder, (name, key)):
            self._doubted.discard(out.holder)
        if out.caller is not None:
            _drop(self._of_call, out.caller, (name, key))
            out.caller = None

    def held_by(self, holder: str) -> list[Held]:
        """In the order in which it took them. Of "" nobody knows."""
        return list(self._of_holder.get(holder, ()))

    def handed_to(self, caller: Caller) -> list[Held]:
        """What a call was answered with, as far as those leases last."""
        return list(self._of_call.get(caller, ()))

    def doubt(self, holder: str) -> None:
        if holder:
            self._doubted.add(holder)

    def is_doubted(self, holder: str) -> bool:
        return holder in self._doubted

    def believe(self, holder: str) -> list[Held]:
        """The holder lives. What it held while in doubt."""
        if holder not in self._doubted:
            return []
        self._doubted.discard(holder)
        return self.held_by(holder)


def _drop(index: dict[KeyT, dict[Held, None]], key: KeyT, held: Held) -> bool:
    """Take it out. Whether nothing is left under that key."""
    group = index.get(key)
    if group is None:
        return False
    group.pop(held, None)
    if group:
        return False
    del index[key]
    return True
