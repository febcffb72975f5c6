"""A connector's core over a memory store; the test plays the instances above and the workers below.

The disk is in the test's hand: with `held` commits wait in `pending`, with `full` they fail.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from tests.support.agendas import hold_core
from tests.support.transcript import START, at, frames_of
from zconnector.actions import (
    Actions,
    Caller,
    Close,
    Commit,
    Note,
    Open,
    Reach,
    Respond,
    Serve,
    Stop,
    Transmit,
)
from zconnector.clock import Instant
from zconnector.connector.machine import ConnectorMachine
from zconnector.errors import Refusal, StorageError
from zconnector.messages.codec import decode, encode_one
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message
from zconnector.queue.local import LocalQueue
from zconnector.queue.memory import MemoryQueueStore
from zconnector.queue.store import scan_all
from zconnector.settings import ConnectorSettings, QueueSettings, SessionSettings
from zconnector.shoset.identity import Identity
from zconnector.shoset.uplinks import Target

INSTANCES = ("a", "b", "c")

PIVOTS: dict[str, Any] = {
    "pivots": [
        {
            "name": "Git",
            "major": 1,
            "minor": 0,
            "commandtypes": [
                {"name": "CLONE", "schema": {"type": "object", "required": ["url"]}},
                {"name": "PULL"},
            ],
        }
    ],
    "products": [],
}
CONFIGURATION: dict[str, Any] = {"version": 3, "values": {"colour": "blue"}}


class Connector:
    """`git` of type Git in tenant t1. `up` brings sessions up, `ready` all that serving needs."""

    def __init__(
        self,
        instances: Sequence[str] = INSTANCES,
        *,
        strict: bool = True,
        queue: QueueSettings | None = None,
        store: MemoryQueueStore | None = None,
        boot: str = "boot-1",
        credit: int = 1000,
        seed: int = 1,
        now: Instant = START,
    ) -> None:
        self.now = now
        self.credit = credit
        self.store = store or MemoryQueueStore()
        self.held = False
        self.full = False
        self.pending: deque[Commit] = deque()
        self.log: list[tuple[str, Message]] = []
        """What was said to whom, since the last `clear`."""
        self.trace: list[str] = []
        """Everything in its order: `sent EVENT a`, `commit`, `respond 3`, `reach POINT`, `serve`, `stop`."""
        self.responses: dict[int, Respond] = {}
        self.notes: list[Note] = []
        self.served = 0
        self.stopped: Stop | None = None
        self.links: dict[str, int] = {}
        self._opened: dict[str, int] = {}
        self._calls = itertools.count(1)
        self.settings = ConnectorSettings(
            state_dir=Path("/nowhere"),
            strict=strict,
            queue=queue or QueueSettings(),
            session=replace(SessionSettings(), dead_after=100_000.0),
        )
        rng = random.Random(seed)
        self.queue = LocalQueue(self.settings.queue, self.store, rng)
        self.queue.restore(scan_all(self.store), self.now)
        identity = Identity("connector", "t1", "git", "0", boot, type="Git", secret=b"the secret")
        self.targets = [Target(name, f"tcp://{name}", f"key-{name}") for name in instances]
        self.machine = ConnectorMachine(identity, self.targets, self.queue, self.settings, rng, self.now)
        self.router = self.machine.router
        self.do(self.machine.start(self.now))

    # ---- the shell

    def do(self, actions: Actions) -> None:
        hold_core(self.machine)
        todo = deque(actions)
        while todo or (self.pending and not self.held):
            if not todo:
                todo.extend(self._commit(self.pending.popleft()))
                hold_core(self.machine)
                continue
            self._one(todo.popleft())

    def _one(self, action: Any) -> None:
        match action:
            case Transmit():
                name = next((n for n, link in self._opened.items() if link == action.link), "nobody")
                for message in action.messages:
                    (decoded,) = decode(encode_one(message))
                    self.log.append((name, decoded))
                    self.trace.append(f"sent {message.kind.name} {name}")
            case Commit():
                self.pending.append(action)
            case Respond():
                assert action.caller.call not in self.responses, "answered twice"
                self.responses[action.caller.call] = action
                self.trace.append(f"respond {action.caller.call}")
            case Open():
                target = next(t for t in [*self.targets, *self._told()] if t.endpoint == action.endpoint)
                self._opened[target.instance] = action.link
                self.trace.append(f"open {action.endpoint}")
            case Close():
                self.trace.append(f"close {action.link!s}")
            case Reach():
                self.trace.append(f"reach {action.point}")
            case Serve():
                self.served += 1
                self.trace.append("serve")
            case Stop():
                assert self.stopped is None, "stopped twice"
                self.stopped = action
                self.trace.append("stop")
            case Note():
                self.notes.append(action)
            case other:
                raise AssertionError(f"a connector does not do {other}")

    def _commit(self, commit: Commit) -> Actions:
        try:
            if self.full:
                raise StorageError("disk full")
            results = self.store.commit(commit.writes)
        except StorageError as error:
            return commit.failed(self.now, error)
        if commit.writes:
            self.trace.append("commit")
        return commit.then(self.now, results)

    def settle(self) -> None:
        """The disk gets to work again, and performs what waits."""
        self.held = False
        self.do([])

    def wait(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline.

        Raises:
            AssertionError: a deadline that its tick does not move.
        """
        end = at(self.now.mono - START.mono + seconds)
        stuck = 0
        while (due := self.machine.deadline()) is not None and due <= end.mono:
            stuck = stuck + 1 if due <= self.now.mono else 0
            assert stuck < 50, "a deadline that its tick does not move"
            self.now = at(max(due, self.now.mono) - START.mono)
            self.do(self.machine.tick(self.now))
        self.now = end

    def restart(self, **changes: Any) -> Connector:
        """SIGKILL, and a new process on the same disk."""
        store = MemoryQueueStore(self.store.rows)
        return Connector(
            [t.instance for t in self.targets], store=store, now=self.now, boot="boot-2", **changes
        )

    def clear(self) -> None:
        self.log.clear()
        self.trace.clear()
        self.notes.clear()

    # ---- aggregator instances

    def up(self, *names: str, **welcome: Any) -> None:
        """Sessions with these instances come up (all of them, without names)."""
        for name in names or [t.instance for t in self.targets]:
            link = self._opened[name]
            self.links[name] = link
            before = len(self.log)
            self.do(self.machine.link_opened(link, self.now))
            hello = self.log[before][1]
            self.hear(name, self.welcome(name, hello.text("session"), **welcome))

    def welcome(self, name: str, session: str, **fields: Any) -> Message:
        header = {
            "boot": f"boot-{name}",
            "name": "agg1",
            "instance": name,
            "session": session,
            "validated": True,
            "credit": self.credit,
            "heartbeat": 750,
            "latest": 0,
            **fields,
        }
        return Message(Kind.WELCOME, header)

    def _told(self) -> list[Target]:
        kept = self.queue.recall("instances") or {}
        return [Target(i["instance"], i["endpoint"], i["key"]) for i in kept.get("instances", [])]

    def down(self, name: str, why: str = "gone") -> None:
        self.do(self.machine.link_lost(self.links.pop(name), why, self.now))

    def hear(self, name: str, *batch: Message) -> None:
        frames = frames_of(*batch)
        self.do(self.machine.frames(self._opened[name], f"key-{name}", frames, self.now))

    def answer_requests(self, *, pivots: Any = PIVOTS, configuration: Any = CONFIGURATION) -> None:
        """The cluster answers what it was asked."""
        payloads = {Kind.CONFIG: pivots, Kind.CONFIGURATION: configuration}
        for name, request in [s for s in self.log if s[1].kind in payloads and not s[1].is_answer]:
            self.hear(name, answer(request, payloads[request.kind]))

    def ready(self, *names: str, **welcome: Any) -> None:
        """Sessions, configuration and pivots: everything before SERVING."""
        self.up(*names, **welcome)
        self.answer_requests()
        assert self.served == 1
        self.clear()

    # ---- workers

    def call(self, op: str, payload: bytes = b"", *, client: bytes = b"w", **args: Any) -> int:
        """A call at the door; returns its number."""
        caller = Caller(client, next(self._calls))
        self.do(self.machine.call(caller, op, args, payload, self.now))
        return caller.call

    def cancel(self, call: int, client: bytes = b"w") -> None:
        self.do(self.machine.cancel(Caller(client, call), self.now))

    def result(self, call: int) -> dict[str, Any]:
        """What a call was answered; the test fails when it was refused, or not answered."""
        respond = self.responses[call]
        assert respond.error is None, respond.error
        return dict(respond.args)

    def refusal(self, call: int) -> Refusal:
        error = self.responses[call].error
        assert error is not None
        return error

    def answered(self, call: int) -> bool:
        return call in self.responses

    def iterator(self, kind: str) -> str:
        return str(self.result(self.call("create_iterator", kind=kind))["iterator"])

    def wait_command(self, name: str = "CLONE", *, worker: str = "w1", major: int = 0) -> int:
        iterator = self.iterator("command")
        return self.call("wait_command", iterator=iterator, command=name, major=major, worker=worker)

    def wait_event(
        self, topic: str, event: str | None = None, *, reference: str = "", worker: str = "w1"
    ) -> int:
        args: dict[str, Any] = {"iterator": self.iterator("event"), "topic": topic, "worker": worker}
        if event is not None:
            args["event"] = event
        return self.call("wait_event", reference=reference, **args)

    # ---- what was said

    def said(self, kind: Kind, name: str = "") -> list[Message]:
        """What was said of one kind, to one instance or to any."""
        return [m for to, m in self.log if m.kind is kind and name in ("", to)]

    def receipts(self) -> list[tuple[str, str, str]]:
        """Receipts sent: to which instance, event, reason."""
        return [(to, m.text("event"), m.text("reason")) for to, m in self.log if m.is_receipt]

    def steps(self) -> list[str]:
        """The trace without beats."""
        return [step for step in self.trace if not step.startswith("sent HEARTBEAT")]


def answer(request: Message, document: Any = None, **fields: Any) -> Message:
    """The cluster's answer to a request; with `reason` a refusal."""
    payload = b"" if document is None else orjson.dumps(document)
    return Message(request.kind, {"reference": request.uuid, **fields}, payload, Flag.ANSWER)


def command(uuid: str = "c1", name: str = "CLONE", payload: bytes = b'{"url":"x"}', **fields: Any) -> Message:
    """A command as it comes from an aggregator."""
    header = {
        "uuid": uuid,
        "type": "Git",
        "command": name,
        "major": 1,
        "timeout": 10_000,
        "accept_until": START.wall + 10_000,
        "source": "ci",
        "target": "git",
        "tenant": "t1",
        "budget": 1000,
        **fields,
    }
    return Message(Kind.COMMAND, header, payload)


def event(
    uuid: str = "e1", topic: str = "BUILDS", name: str = "DONE", payload: bytes = b"{}", **fields: Any
) -> Message:
    """An event as it comes from an aggregator."""
    header = {"uuid": uuid, "topic": topic, "event": name, "source": "ci", "tenant": "t1", **fields}
    return Message(Kind.EVENT, header, payload)
