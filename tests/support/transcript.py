"""Transcripts of a pure core: what comes in, what must go out. No sockets, no clock but the test's own.

`Net` wires several cores back to back: it performs Open, Close and Transmit over virtual links, in order,
through the real codec; everything else that a core asks for is kept in `Net.asked` for the test to look at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from tests.support.agendas import hold_core
from zconnector.actions import Action, Actions, Close, Link, Open, Transmit
from zconnector.clock import Instant
from zconnector.errors import Refusal
from zconnector.messages.codec import decode, encode
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.peers import Peer

START = Instant(1000.0, 1_700_000_000_000)
"""When every transcript begins."""

A = TypeVar("A", bound=Action)


def at(seconds: float) -> Instant:
    """So many seconds after the start."""
    return Instant(START.mono + seconds, START.wall + int(seconds * 1000))


def of(actions: Iterable[Action], kind: type[A]) -> list[A]:
    """The actions of one type."""
    return [action for action in actions if isinstance(action, kind)]


def sent(actions: Iterable[Action], link: Link | None = None) -> list[Message]:
    """The messages handed to one link, or to any."""
    return [m for t in of(actions, Transmit) if link is None or t.link == link for m in t.messages]


def kinds(messages: Iterable[Message]) -> list[Kind]:
    return [message.kind for message in messages]


def frames_of(*messages: Message) -> list[bytes]:
    """The messages as one transmission."""
    return [frame for frames in encode(messages) for frame in frames]


@dataclass
class Recorder:
    """A role that keeps what it hears, and does what the test tells it to."""

    heard: list[tuple[Any, ...]] = field(default_factory=list)
    admits: Callable[[Message, str], Refusal | None] = lambda hello, key: None
    on_secret: Callable[[Peer, Message, Instant], Actions] = lambda peer, message, now: []
    on_received: Callable[[Peer, Message, Instant], Actions] = lambda peer, message, now: []
    beats: Mapping[str, Any] = field(default_factory=dict)
    nothing_new: bool = False
    """What it says of every beat."""

    def names(self) -> list[str]:
        return [str(entry[0]) for entry in self.heard]

    def received_messages(self) -> list[Message]:
        return [entry[2] for entry in self.heard if entry[0] == "received"]

    def admit(self, hello: Message, key: str, now: Instant) -> Refusal | None:
        return self.admits(hello, key)

    def secret(self, peer: Peer, message: Message, now: Instant) -> Actions:
        self.heard.append(("secret", peer, message))
        return self.on_secret(peer, message, now)

    def peer_up(self, peer: Peer, now: Instant) -> Actions:
        self.heard.append(("peer_up", peer))
        return []

    def peer_down(self, peer: Peer, why: str, now: Instant) -> Actions:
        self.heard.append(("peer_down", peer, why))
        return []

    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        self.heard.append(("received", peer, message))
        return self.on_received(peer, message, now)

    def room_again(self, peer: Peer, now: Instant) -> Actions:
        self.heard.append(("room_again", peer))
        return []

    def refused(self, peer: Peer, refusal: Refusal, now: Instant) -> Actions:
        self.heard.append(("refused", peer, refusal.reason))
        return []

    def beat(self, peer: Peer) -> Mapping[str, Any]:
        return {name: value for name, value in self.beats.items() if name != "instances"}

    def welcome(self, peer: Peer) -> Mapping[str, Any]:
        return self.beats

    def welcomed_again(self, peer: Peer, now: Instant) -> Actions:
        return []

    def heard_beat(self, peer: Peer, header: Mapping[str, Any], now: Instant) -> Actions | None:
        self.heard.append(("heard_beat", peer, dict(header)))
        return None if self.nothing_new else []


class Core(Protocol):
    """What a net needs of a core: a Shoset, or a whole machine."""

    def tick(self, now: Instant) -> Actions: ...

    def deadline(self) -> float | None: ...

    def link_opened(self, link: int, now: Instant) -> Actions: ...

    def link_lost(self, link: int, why: str, now: Instant) -> Actions: ...

    def frames(self, link: Link, key: str, frames: Sequence[bytes], now: Instant) -> Actions: ...


@dataclass(eq=False)
class Cable:
    """One connection: a DEALER's link number at the lower end, a routing id at the upper end."""

    lower: str
    upper: str
    link: int
    routing_id: bytes


@dataclass(eq=False)
class _Place:
    core: Core
    key: str
    inbox: deque[Callable[[], Actions]] = field(default_factory=deque)
    frozen: bool = False
    dead: bool = False


class Net:
    """Cores by name, cables between them, one clock."""

    def __init__(self) -> None:
        self.now = START
        self.asked: dict[str, list[Action]] = {}
        self.said: list[tuple[str, str, Message]] = []
        """Every message handed to a cable: from, to, what."""
        self._places: dict[str, _Place] = {}
        self._endpoints: dict[str, str] = {}
        self._cables: list[Cable] = []
        self._count = 0

    # ---- building

    def add(self, name: str, core: Core, *, endpoint: str = "") -> None:
        """A core under a name; its CURVE key is `key-NAME`. One that binds has an endpoint."""
        self._places[name] = _Place(core, f"key-{name}")
        self.asked[name] = []
        if endpoint:
            self._endpoints[endpoint] = name

    # ---- faults

    def freeze(self, name: str) -> None:
        """SIGSTOP: its inbox fills, its time stands still."""
        self._places[name].frozen = True

    def thaw(self, name: str) -> None:
        """SIGCONT: what is due comes first, then what has arrived meanwhile."""
        self._places[name].frozen = False
        self.do(name, self._places[name].core.tick(self.now))

    def kill(self, name: str) -> None:
        """SIGKILL: its ends of all cables are gone, and the other ends notice."""
        place = self._places[name]
        place.dead = True
        place.inbox.clear()
        for cable in [c for c in self._cables if name in (c.lower, c.upper)]:
            self._cables.remove(cable)
            if cable.upper == name:
                lower = self._places[cable.lower].core
                link = cable.link
                self._post(cable.lower, lambda c=lower, n=link: c.link_lost(n, "gone", self.now))  # type: ignore[misc]
        self.settle()

    # ---- running

    def do(self, name: str, actions: Actions) -> None:
        """Perform what a core asks for, and all that follows at this moment."""
        self._perform(name, actions)
        self.settle()

    def settle(self) -> None:
        """Deliver everything that is on its way."""
        moved = True
        while moved:
            moved = False
            for name, place in self._places.items():
                if place.inbox and not place.frozen and not place.dead:
                    self._perform(name, place.inbox.popleft()())
                    moved = True

    def run(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline.

        Raises:
            AssertionError: a core wants to be ticked again and again at the same moment.
        """
        end = at(self.now.mono - START.mono + seconds)
        self.settle()
        ticks = 0
        while True:
            awake = {n: p.core for n, p in self._places.items() if not p.frozen and not p.dead}
            dues = {name: due for name, core in awake.items() if (due := core.deadline()) is not None}
            soonest = min(dues.values(), default=end.mono)
            if soonest > end.mono:
                break
            ticks = ticks + 1 if soonest <= self.now.mono else 0
            assert ticks < 100, f"a deadline that its tick does not move: {dues}, now {self.now.mono}"
            self.now = at(max(soonest, self.now.mono) - START.mono)
            for name, due in dues.items():
                if due <= self.now.mono:
                    self.do(name, awake[name].tick(self.now))
            if not dues:
                break
        self.now = end

    def between(self, lower: str, upper: str) -> Cable:
        """The cable between two cores."""
        (cable,) = [c for c in self._cables if (c.lower, c.upper) == (lower, upper)]
        return cable

    def kinds(self, sender: str, receiver: str) -> list[Kind]:
        """Kinds of what one has sent to the other so far."""
        return [m.kind for one, other, m in self.said if (one, other) == (sender, receiver)]

    # ---- inside

    def _post(self, name: str, step: Callable[[], Actions]) -> None:
        if not self._places[name].dead:
            self._places[name].inbox.append(step)

    def _perform(self, name: str, actions: Actions) -> None:
        hold_core(self._places[name].core)
        todo = deque(actions)
        while todo:
            action = todo.popleft()
            if isinstance(action, Transmit):
                todo.extend(self._transmit(name, action))
            elif isinstance(action, Open):
                self._open(name, action)
            elif isinstance(action, Close):
                self._cables = [c for c in self._cables if (c.lower, c.link) != (name, action.link)]
            else:
                self.asked[name].append(action)

    def _open(self, name: str, action: Open) -> None:
        upper = self._endpoints.get(action.endpoint, "")
        core = self._places[name].core
        if not upper or self._places[upper].dead:
            self._post(name, lambda: core.link_lost(action.link, "refused", self.now))
            return
        self._count += 1
        self._cables.append(Cable(name, upper, action.link, b"r%d" % self._count))
        self._post(name, lambda: core.link_opened(action.link, self.now))

    def _transmit(self, name: str, action: Transmit) -> Actions:
        for cable in self._cables:
            if (cable.lower, cable.link) == (name, action.link):
                return self._carry(cable, name, cable.upper, cable.routing_id, action.messages)
            if (cable.upper, cable.routing_id) == (name, action.link):
                return self._carry(cable, name, cable.lower, cable.link, action.messages)
        return action.refused(self.now) if action.refused else []

    def _carry(self, cable: Cable, sender: str, to: str, link: Link, messages: Sequence[Message]) -> Actions:
        place, key = self._places[to], self._places[sender].key
        for frames in encode(messages):
            self.said += [(sender, to, message) for message in decode(frames)]

            def arrive(frames: list[bytes] = frames) -> Actions:
                return place.core.frames(link, key, frames, self.now) if cable in self._cables else []

            self._post(to, arrive)
        return []
