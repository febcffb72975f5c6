"""All serial tries of one process, by the uuid of what is tried (see `dispatch.SerialTry`).

The table owns time and order; the role says how to send and what an ending means.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from zconnector.actions import Actions, Then
from zconnector.agenda import Agenda
from zconnector.alarms import Alarms
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages.message import Message
from zconnector.shoset.dispatch import Burst, SerialTry, Verdict
from zconnector.shoset.peers import Peer

Context = TypeVar("Context")
_TIMED_OUT, _BUSY = Reason.TIMED_OUT, Reason.BUSY
"""A member of an enumeration costs as much as ten names (CPython 3.11)."""


@dataclass(slots=True, eq=False)
class Dispatch(Generic[Context]):
    """One message under way, and what its role needs to answer for it."""

    key: str
    message: Message
    serial: SerialTry[Peer]
    context: Context
    at: Peer | None = None
    """Where it has a place."""


@dataclass(slots=True)
class Ending:
    """How a dispatch ended: the verdict, the answer that decided it, or the last reason heard."""

    verdict: Verdict
    answer: Message | None
    reason: Reason
    detail: str


class SendOver(Protocol):
    """How a role sends a message to a peer: `Shoset.send`."""

    def __call__(
        self, peer: Peer, messages: Sequence[Message], now: Instant, refused: Then | None = None
    ) -> Actions: ...


class Places(Protocol):
    """How many messages each route has under way, and whether it takes one more."""

    def take(self, peer: Peer, message: Message) -> None:
        """It is tried at this route now: it was `free`."""

    def leave(self, peer: Peer, message: Message) -> None:
        """It no longer is."""

    def free(self, peer: Peer, message: Message) -> bool:
        """Whether it may be tried at this route."""

    def busy(self, peer: Peer, now: Instant) -> None:
        """A route said BUSY of what has just left it."""


class Dispatches(Generic[Context]):
    """Tries under way, bounded by `limit`.

    Invariant: every dispatch in the table, and no other, has a current route, a place there, and an alarm at
    the end of that route's share. (Not while it moves on: `_advance` is about to see to that.)
    """

    def __init__(
        self,
        limit: int,
        rng: random.Random,
        send: SendOver,
        ended: Callable[[Dispatch[Context], Ending, Instant], Actions],
        places: Places | None = None,
        agenda: Agenda | None = None,
    ) -> None:
        """`agenda` is told when shares end. Without `places` there is no bound but `limit`."""
        self._places = places
        self._limit = limit
        self._burst: Burst[Peer] = Burst(rng)
        self._send = send
        self._ended = ended
        self._table: dict[str, Dispatch[Context]] = {}
        self._ends: Alarms[str] = Alarms(agenda)

    def __len__(self) -> int:
        return len(self._table)

    def get(self, key: str) -> Dispatch[Context] | None:
        """The dispatch under way for a uuid."""
        return self._table.get(key)

    def all(self) -> list[Dispatch[Context]]:
        """Every dispatch under way."""
        return list(self._table.values())

    @property
    def full(self) -> bool:
        return len(self._table) >= self._limit

    def start(
        self,
        key: str,
        message: Message,
        routes: Sequence[Peer],
        budget: float,
        context: Context,
        now: Instant,
        *,
        first: Peer | None = None,
        without_routes: Reason = _TIMED_OUT,
    ) -> Actions:
        """Begin a try over routes within `budget` seconds; one of the same key is superseded."""
        mono = now.mono
        serial = SerialTry.over(self._burst.order(routes, mono), budget, mono, first)
        if not routes:
            serial.last_reason = without_routes
            serial.last_detail = "no live session"
        dispatch = Dispatch(key, message, serial, context)
        superseded = self._table.get(key)
        if superseded is not None:
            self._leave(superseded)
        self._table[key] = dispatch
        return self._advance(dispatch, now)

    def settle(self, key: str, verdict: Verdict, answer: Message, now: Instant) -> Actions:
        """Something definite was heard, over whatever route: the try is over."""
        dispatch = self._table.pop(key, None)
        if dispatch is None:
            return []
        self._ends.cancel(key)
        if self._places is not None:
            self._leave(dispatch)
        reason, detail = dispatch.serial.last_reason, answer.header.get("detail", "")
        return self._ended(dispatch, Ending(verdict, answer, reason, detail), now)

    def decline(self, key: str, peer: Peer, reason: Reason, detail: str, now: Instant) -> Actions:
        """A route said for certain that it did not hand the message on."""
        dispatch = self._table.get(key)
        return [] if dispatch is None else self._declined(dispatch, peer, reason, detail, now)

    def lost(self, peer: Peer, now: Instant) -> Actions:
        """A session ended: what was waiting on it moves on."""
        moving = [d for d in self._table.values() if d.serial.lost(peer)]
        for dispatch in moving:
            self._leave(dispatch)
        actions: Actions = []
        for dispatch in moving:
            if self._table.get(dispatch.key) is dispatch:  # else the end of one before has superseded it
                actions += self._advance(dispatch, now)
        return actions

    def tick(self, now: Instant) -> Actions:
        """Move on from every route whose share is over."""
        actions: Actions = []
        while (key := self._ends.pop(now.mono)) is not None:
            dispatch = self._table[key]
            dispatch.serial.due(now.mono)  # it is: the route is in doubt from now on
            self._leave(dispatch)
            actions += self._advance(dispatch, now)
        return actions

    def deadline(self) -> float | None:
        """When the next share ends."""
        return self._ends.deadline()

    def _leave(self, dispatch: Dispatch[Context]) -> None:
        if self._places is not None and dispatch.at is not None:
            self._places.leave(dispatch.at, dispatch.message)
            dispatch.at = None

    def _declined(
        self, dispatch: Dispatch[Context], route: Peer, reason: Reason, detail: str, now: Instant
    ) -> Actions:
        if not dispatch.serial.declined(route, reason, detail):
            return []
        self._leave(dispatch)
        if self._places is not None and reason is _BUSY:
            self._places.busy(route, now)
        return self._advance(dispatch, now)

    def _advance(self, dispatch: Dispatch[Context], now: Instant) -> Actions:
        serial, message, places, mono = dispatch.serial, dispatch.message, self._places, now.mono
        route = serial.next(mono) if places is None else serial.next(mono, _free(places, message))
        if route is None:
            self._table.pop(dispatch.key, None)
            self._ends.cancel(dispatch.key)
            ending = Ending(serial.exhausted, None, serial.last_reason, serial.last_detail)
            return self._ended(dispatch, ending, now)
        if places is not None:
            places.take(route, message)
            dispatch.at = route
        ends = serial.current_ends
        self._ends.set(dispatch.key, ends)
        left = int((ends - mono) * 1000)
        header = {**message.header, "budget": left if left > 0 else 1}
        copy = Message(message.kind, header, message.payload, message.flags)

        def not_taken(later: Instant) -> Actions:
            if self._table.get(dispatch.key) is not dispatch:
                return []
            return self._declined(dispatch, route, _BUSY, f"{route} took no message", later)

        return self._send(route, (copy,), now, not_taken)


def _free(places: Places, message: Message) -> Callable[[Peer], bool]:
    return lambda peer: places.free(peer, message)
