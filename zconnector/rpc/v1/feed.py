"""Takes from the queue what a stream may hold: credits on one side, a held call on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from zconnector.errors import Refusal
from zconnector.rpc.port import DoorPort

TOGETHER = 64
"""Items of one take."""

Item = tuple[dict[str, Any], bytes]


class Feed:
    """Commands of a pool, or events of a subscription.

    Invariant: `out` (handed to the stream and not done) and what the one pending call may bring are together
    never more than `credits`.
    """

    def __init__(
        self,
        door: DoorPort,
        op: str,
        args: Mapping[str, Any],
        listed: str,
        credits: int,
        took: Callable[[Feed, list[Item], Mapping[str, Any]], None],
        failed: Callable[[Refusal], None],
    ) -> None:
        self._door = door
        self._op = op
        self._args = {**args, "wait_ms": 0}
        self._listed = listed
        self._took = took
        self._failed = failed
        self._asked: asyncio.Future[tuple[dict[str, Any], bytes]] | None = None
        self._limit = 0
        self._held = False
        self._stopped = False
        self.names: list[str] = list(args.get("commands", ()))
        self.credits = credits
        self.out = 0

    def pull(self) -> None:
        """Ask for what there is room for, unless a call is out already."""
        room = min(self.credits - self.out, TOGETHER)
        if self._asked is not None or room <= 0 or self._held or self._stopped:
            return
        self._limit = room
        self._asked = self._door.ask(self._op, {**self._args, "limit": room})
        self._asked.add_done_callback(self._answered)

    def done(self, count: int = 1) -> None:
        """So many have been done with."""
        self.out = max(0, self.out - count)

    def set_credits(self, credits: int) -> None:
        """Credits anew; a call that might bring more than is left of them is taken back."""
        self.credits = credits
        if self._asked is not None and self._limit > max(0, credits - self.out):
            self._asked.cancel()
        self.pull()

    def hold(self, held: bool) -> None:
        """Ask for nothing more while the stream has too much to write."""
        self._held = held
        if not held:
            self.pull()

    def stop(self) -> None:
        """Take nothing more."""
        self._stopped = True
        if self._asked is not None:
            self._asked.cancel()

    def _answered(self, asked: asyncio.Future[tuple[dict[str, Any], bytes]]) -> None:
        self._asked = None
        if asked.cancelled():
            self.pull()
            return
        error = asked.exception()
        if isinstance(error, Refusal):
            self._failed(error)
            return
        if error is not None:
            raise error
        result, payload = asked.result()
        items = split(result.get(self._listed), payload)
        self.out += len(items)
        self._took(self, items, result)
        self.pull()


def split(listed: Any, payload: bytes) -> list[Item]:
    """The items of an answer of the door, each with its part of the payload."""
    items: list[Item] = []
    begin = 0
    for item in listed or ():
        end = begin + int(item.get("size", 0))
        items.append((item, payload[begin:end]))
        begin = end
    return items
