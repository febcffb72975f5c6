"""The bounds of the queue: how many commands and bytes there are, and what there is room for."""

from __future__ import annotations

from zconnector.errors import Reason, Refusal
from zconnector.queue.leases import Command
from zconnector.settings import QueueSettings

REMEMBERED_PER_ROOM = 10
"""Ended commands remembered at most, as a multiple of the bound on live ones: beyond it new
commands are refused, since forgetting an ended one early would let a late copy run again."""


class Room:
    """Counts live commands. Those that are about to leave, to make room, count as gone already."""

    def __init__(self, settings: QueueSettings) -> None:
        self._limit = settings.max_commands
        self._byte_limit = settings.max_command_bytes
        self._remembered = REMEMBERED_PER_ROOM * settings.max_commands
        self._live = 0
        self._leaving: dict[int, int] = {}
        """Keys and bytes of those that are to make room."""
        self._leaving_bytes = 0
        self.bytes = 0
        """Of all live commands."""

    def enter(self, command: Command) -> None:
        """It is live from now on."""
        self._live += 1
        self.bytes += command.size

    def leave(self, command: Command) -> None:
        """It is live no more."""
        self._live -= 1
        self.bytes -= command.size
        if self._leaving:
            self.write_on(command)

    def write_off(self, command: Command) -> None:
        """It is about to leave: a new command may have its room."""
        self._leaving[command.key] = command.size
        self._leaving_bytes += command.size

    def write_on(self, command: Command) -> None:
        """It has left, or could not."""
        self._leaving_bytes -= self._leaving.pop(command.key, 0)

    @property
    def count(self) -> int:
        """Live commands, but for those that are to make room."""
        return self._live - len(self._leaving)

    def could_hold(self, size: int) -> bool:
        """Whether a command of so many bytes is within the bounds of an empty queue."""
        return size <= self._byte_limit

    def is_full(self, size: int) -> bool:
        """Whether a further command of so many bytes is beyond the bounds."""
        return self.count + 1 > self._limit or self.bytes - self._leaving_bytes + size > self._byte_limit

    def refusal(self, size: int, uuid: str, ended: int, ended_bytes: int, spare: int = 0) -> Refusal | None:
        """Why a further command cannot be taken, with so many that have ended still remembered.

        `spare`: it may be one of so many beyond the bounds.
        """
        count = self._live - len(self._leaving)
        if count + 1 - self._limit > spare:
            return Refusal(Reason.QUEUE_FULL, f"the queue holds {count} commands", uuid)
        if not spare and self.bytes - self._leaving_bytes + size > self._byte_limit:
            detail = f"the queue holds {self.bytes} of {self._byte_limit} bytes"
            return Refusal(Reason.QUEUE_FULL, detail, uuid)
        if ended >= self._remembered or ended_bytes > self._byte_limit:  # as `remembers_too_much`
            return Refusal(Reason.QUEUE_FULL, "too many commands have ended within the dedupe window", uuid)
        return None

    def remembers_too_much(self, ended: int, ended_bytes: int) -> bool:
        """Whether so many that have ended leave no room for a further command, however few are live."""
        return ended >= self._remembered or ended_bytes > self._byte_limit
