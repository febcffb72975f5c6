"""A session with one end played by the test: `Upper` bound, `Lower` connects; `Pair`: both are real."""

from __future__ import annotations

import random
from typing import Any

from tests.support.agendas import hold_core
from tests.support.samples import minimal
from tests.support.transcript import START, Net, Recorder, at, frames_of, sent
from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages.kinds import VERSION, Flag, Kind
from zconnector.messages.message import Message
from zconnector.settings import SessionSettings
from zconnector.shoset.identity import Identity
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset
from zconnector.shoset.uplinks import Target

SETTINGS = SessionSettings()
UPPER = Identity("aggregator", "t1", "agg1", "a", "boot-agg")
EVENT = Message(Kind.EVENT, {"uuid": "e", "topic": "t", "event": "e"})
BEAT = Message(Kind.HEARTBEAT, {"received": 0})
SECRET = Message(Kind.SECRET, {"uuid": "s", "command": "VALIDATE"}, b"secret")
GOAWAY = Message(Kind.GOAWAY, {"reason": Reason.DRAINING})
PASSWORD = b"the secret itself"
LOWER = Identity("connector", "t1", "git", "0", "boot-1", type="Git", secret=PASSWORD)
ONE = Target("a", "tcp://one", "key-one")
TWO = Target("b", "tcp://two", "key-two")


def hello(name: str = "git", boot: str = "boot-1", session: str = "s1", **fields: Any) -> Message:
    header = {
        "versions": [VERSION],
        "kind": "connector",
        "tenant": "t1",
        "name": name,
        "instance": "0",
        "boot": boot,
        "session": session,
        "credit": 8,
        **fields,
    }
    return Message(Kind.HELLO, header)


class Upper:
    """An aggregator's shoset and the connectors that the test plays, by routing id."""

    def __init__(self, settings: SessionSettings = SETTINGS, role: Recorder | None = None) -> None:
        self.role = role or Recorder()
        self.shoset = Shoset(UPPER, self.role, settings, random.Random(1))
        self.now = START

    def wait(self, seconds: float) -> Actions:
        hold_core(self.shoset)
        self.now = at(self.now.mono - START.mono + seconds)
        return self.shoset.tick(self.now)

    def hear(self, *batch: Message, link: bytes = b"r1", key: str = "key-git") -> Actions:
        hold_core(self.shoset)
        actions = self.shoset.frames(link, key, frames_of(*batch), self.now)
        hold_core(self.shoset)
        return actions

    def pending(self, link: bytes = b"r1", key: str = "key-git", **fields: Any) -> Peer:
        """A session that has said HELLO and SECRET."""
        self.hear(hello(**fields), SECRET, link=link, key=key)
        assert self.role.heard[-1][0] == "secret"
        peer: Peer = self.role.heard[-1][1]
        return peer

    def live(self, link: bytes = b"r1", key: str = "key-git", **fields: Any) -> Peer:
        peer = self.pending(link, key, **fields)
        self.shoset.validate(peer, self.now)
        assert self.shoset.is_live(peer)
        return peer

    def sessions(self) -> list[tuple[str, str]]:
        return [(s["name"], s["state"]) for s in self.shoset.status()["down"]]


def reasons(actions: Actions) -> list[str]:
    return [m.text("reason") for m in sent(actions) if m.kind is Kind.ERROR]


def every_kind() -> list[Message]:
    return [minimal(kind) for kind in Kind if kind not in (Kind.HELLO,)]


class Lower:
    """A connector's shoset and the aggregator that the test plays."""

    def __init__(
        self, *targets: Target, seed: int = 1, role: Recorder | None = None, begin: Instant = START
    ) -> None:
        self.role = role or Recorder()
        self.shoset = Shoset(LOWER, self.role, SETTINGS, random.Random(seed))
        self.now = begin
        self.first = self.shoset.aim(targets or (ONE,), begin)

    def wait(self, seconds: float) -> Actions:
        hold_core(self.shoset)
        self.now = at(self.now.mono - START.mono + seconds)
        return self.shoset.tick(self.now)

    def open(self, link: int = 1) -> list[Message]:
        """The handshake is done; returns what is said first."""
        hold_core(self.shoset)
        actions = self.shoset.link_opened(link, self.now)
        hold_core(self.shoset)
        return sent(actions, link)

    def hear(self, *messages: Message, link: int = 1, key: str = "key-one") -> Actions:
        hold_core(self.shoset)
        actions = self.shoset.frames(link, key, frames_of(*messages), self.now)
        hold_core(self.shoset)
        return actions

    def state(self, number: int = 0) -> str:
        return str(self.shoset.status()["up"][number]["state"])

    def reach(self, state: str, link: int = 1) -> Actions:
        """Bring a fresh shoset into a state of the table; returns the last actions."""
        if state == "OPENING":
            return self.first
        session = self.open(link)[0].text("session")
        actions: Actions = []
        if state != "GREETING":
            actions = self.hear(welcome(session, validated=False), link=link)
        if state == "LIVE":
            actions = self.hear(welcome(session, validated=True), link=link)
        assert self.state() == state
        return actions


def welcome(session: str, *, validated: bool, **fields: Any) -> Message:
    header = {
        "boot": "their-boot",
        "name": "agg1",
        "instance": "a",
        "session": session,
        "validated": validated,
        "credit": 10,
        "heartbeat": 750,
        **fields,
    }
    return Message(Kind.WELCOME, header)


def error(reason: Reason, **fields: Any) -> Message:
    return Message(Kind.ERROR, {"reason": reason, "detail": "why", **fields})


def secret_refused(reason: Reason = Reason.WRONG_SECRET) -> Message:
    return Message(
        Kind.SECRET, {"reference": "u", "valid": False, "reason": reason, "detail": "no"}, flags=Flag.ANSWER
    )


REPLACED = Message(Kind.REPLACED, {"reason": Reason.REPLACED})


class Pair:
    """A connector's shoset and an aggregator's, on one virtual net; the aggregator believes every secret."""

    def __init__(self, lower: SessionSettings = SETTINGS, upper: SessionSettings = SETTINGS) -> None:
        self.net = Net()
        self.lower_role, self.upper_role = Recorder(), Recorder()
        me = Identity("connector", "t1", "git", "0", "boot-1", secret=b"s")
        self.lower = Shoset(me, self.lower_role, lower, random.Random(1))
        self.upper = Shoset(UPPER, self.upper_role, upper, random.Random(2))
        self.upper_role.on_secret = lambda peer, message, now: self.upper.validate(peer, now)
        self.net.add("lower", self.lower)
        self.net.add("upper", self.upper, endpoint="tcp://upper")
        self.net.do("lower", self.lower.aim([Target("a", "tcp://upper", "key-upper")], self.net.now))

    def ends(self) -> tuple[Peer, Peer]:
        """The aggregator as the connector sees it, and the other way round."""
        (above,), (below,) = self.lower.peers(), self.upper.peers()
        return above, below
