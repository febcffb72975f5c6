"""CONFIRMs of replies: one at once, those that follow it closely together (WIRE.md section 7). Pure.

A burst of replies is committed together, and confirmed by one message at each hop instead of one a reply.
Nobody waits for a CONFIRM but an outbox, which sends again after a second.
"""

from __future__ import annotations

from collections.abc import Callable

from zconnector.actions import Actions
from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.messages.kinds import CONFIRMED_AT_ONCE
from zconnector.shoset.peers import Peer

WINDOW = 0.005
"""Seconds after one, in which others are gathered."""

Send = Callable[[Peer, str, list[str], Instant], Actions]


class Confirms:
    """Invariant: `_waiting` is empty from the end of a window until the next one begins."""

    def __init__(self, send: Send, agenda: Agenda) -> None:
        """`send` makes and sends one: the session that the replies came by, whose they are, their uuids.

        `agenda` is told when `tick` is due.
        """
        self._agenda = agenda
        self._send = send
        self._ends = 0.0
        self._waiting: dict[tuple[Peer, str], list[str]] = {}

    def add(self, peer: Peer, source: str, uuid: str, now: Instant) -> Actions:
        """A reply of `source` is stored."""
        if now.mono >= self._ends and not self._waiting:
            self._ends = now.mono + WINDOW
            return self._send(peer, source, [uuid], now)
        uuids = self._waiting.setdefault((peer, source), [])
        self._agenda.by(self._ends)
        uuids.append(uuid)
        if len(uuids) < CONFIRMED_AT_ONCE:
            return []
        del self._waiting[peer, source]
        return self._send(peer, source, uuids, now)

    def tick(self, now: Instant) -> Actions:
        """Send what was gathered, when its time has come."""
        return self.flush(now) if now.mono >= self._ends else []

    def flush(self, now: Instant) -> Actions:
        """Send what was gathered."""
        if not self._waiting:
            return []
        waiting, self._waiting = self._waiting, {}
        return [a for (peer, source), uuids in waiting.items() for a in self._send(peer, source, uuids, now)]

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return self._ends if self._waiting else None
