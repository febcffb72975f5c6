"""The call by which a stream lives at the queue, and hears of what concerns it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from zconnector.errors import Refusal
from zconnector.rpc.port import DoorPort


class Tidings:
    """Asks again as soon as it was answered, until it ends.

    `end` tells the queue that the holder is gone; `leave` tells nothing, so that its leases stay for a while.
    """

    def __init__(
        self,
        door: DoorPort,
        args: Mapping[str, Any],
        heard: Callable[[Mapping[str, Any]], None],
        failed: Callable[[Refusal], None],
    ) -> None:
        self._door = door
        self._args = dict(args)
        self._heard = heard
        self._failed = failed
        self._over = False
        self._asked: asyncio.Future[tuple[dict[str, Any], bytes]] | None = None

    def ask(self) -> None:
        self._asked = self._door.ask("tidings", self._args)
        self._asked.add_done_callback(self._answered)

    def end(self) -> None:
        """The holder is gone: the queue takes back all it holds."""
        if self._over:
            return
        self._over = True
        if self._asked is not None and not self._asked.cancel():
            # It has just been answered: the queue believes that it will ask again.
            gone = self._door.ask("give_back", {"holder": self._args["holder"]})
            gone.add_done_callback(ignore)

    def leave(self) -> None:
        """This process ends: the call ends with it, and nothing is said."""
        self._over = True

    def _answered(self, asked: asyncio.Future[tuple[dict[str, Any], bytes]]) -> None:
        if asked.cancelled() or self._over:
            ignore(asked)
            return
        error = asked.exception()
        if isinstance(error, Refusal):
            # The queue knows this holder no more, or is gone itself: then the leases wait to be adopted.
            self._over = True
            self._failed(error)
            return
        if error is not None:
            raise error
        self.ask()
        self._heard(asked.result()[0])


def ignore(asked: asyncio.Future[Any]) -> None:
    """Of an answer that nobody waits for: an error in it has been seen."""
    if not asked.cancelled():
        asked.exception()
