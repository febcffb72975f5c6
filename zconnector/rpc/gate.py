"""Holds the calls that are to be gathered, on the loop's clock."""

from __future__ import annotations

import asyncio

from zconnector.rpc.gathering import Gathering


class Gate:
    """Calls pass in the order in which they came. To be made on the loop, or before it runs.

    Invariant: while calls are held there is a timer that lets them go, or they go with the next turn.
    """

    def __init__(self, gathering: Gathering | None = None) -> None:
        self._gathering = gathering or Gathering()
        self._held: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._leaving = False
        """Some were let go, and have not gone yet."""
        self._next = False
        """Those that are held go after them."""

    def answered(self) -> None:
        """An answer went out that mostly brings a call by here."""
        self._gathering.answered(asyncio.get_running_loop().time())

    async def passed(self) -> None:
        """Return when this call may go on; those that go together do in one turn of the loop."""
        loop = asyncio.get_running_loop()
        waits = self._gathering.comes(loop.time())
        if not (waits or self._held or self._leaving):
            return
        held: asyncio.Future[None] = loop.create_future()
        self._held.append(held)
        if not waits:
            loop.call_soon(self.open)  # not now: this call would be through before those that were held
        elif self._timer is None:
            self._timer = loop.call_at(self._gathering.due, self._over)
        await held

    def open(self) -> None:
        """Let go what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._leaving:
            self._next = True
            return
        self._gathering.gone()
        held, self._held = self._held, []
        for each in held:
            if not each.done():  # cancelled: nobody waits any more
                each.set_result(None)
        if held:
            self._leaving = True
            asyncio.get_running_loop().call_soon(self._left)

    def _over(self) -> None:
        self._gathering.over()
        self.open()

    def _left(self) -> None:
        self._leaving = False
        if self._next:
            self._next = False
            self.open()
