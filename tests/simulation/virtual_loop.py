"""An asyncio event loop on virtual time, for the parts of a connector that are written with it.

The admin worker (`connector/admin.py`, `hands.py`) and the shell of supervision run in it as they are. It
lives and dies with one simulated process: a killed one's callbacks never run, a frozen one's wait.
"""

from __future__ import annotations

import asyncio
import inspect
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.simulation.clock import NodeClock
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler


class VirtualLoop(asyncio.AbstractEventLoop):
    """What tasks, futures and timers need of a loop. Its time is the machine's monotonic clock."""

    def __init__(
        self,
        process: Process,
        clock: NodeClock,
        scheduler: Scheduler,
        broken: Callable[[str], None],
    ) -> None:
        """`broken` hears of what nobody has handled."""
        self._process = process
        self._clock = clock
        self._scheduler = scheduler
        self._broken = broken
        self._ready: deque[asyncio.Handle] = deque()
        self._woken = False
        self.tasks: list[asyncio.Task[Any]] = []
        """All that ever ran: none is finalised while its world lives, whenever chance would have it."""

    def run_in(self, call: Callable[..., Any], *args: Any) -> None:
        """Call something of the process, with this as its running loop."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            call(*args)
        finally:
            events._set_running_loop(before)

    def abandon(self) -> None:
        """The world is over: what its process, killed or not, had not begun is not waited for by anybody.

        Only such coroutines are closed, of which nothing ever ran; Python would warn of them.
        """
        for task in self.tasks:
            coro = task.get_coro()
            if inspect.iscoroutine(coro) and inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
                coro.close()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._scheduler.after(0, self._turn)

    def _turn(self) -> None:
        process = self._process
        if process.frozen and process.alive:
            process._backlog.append((self._turn, ()))
            return
        self._woken = False
        for _ in range(len(self._ready)):
            if not process.alive:
                return
            handle = self._ready.popleft()
            if not handle.cancelled():
                self.run_in(handle._run)
        if self._ready:
            self._wake()

    def _ring(self, handle: asyncio.TimerHandle) -> None:
        if not handle.cancelled():
            self._ready.append(handle)
            self._wake()

    # ---- AbstractEventLoop

    def time(self) -> float:
        return self._clock.now().mono

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        self._wake()
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._scheduler.at(self._clock.when(when), self._ring, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        return

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **_: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._process.alive:
            self._broken(f"{context.get('message')}: {context.get('exception')!r}")
