"""The network: connections between DEALERs and ROUTERs as ZeroMQ over TCP behaves.

| what happens | what the ends see |
|---|---|
| a transmission | arrives after a delay, in order within its direction of the connection |
| the way is blocked (partition, clog) | it waits, and goes on in order when the way is free again |
| a direction holds HIGH_WATER transmissions | the next one is refused |
| a connection is cut | what is under way is lost; each end notices after a while, or by silence only |
| the DEALER's end has gone | the ROUTER's send says "no route" |
| the process at the other end is frozen | its backlog fills, then sends are refused |

A connection is never resumed: loss is final, as with RECONNECT_IVL=-1.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Protocol

from tests.simulation.scheduler import MS, Scheduler

HIGH_WATER = 2_048
HANDSHAKE = 2_000 * MS
"""A handshake that stalls is given up after so long."""
BASE_DELAY, JITTER = 150, 400
"""Microseconds one transmission takes: at least, and at most more."""


class Endpoint(Protocol):
    """What the network needs of a process."""

    node: str
    """Name of the machine; ways are blocked between machines."""
    key: str
    alive: bool
    frozen: bool

    def arrived(self, pipe: Pipe, frames: list[bytes]) -> None: ...

    def opened(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection, why: str) -> None: ...


@dataclass(slots=True, eq=False)
class Pipe:
    """One direction of a connection.

    Invariant: `held` counts what was taken from the sender and not read by the receiver.
    """

    connection: Connection
    source: Endpoint
    target: Endpoint
    link: int | bytes
    """What the receiver calls the connection."""
    way: tuple[str, str]
    held: int = 0
    last: int = 0
    """Arrival of the transmission before: order is kept."""
    ends: int = -1
    """What would arrive later than this is lost; -1: nothing is."""
    waiting: deque[list[bytes]] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Connection:
    """A DEALER's connection to a ROUTER."""

    dealer: Endpoint
    router: Endpoint | None
    link: int
    routing: bytes = b""
    up: Pipe | None = None
    down: Pipe | None = None
    dealer_open: bool = True
    """The DEALER's socket exists, and has not noticed a loss."""
    router_open: bool = False
    """The ROUTER has a pipe for it."""


class Network:
    """All connections, and what is wrong with the ways between machines."""

    def __init__(self, scheduler: Scheduler, rng: random.Random) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._random = rng.random
        self._listening: dict[str, Endpoint] = {}
        self._routing = 0
        self._pipes: dict[tuple[str, str], dict[Pipe, None]] = {}
        self.connections: dict[Connection, None] = {}
        self.blocked: Counter[tuple[str, str]] = Counter()
        """How many faults block the way from one machine to another."""
        self.slow: dict[str, int] = {}
        """Machines whose connections take up to so many microseconds to be made."""
        self.jitter = JITTER
        self.duplicates = 0.0
        """Share of the transmissions that arrive twice."""
        self.transmissions = 0
        self.messages = 0
        self.refused = 0
        """Transmissions that were not taken: no route, or no room."""

    # ---- sockets

    def listen(self, endpoint: str, process: Endpoint, *, unless_taken: bool = False) -> None:
        taken = self._listening.get(endpoint)
        if not unless_taken or taken is None or not taken.alive:
            self._listening[endpoint] = process

    def open(self, process: Endpoint, link: int, endpoint: str, server_key: str) -> Connection:
        """A DEALER begins to connect; `opened` or `lost` follows."""
        connection = Connection(process, None, link)
        delay = 300 + int(self._rng.random() * 1_500)
        slow = self.slow.get(process.node)
        if slow:
            delay += int(self._rng.random() * slow)
        self._scheduler.after(delay, self._connect, connection, endpoint, server_key)
        return connection

    def _connect(self, connection: Connection, endpoint: str, server_key: str) -> None:
        dealer = connection.dealer
        if not connection.dealer_open or not dealer.alive:
            return
        router = self._listening.get(endpoint)
        if router is None or not router.alive:
            self._lose_dealer(connection, "connection refused")
            return
        ways = (dealer.node, router.node), (router.node, dealer.node)
        if self.blocked[ways[0]] or self.blocked[ways[1]] or router.frozen:
            self._scheduler.after(HANDSHAKE, self._lose_dealer, connection, "handshake timed out")
            return
        if router.key != server_key:
            self._lose_dealer(connection, "handshake failed: another key than expected")
            return
        self._routing += 1
        connection.router = router
        connection.routing = b"\0" + self._routing.to_bytes(4, "big")
        connection.router_open = True
        connection.up = Pipe(connection, dealer, router, connection.routing, ways[0])
        connection.down = Pipe(connection, router, dealer, connection.link, ways[1])
        self.connections[connection] = None
        for pipe in (connection.up, connection.down):
            self._pipes.setdefault(pipe.way, {})[pipe] = None
        dealer.opened(connection)

    def close(self, connection: Connection) -> None:
        """The DEALER closes its end at once: what had not left is lost, the ROUTER's end follows."""
        if not connection.dealer_open:
            return
        connection.dealer_open = False
        self._end(connection, by_dealer=True)

    # ---- transmissions

    def send_up(self, connection: Connection | None, frames: list[bytes]) -> bool:
        """The DEALER sends; False: it is closed, or has no room."""
        return self.send(connection.up if connection is not None and connection.dealer_open else None, frames)

    def send_down(self, connection: Connection | None, frames: list[bytes]) -> bool:
        """The ROUTER sends; False: no route, or no room."""
        return self.send(
            connection.down if connection is not None and connection.router_open else None, frames
        )

    def send(self, pipe: Pipe | None, frames: list[bytes]) -> bool:
        """One end sends; False: there is no route (None), or no room."""
        if pipe is None or pipe.held >= HIGH_WATER:
            self.refused += 1
            return False
        pipe.held += 1
        self.transmissions += 1
        self.messages += 1 if len(frames) == 3 else len(frames) // 3
        if pipe.waiting or (self.blocked and self.blocked.get(pipe.way)):
            pipe.waiting.append(frames)
            return True
        scheduler = self._scheduler  # from here on as `_carry`, without a call
        arrival = scheduler.now + BASE_DELAY + int(self._random() * self.jitter)
        if arrival <= pipe.last:
            arrival = pipe.last + 1
        pipe.last = arrival
        scheduler.at(arrival, self._arrive, pipe, frames)
        if self.duplicates and self._random() < self.duplicates:
            pipe.held += 1
            self._carry(pipe, frames)
        return True

    def _carry(self, pipe: Pipe, frames: list[bytes]) -> None:
        scheduler = self._scheduler
        arrival = scheduler.now + BASE_DELAY + int(self._random() * self.jitter)
        if arrival <= pipe.last:
            arrival = pipe.last + 1
        pipe.last = arrival
        scheduler.at(arrival, self._arrive, pipe, frames)

    def _arrive(self, pipe: Pipe, frames: list[bytes]) -> None:
        if 0 <= pipe.ends < self._scheduler.now:
            pipe.held -= 1
            return
        pipe.target.arrived(pipe, frames)

    # ---- what goes wrong

    def block(self, way: tuple[str, str]) -> None:
        self.blocked[way] += 1

    def unblock(self, way: tuple[str, str]) -> None:
        """One fault less; when the way is free, what waited goes on."""
        self.blocked[way] -= 1
        if self.blocked[way]:
            return
        for pipe in list(self._pipes.get(way, ())):
            waiting, pipe.waiting = pipe.waiting, deque()
            for frames in waiting:
                self._carry(pipe, frames)
            self._tell_late(pipe)

    def _tell_late(self, pipe: Pipe) -> None:
        """The news that the sending end has closed waited with the rest."""
        connection = pipe.connection
        when = max(pipe.last, self._scheduler.now) + self._detection()
        if pipe is connection.up and not connection.dealer_open and connection.router_open:
            self._scheduler.at(when, self._lose_router, connection)
        elif pipe is connection.down and not connection.router_open and connection.dealer_open:
            self._scheduler.at(when, self._lose_dealer, connection, "connection closed")

    def cut(self, connection: Connection, *, noticed: bool) -> None:
        """Break a connection: all under way is lost; `noticed`: both ends are told soon (RST), else never."""
        if connection.router is None:
            return
        for pipe in (connection.up, connection.down):
            if pipe is not None:
                pipe.ends = self._scheduler.now
                pipe.held -= len(pipe.waiting)
                pipe.waiting.clear()
        if noticed:
            self._scheduler.after(self._detection(), self._lose_dealer, connection, "connection lost")
            self._scheduler.after(self._detection(), self._lose_router, connection)

    def ended(self, process: Endpoint, *, lingers: bool) -> None:
        """A process is gone: its kernel closes its connections.

        `lingers`: all it had handed to its sockets leaves; else only what left by chance.
        """
        for endpoint in [e for e, p in self._listening.items() if p is process]:
            del self._listening[endpoint]
        for connection in list(self.connections):
            if process is connection.dealer and connection.dealer_open:
                connection.dealer_open = False
                self._end(connection, by_dealer=True, lingers=lingers)
            elif process is connection.router and connection.router_open:
                connection.router_open = False
                self._end(connection, by_dealer=False, lingers=lingers)

    def _end(self, connection: Connection, *, by_dealer: bool, lingers: bool = False) -> None:
        """One end has closed: its last words, then the news, if the way is free."""
        pipe = connection.up if by_dealer else connection.down
        if pipe is None:
            return
        now = self._scheduler.now
        last = max(pipe.last, now)
        if not lingers:
            last = now + int(self._rng.random() * (last - now + 1))
            pipe.ends = last
            pipe.held -= len(pipe.waiting)
            pipe.waiting.clear()
        back = connection.down if by_dealer else connection.up
        if back is not None:
            back.ends = now
        if self.blocked[pipe.way]:
            return  # the other end finds out by silence
        lose = self._lose_router if by_dealer else self._lose_dealer
        why = () if by_dealer else ("connection closed",)
        self._scheduler.at(last + self._detection(), lose, connection, *why)

    def _detection(self) -> int:
        return 200 + int(self._rng.random() * 3_000)

    def _lose_dealer(self, connection: Connection, why: str) -> None:
        if not connection.dealer_open:
            return
        connection.dealer_open = False
        connection.router_open = False
        self._forget(connection)
        connection.dealer.lost(connection, why)

    def _lose_router(self, connection: Connection) -> None:
        connection.router_open = False
        if not connection.dealer_open:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        for pipe in (connection.up, connection.down):
            if pipe is not None:
                self._pipes.get(pipe.way, {}).pop(pipe, None)

    def fullest(self) -> int:
        """The most transmissions that any direction holds."""
        return max((p.held for pipes in self._pipes.values() for p in pipes), default=0)
