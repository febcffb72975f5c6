"""Room for a new command in a full queue: the oldest that is with nobody becomes a dead letter (DROPPED)."""

from __future__ import annotations

import heapq

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal
from zconnector.queue.burials import Burials
from zconnector.queue.leases import Command
from zconnector.queue.outcomes import Done
from zconnector.queue.register import Register
from zconnector.queue.states import WAITING

DROP_OLDEST = "drop_oldest"
_SLACK = 64
_DETAIL = "the queue was full, and it was the oldest that nobody had"


class Overflow:
    """Knows the oldest waiting commands; only where the settings ask for it does it keep anything.

    Invariant: every READY or DELAYED command that is not on its way out has its key in `_waiting`. Keys of
    others fall out at the top, or when most of them are such.
    """

    def __init__(self, policy: str, register: Register, burials: Burials) -> None:
        self.drops = policy == DROP_OLDEST
        """Whether `make_room` ever makes any."""
        self._register = register
        self._burials = burials
        self._waiting: list[int] = []
        self.dropped = 0
        if self.drops:
            register.on_waiting = self._waits

    def make_room(self, size: int, now: Instant) -> Actions:
        """Begin to bury as many as a new command of so many bytes needs; those count as gone already."""
        if not self.drops:
            return []
        actions: Actions = []
        stay: list[Command] = []

        def told(command: Command) -> Done:
            def tell(later: Instant, refusal: Refusal | None) -> Actions:
                self._register.room.write_on(command)
                if refusal is not None:
                    stay.append(command)
                return []

            return tell

        drops = self._register.room.could_hold(size) and not self._register.remembers_too_much
        while drops and self._register.room.is_full(size) and (oldest := self._take()) is not None:
            self.dropped += 1
            self._register.room.write_off(oldest)
            actions += self._burials.bury(oldest, Reason.DROPPED, _DETAIL, now, done=told(oldest))
        for command in stay:  # it cannot even be read: the next ones had to go instead
            self._waits(command)
        return actions

    def _waits(self, command: Command) -> None:
        heapq.heappush(self._waiting, command.key)
        if len(self._waiting) > 2 * self._register.room.count + _SLACK:
            self._waiting = sorted({key for key in self._waiting if self._is_waiting(key)})

    def _is_waiting(self, key: int) -> bool:
        command = self._register.still(key)
        return command is not None and command.state in WAITING

    def _take(self) -> Command | None:
        while self._waiting:
            command = self._register.still(heapq.heappop(self._waiting))
            if command is not None and command.state in WAITING:
                return command
        return None
