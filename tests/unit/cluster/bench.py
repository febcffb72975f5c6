"""A member's core on a bench: real sessions, a store in memory, and a hand on every commit."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from zconnector.actions import Actions, Commit, Hash, Note, Reach, Stop, Transmit, Verify
from zconnector.clock import Instant
from zconnector.cluster.memory import MemoryStore
from zconnector.cluster.router import ClusterRouter
from zconnector.errors import Refusal, StorageError
from zconnector.messages.codec import encode
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message, receipt
from zconnector.settings import ClusterSettings
from zconnector.shoset.enrolment import Enrolment
from zconnector.shoset.identity import Identity

WALL = 1_700_000_000_000
KEY = "m" * 40
_QUIET = (Kind.HEARTBEAT, Kind.WELCOME)


class Bench:
    """Performs a router's actions on a virtual clock; `held` stops commits until `release`."""

    def __init__(self, store: MemoryStore | None = None, seed: int = 1, **settings: Any) -> None:
        self.store = store or MemoryStore()
        self.mono = 1000.0
        self.seed = seed
        self.settings = ClusterSettings(state_dir=Path("unused"), **settings)
        self.held = False
        self.failing = False
        self.ahead_ms = 0
        """Of the wall clock."""
        self.commits: list[Commit] = []
        self.sent: dict[bytes, list[Message]] = defaultdict(list)
        self.unreachable: set[bytes] = set()
        self.log: list[Any] = []
        """Everything that happened, in order: Reach points, commits, messages (link, message)."""
        self.notes: list[Note] = []
        self.verified = 0
        self.stopped = False
        self._secrets = 0
        self.instances: list[Instance] = []
        self.router = self.boot()

    def boot(self) -> ClusterRouter:
        """A fresh router over the same store: what a restart is."""
        identity = Identity("member", "", "cluster", "1", "boot-m", endpoint="tcp://m:1", server_key=KEY)
        self.commits.clear()
        self.sent.clear()
        self.router = ClusterRouter(
            identity, self.settings, self.store, random.Random(self.seed), self.secret
        )
        self.perform(self.router.start(self.now))
        return self.router

    def secret(self) -> str:
        self._secrets += 1
        return f"secret-{self._secrets}"

    @property
    def now(self) -> Instant:
        return Instant(self.mono, WALL + self.ahead_ms + int(self.mono * 1000))

    def perform(self, actions: Actions) -> None:
        for action in actions:
            match action:
                case Transmit():
                    self._transmit(action)
                case Commit():
                    self.commits.append(action)
                    if not self.held:
                        self.release()
                case Verify():
                    self.verified += 1
                    right = action.hashed == f"hash of {action.secret.decode()}"
                    self.perform(action.then(self.now, right))
                case Hash():
                    self.perform(action.then(self.now, f"hash of {action.secret.decode()}"))
                case Reach():
                    self.log.append(action.point)
                case Note():
                    self.notes.append(action)
                case Stop():
                    self.stopped = True

    def _transmit(self, action: Transmit) -> None:
        assert isinstance(action.link, bytes)
        if action.link in self.unreachable:
            if action.refused is not None:
                self.perform(action.refused(self.now))
            return
        encode(action.messages)
        for message in action.messages:
            if message.kind not in _QUIET:
                self.log.append((action.link, message))
            self.sent[action.link].append(message)

    def release(self) -> None:
        """Make every waiting commit durable (or fail it)."""
        waiting, self.commits = self.commits, []
        for commit in waiting:
            if self.failing:
                self.perform(commit.failed(self.now, StorageError("disk full")))
                continue
            results = self.store.commit(commit.writes)
            self.log.append("committed")
            self.perform(commit.then(self.now, results))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in steps, while every instance with a session beats."""
        while seconds > 1e-9:
            step = min(seconds, 0.5)
            seconds -= step
            self.mono += step
            self.perform(self.router.tick(self.now))
            live = self.live()
            for instance in self.instances:
                if f"{instance.tenant}/{instance.name}/{instance.instance}" in live:
                    instance.beat(0)

    def live(self) -> set[str]:
        """Instances with a validated session, as the member sees it."""
        sessions = self.router.status(self.now)["sessions"]["down"]
        return {f"{s['tenant']}/{s['name']}/{s['instance']}" for s in sessions if s["state"] == "LIVE"}

    def give(self, link: bytes, key: str, *messages: Message) -> None:
        """One transmission from a peer, as frames."""
        for frames in encode(messages):
            self.perform(self.router.frames(link, key, frames, self.now))

    def control(self, op: str, **args: Any) -> Any:
        """A control operation's outcome (raises its refusal); None while it waits."""
        replies: list[Mapping[str, Any] | Refusal] = []
        self.perform(self.router.control(op, args, self.now, replies.append))
        assert len(replies) <= 1
        outcome = replies[0] if replies else None
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    def declare(self, kind: str, tenant: str, name: str, instance: str = "0", **args: Any) -> str:
        """Declare a component; returns its secret."""
        if kind == "connector":
            args.setdefault("endpoints", [{"instance": "a", "endpoint": "tcp://a:1", "key": "k" * 40}])
        answer = self.control("secret_create", kind=kind, tenant=tenant, name=name, instance=instance, **args)
        return Enrolment.decode(answer["enrolment"]).secret

    def pivot(self, tenant: str, name: str, *commands: str, major: int = 1, minor: int = 0) -> None:
        document = {
            "name": name,
            "major": major,
            "minor": minor,
            "commandtypes": [{"name": command} for command in commands],
        }
        self.control("pivot_put", tenant=tenant, json=document)


class Instance:
    """One aggregator instance at the bench, with a session."""

    def __init__(
        self, bench: Bench, tenant: str, instance: str, *, name: str = "agg", secret: str = ""
    ) -> None:
        self.bench = bench
        self.tenant = tenant
        self.name = name
        self.instance = instance
        self.link = f"{tenant}/{name}/{instance}".encode()
        self.key = f"{tenant}{instance}".ljust(40, "k")
        self.secret = secret or bench.declare("aggregator", tenant, name, instance)
        self.boot = "boot-1"
        self._sessions = 0
        self._presence = 0
        bench.instances.append(self)

    def hello(self, **fields: Any) -> None:
        """Begin a session: HELLO and SECRET in one transmission."""
        self._sessions += 1
        header = {
            "versions": [1],
            "kind": "aggregator",
            "tenant": self.tenant,
            "name": self.name,
            "instance": self.instance,
            "boot": self.boot,
            "session": f"s{self._sessions}",
            "credit": 1024,
            "endpoint": f"tcp://{self.instance}:1",
            "server_key": self.key,
            **fields,
        }
        secret = Message(
            Kind.SECRET, {"uuid": f"{self.instance}-secret", "command": "VALIDATE"}, self.secret.encode()
        )
        self.give(Message(Kind.HELLO, header), secret)

    def begin(self, *names: str) -> Instance:
        """A session that reports these connectors."""
        self.hello()
        self.full(*names)
        self.take()
        return self

    def give(self, *messages: Message) -> None:
        self.bench.give(self.link, self.key, *messages)

    def full(self, *names: str) -> None:
        self._presence = 0
        self.give(Message(Kind.PRESENCE, {"number": 0, "entries": list(names)}))

    def delta(self, up: list[str], down: list[str], number: int | None = None) -> None:
        self._presence += 1
        wanted = self._presence if number is None else number
        self.give(Message(Kind.PRESENCE, {"number": wanted, "entries": up, "down": down}))

    def take(self, kind: Kind | None = None) -> list[Message]:
        """What has been sent to it since the last take (heartbeats and WELCOMEs only by kind)."""
        new = self.bench.sent.pop(self.link, [])
        if kind is None:
            return [message for message in new if message.kind not in _QUIET]
        return [message for message in new if message.kind is kind]

    def beat(self, received: int) -> None:
        self.give(Message(Kind.HEARTBEAT, {"received": received}))

    def drop(self) -> None:
        """The session ends by GOAWAY."""
        self.give(Message(Kind.GOAWAY, {"reason": "DRAINING"}))

    # ---- what connectors send through it

    def command(self, uuid: str, source: str, type_: str, command: str, **fields: Any) -> Message:
        header = {
            "uuid": uuid,
            "source": source,
            "type": type_,
            "command": command,
            "timeout": 3000,
            "budget": 3000,
            "accept_until": self.bench.now.wall + 3000,
            **fields,
        }
        payload = header.pop("payload", b"{}")
        message = Message(Kind.COMMAND, header, payload)
        self.give(message)
        return message

    def receipt(self, of: Message, event: str, source: str = "", **more: Any) -> None:
        self.give(receipt(of, event, source=source, **more))

    def event(
        self, uuid: str, source: str, topic: str = "T", event: str = "E", payload: bytes = b"x"
    ) -> None:
        self.give(self.event_message(uuid, source, topic, event, payload))

    @staticmethod
    def event_message(
        uuid: str, source: str, topic: str = "T", event: str = "E", payload: bytes = b"x"
    ) -> Message:
        header = {"uuid": uuid, "source": source, "topic": topic, "event": event}
        return Message(Kind.EVENT, header, payload)

    def reply(self, uuid: str, reference: str, source: str, recipient: str, event: str = "SUCCES") -> None:
        header = {
            "uuid": uuid,
            "reference": reference,
            "source": source,
            "recipient": recipient,
            "topic": "DO",
            "event": event,
        }
        self.give(Message(Kind.EVENT, header))

    def confirm(self, uuid: str, source: str, recipient: str) -> None:
        header = {"entries": [[uuid, 0]], "source": source, "recipient": recipient}
        self.give(Message(Kind.CONFIRM, header))

    def fetch(self, after: int, upto: int, source: str) -> None:
        self.give(Message(Kind.FETCH, {"uuid": "f1", "after": after, "upto": upto, "source": source}))

    def ask(self, kind: Kind, command: str, source: str, document: Any = None) -> Message:
        """A CONFIG or CONFIGURATION question; returns the answer (pushes stay aside)."""
        payload = b"" if document is None else orjson.dumps(document)
        self.take()
        self.give(Message(kind, {"uuid": "q1", "command": command, "source": source}, payload))
        return next(m for m in self.bench.sent[self.link] if m.kind is kind and m.flags & Flag.ANSWER)

    def ask_secret(
        self, name: str, secret: str, *, key: str = "", boot: str = "b1", type_: str = "Git"
    ) -> None:
        header = {
            "uuid": f"ask-{name}",
            "command": "VALIDATE",
            "kind": "connector",
            "name": name,
            "instance": "0",
            "type": type_,
            "boot": boot,
            "key": key or name.ljust(40, "c"),
        }
        self.give(Message(Kind.SECRET, header, secret.encode()))


def topology(
    tenant: str = "acme", instances: str = "ab", bench: Bench | None = None, **settings: Any
) -> tuple[Bench, list[Instance]]:
    """A tenant with a Git connector and a Ci connector, seen by every instance; Ci has DO and OTHER."""
    bench = bench or Bench(**settings)
    for name, type_ in (("git", "Git"), ("ci", "Ci")):
        bench.declare("connector", tenant, name, type=type_)
    bench.pivot(tenant, "Ci", "DO", "OTHER")
    return bench, [Instance(bench, tenant, letter).begin("git", "ci") for letter in instances]
