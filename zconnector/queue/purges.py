"""Purging commands that wait: each becomes a dead letter in a commit of its own, a portion at a time.

A backlog may be large, and each burial reads a body: between two portions the process does everything else.
"""

from __future__ import annotations

from collections.abc import Callable

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal
from zconnector.queue.burials import Burials
from zconnector.queue.register import Register
from zconnector.queue.states import WAITING, State

PORTION = 200
"""Commands that are buried in one step."""

OnPurged = Callable[[Instant, int, Refusal | None], Actions]
"""Hears how many commands ended, and why it went no further (None: all did that were meant)."""


class Purges:
    """READY and DELAYED commands only: what a worker has is cancelled one by one, if at all."""

    def __init__(self, register: Register, burials: Burials) -> None:
        self._register = register
        self._burials = burials

    def purge(self, name: str | None, state: State | None, now: Instant, done: OnPurged) -> Actions:
        """End those of a name (None: of any) that are in a state (None: READY or DELAYED) now."""
        states = WAITING if state is None else {state}
        meant = [command.uuid for command in self._register.live(name) if command.state in states]
        meant.reverse()
        count = 0

        def portion(now: Instant) -> Actions:
            part: list[str] = []
            while meant and len(part) < PORTION:
                command = self._register.find(meant.pop())
                if command is not None and command.state in states:  # else it has a worker now, or an end
                    part.append(command.uuid)
            if not part:
                return done(now, count, None)
            open_ = len(part)
            failed: Refusal | None = None

            def buried(now: Instant, refusal: Refusal | None) -> Actions:
                nonlocal open_, failed, count
                open_ -= 1
                count += refusal is None
                failed = failed or refusal
                if open_:
                    return []
                return portion(now) if failed is None else done(now, count, failed)

            detail = "purged by an operator"
            return [
                action
                for uuid in part
                for action in self._burials.cancel(uuid, Reason.PURGED, detail, now, buried)
            ]

        return portion(now)
