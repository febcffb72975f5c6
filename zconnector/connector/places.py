"""Places of our commands at the aggregator instances: who has one, and who may not have another.

An instance has `COMMANDS_IN_FLIGHT` places for one connector; a command under way has one at a time, where
it is tried. Commands of one (type, command) have at most three quarters of them, so that a target that says
nothing holds up its own only. An instance that says BUSY has no more places than we had there at that
moment (its count and ours differ for a while, or the way behind it is busy), and one more after each
`PAUSE`.
"""

from __future__ import annotations

from typing import Any

from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.messages.message import Message
from zconnector.shoset.dispatches import Places
from zconnector.shoset.pace import COMMANDS_IN_FLIGHT
from zconnector.shoset.peers import Peer

PAUSE = 0.05
"""Seconds until an instance that said BUSY is asked for one more place."""

COMMANDS_OF_ONE_NAME = COMMANDS_IN_FLIGHT * 3 // 4

Name = tuple[str, str]
"""Type and command."""


def name_of(command: Message) -> Name:
    header = command.header
    return header.get("type", ""), header.get("command", "")


class InstancePlaces(Places):
    """Invariant: the places at an instance are those of all names there; no count is 0."""

    def __init__(self, agenda: Agenda) -> None:
        """`agenda` is told when a pause is over."""
        self._agenda = agenda
        self._at: dict[Peer, int] = {}
        self._of: dict[tuple[Peer, Name], int] = {}
        self._fewer: dict[Peer, tuple[int, float]] = {}
        """Of an instance that was busy: how many places it has, and when it has one more."""

    def take(self, peer: Peer, command: Message) -> None:
        of = peer, name_of(command)
        self._at[peer] = self._at.get(peer, 0) + 1
        self._of[of] = self._of.get(of, 0) + 1

    def leave(self, peer: Peer, command: Message) -> None:
        _less(self._at, peer)
        _less(self._of, (peer, name_of(command)))

    def busy(self, peer: Peer, now: Instant) -> None:
        self._fewer[peer] = min(self._at.get(peer, 0), COMMANDS_IN_FLIGHT - 1), now.mono + PAUSE
        self._agenda.by(now.mono + PAUSE)

    def free(self, peer: Peer, command: Message) -> bool:
        return self.free_for(peer, name_of(command))

    def free_for(self, peer: Peer, name: Name) -> bool:
        return self._of.get((peer, name), 0) < COMMANDS_OF_ONE_NAME and self.free_for_some(peer)

    def free_for_some(self, peer: Peer) -> bool:
        """Whether a command of a name that has less than its half may be tried there."""
        count = self._fewer[peer][0] if peer in self._fewer else COMMANDS_IN_FLIGHT
        return peer.room > 0 and self._at.get(peer, 0) < count

    def forget(self, peer: Peer) -> None:
        """Its session is over."""
        self._fewer.pop(peer, None)

    def tick(self, now: Instant) -> None:
        """Give one place more to each instance whose pause is over."""
        if not self._fewer:
            return
        due = [(peer, count) for peer, (count, more_at) in self._fewer.items() if more_at <= now.mono]
        for peer, count in due:
            if count + 1 < COMMANDS_IN_FLIGHT:
                self._fewer[peer] = count + 1, now.mono + PAUSE
            else:
                del self._fewer[peer]

    def deadline(self) -> float | None:
        if not self._fewer:
            return None
        return min(more_at for _, more_at in self._fewer.values())


def _less(counts: dict[Any, int], key: Any) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
