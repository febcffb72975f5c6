"""An aggregator's core with the members above and the connectors below played by the test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.agendas import hold_core
from tests.support.transcript import START, at, frames_of, of
from zconnector.actions import Actions, Link, Transmit
from zconnector.aggregator.machine import AggregatorMachine
from zconnector.messages.codec import decode, encode_one
from zconnector.messages.kinds import VERSION, Flag, Kind
from zconnector.messages.message import Message
from zconnector.settings import AggregatorSettings, SessionSettings
from zconnector.shoset.identity import Identity
from zconnector.shoset.uplinks import Target

ME = Identity("aggregator", "t1", "agg1", "a", "boot-agg", secret=b"agg-secret", endpoint="tcp://a")

Said = tuple[str, Message]
"""To whom, and what."""


class Aggregator:
    """Members `m1`, `m2`, ... are live; connectors come with `join`."""

    def __init__(
        self, members: int = 2, *, max_in_flight: int = 1000, credit: int = 1000, seed: int = 1
    ) -> None:
        self.now = START
        self.credit = credit
        settings = AggregatorSettings(
            state_dir=Path("/nowhere"),
            max_in_flight=max_in_flight,
            session=replace(SessionSettings(), dead_after=10_000.0),
        )
        self.targets = [Target(str(n), f"tcp://m{n}", f"key-m{n}") for n in range(1, members + 1)]
        self.machine = AggregatorMachine(ME, self.targets, settings, random.Random(seed))
        self.router = self.machine.router
        self.links: dict[str, Link] = {}
        self.machine.start(self.now)
        self.log: list[Said] = []
        """All that was said since the last `clear`."""
        for number in range(1, members + 1):
            self.member_up(f"m{number}", number)
        self.clear()

    def clear(self) -> None:
        self.log.clear()

    def read(self, actions: Actions) -> Actions:
        """Note down what is said, through the codec."""
        hold_core(self.machine)
        names = {link: name for name, link in self.links.items()}
        for transmit in of(actions, Transmit):
            for message in transmit.messages:
                (decoded,) = decode(encode_one(message))
                self.log.append((names.get(transmit.link, str(transmit.link)), decoded))
        return actions

    # ---- who is there

    def member_up(self, name: str, link: int) -> None:
        self.links[name] = link
        (transmit,) = of(self.read(self.machine.link_opened(link, self.now)), Transmit)
        header = {
            "boot": f"boot-{name}",
            "name": "cluster",
            "instance": name,
            "session": transmit.messages[0].text("session"),
            "validated": True,
            "credit": self.credit,
            "heartbeat": 750,
        }
        self.hear(name, Message(Kind.WELCOME, header))

    def member_down(self, name: str) -> Actions:
        link = self.links.pop(name)
        assert isinstance(link, int)
        return self.read(self.machine.link_lost(link, "gone", self.now))

    def greet(self, name: str, type_: str = "Git", link: bytes | None = None, **fields: Any) -> Actions:
        """A connector says HELLO and shows its secret."""
        self.links[name] = link or name.encode()
        header = {
            "versions": [VERSION],
            "kind": "connector",
            "tenant": "t1",
            "name": name,
            "instance": "0",
            "boot": f"boot-{name}"[:64],
            "session": "s1",
            "credit": self.credit,
            "type": type_,
            **fields,
        }
        uuid = f"secret-of-{name}"[:64]
        secret = Message(Kind.SECRET, {"uuid": uuid, "command": "VALIDATE"}, b"its secret")
        return self.hear(name, Message(Kind.HELLO, header), secret)

    def join(
        self, name: str, type_: str = "Git", *, permissions: Sequence[str] = ("*",), **fields: Any
    ) -> None:
        """A connector gets a live session."""
        self.clear()
        self.greet(name, type_, **fields)
        ((member, question),) = [s for s in self.log if s[1].kind is Kind.SECRET]
        self.hear(member, verdict(question, valid=True, permissions=list(permissions)))
        assert self.said_to(name)[-1].header["validated"] is True
        self.clear()

    # ---- what happens

    def hear(self, name: str, *batch: Message) -> Actions:
        frames = frames_of(*batch)
        return self.read(self.machine.frames(self.links[name], f"key-{name}"[:64], frames, self.now))

    def wait(self, seconds: float) -> Actions:
        """Let time pass, from deadline to deadline."""
        end = at(self.now.mono - START.mono + seconds)
        actions: Actions = []
        while (due := self.machine.deadline()) is not None and due <= end.mono:
            self.now = at(max(due, self.now.mono) - START.mono)
            actions += self.read(self.machine.tick(self.now))
        self.now = end
        return actions

    # ---- what was said

    def said_to(self, name: str) -> list[Message]:
        return [message for to, message in self.log if to == name]

    def said(self) -> list[Said]:
        """Everything but beats."""
        return [(to, message) for to, message in self.log if message.kind is not Kind.HEARTBEAT]


def verdict(question: Message, *, valid: bool, **fields: Any) -> Message:
    """A member's answer about a secret."""
    header = {"reference": question.uuid, "valid": valid, **fields}
    return Message(Kind.SECRET, header, flags=Flag.ANSWER)


def command(uuid: str = "c1", **fields: Any) -> Message:
    header = {
        "uuid": uuid,
        "type": "Ci",
        "command": "BUILD",
        "major": 1,
        "timeout": 4000,
        "accept_until": 9,
        "budget": 2000,
        **fields,
    }
    return Message(Kind.COMMAND, header, b"payload")


def event(uuid: str = "e1", **fields: Any) -> Message:
    return Message(Kind.EVENT, {"uuid": uuid, "topic": "T", "event": "E", **fields}, b"payload")


def two() -> Aggregator:
    """Two members, two connectors."""
    agg = Aggregator(2)
    agg.join("git", "Git")
    agg.join("ci", "Ci")
    return agg


def only(said: list[Said]) -> Said:
    (one,) = said
    return one


def members(said: list[Said]) -> list[str]:
    return [to for to, _ in said if to.startswith("m")]


def presence(agg: Aggregator, member: str) -> list[tuple[int, list[str], list[str]]]:
    return [
        (m.number("number"), m.header["entries"], m.header.get("down", []))
        for m in agg.said_to(member)
        if m.kind is Kind.PRESENCE
    ]


def beat(**fields: Any) -> Message:
    return Message(Kind.HEARTBEAT, {"received": 0, **fields})


UPWARD = [
    Message(Kind.CONFIRM, {"entries": [["e1", 0]], "recipient": "ci"}),
    Message(Kind.FETCH, {"uuid": "f1", "after": 0, "upto": 9}),
    Message(Kind.JOURNAL, {"uuid": "j1", "entries": [{"uuid": "c1", "kind": "COMMAND", "size": 2}]}, b"{}"),
    Message(Kind.CONFIG, {"uuid": "k1", "command": "GET"}),
    Message(Kind.CONFIGURATION, {"uuid": "k1", "command": "SAVE"}, b"{}"),
]
