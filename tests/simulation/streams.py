"""Workers of zconnector.v1, each with its front end: a stream that takes, settles, and lives by its tidings.

They come back after a restart of the router with what they have in hand, and adopt it. Their faults: to die,
to hang, to cancel a take, to hold on beyond the lease, to settle late, twice, with another token, to give
back and to settle all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from tests.simulation.agent import Agent, Args, Pending, is_gone
from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode
from tests.simulation.process import Process
from tests.simulation.scheduler import MS, SECOND
from tests.simulation.topology import COMMANDS
from tests.simulation.workers import VERSION
from zconnector.errors import Reason, Refusal

LEASES = (0, 0, 4_000, 10_000)
"""Milliseconds that a stream asks for; 0: those of the command, or of the settings."""
FORGED = "00000000deadbeef"


@dataclass(slots=True)
class Ways:
    """How a v1 worker behaves; shares of its commands."""

    fails: float = 0.06
    naks: float = 0.15
    progress: float = 0.15
    slow: float = 0.12
    """Run for up to SLOW, which is beyond some leases."""
    late: float = 0.5
    """Of those that were lost meanwhile: settled all the same."""
    twice: float = 0.05
    forged: float = 0.03
    """First with a token that is none."""
    given_back: float = 0.05


SLOW = 14 * SECOND
USUAL = 900 * MS


@dataclass(slots=True, eq=False)
class Work:
    """One command in hand."""

    uuid: str
    token: str
    name: str
    lost: bool = False
    """The router said that it is not ours any more."""


class StreamWorker(Agent):
    """One worker process and its stream, restarted by its supervisor whenever it ends."""

    def __init__(self, node: ConnectorNode, name: str, model: Model, *, ways: Ways, concurrency: int) -> None:
        super().__init__(node, name)
        self._model = model
        self._ways = ways
        self._concurrency = concurrency
        self._lease = self.rng.choice(LEASES)
        self.version = VERSION
        self.commands = COMMANDS[node.spec.type]
        self._streams = 0
        self._holder = ""
        self._tidings: Pending | None = None
        self._take: Pending | None = None
        self._handed: list[tuple[str, str]] = []
        """What the present take has been answered with, as long as that has not arrived."""
        self._hung_until = 0
        self._opened_at: Process | None = None
        """Where the stream was opened; at another process it is none: a call names its door."""
        self._linked = False
        """The stream stands: registered, and adopted what there was."""
        self._draining = False
        self._hand: dict[str, Work] = {}
        self.ended: dict[str, int] = {}
        """When each of its former streams ended."""

    @property
    def ongoing(self) -> int:
        return len(self._hand)

    # ---- life

    def start(self) -> None:
        """A fresh process: it has nothing in hand."""
        self.life += 1
        self._hand.clear()
        self._connect()

    def die(self) -> None:
        """SIGKILL: the front end sees the connection go."""
        self._end_stream()
        self.life += 1
        self._hand.clear()
        self.after(self.some(200 * MS, 6 * SECOND), self.start)

    def hang(self, duration: int) -> None:
        """It stands still; its stream stays."""
        self._hung_until = self.now + duration

    def cancel_waits(self) -> None:
        """It closes its stream and opens another (a connection that was lost): what it had is given back."""
        if self._linked and self.now >= self._hung_until:
            self._end_stream()
            for work in self._hand.values():
                work.lost = True
            self.after(self.some(0, 300 * MS), self._connect)

    def _end_stream(self) -> None:
        node, model = self.node.name, self._model
        self._linked = False
        if not self._holder:
            return
        model.stream_ended(self.now, node, self._holder)
        self.ended[self._holder] = self.now
        for _, token in self._handed:
            model.unread(node, token)
        self._handed = []
        take, self._take = self._take, None
        tidings, self._tidings = self._tidings, None
        self._holder = ""
        self.cancel(take)
        self.cancel(tidings)

    def _awake(self, call: Callable[..., None], *args: Any) -> bool:
        if self.now >= self._hung_until:
            return True
        self.scheduler.at(self._hung_until, self._still, self.life, call, args)
        return False

    # ---- the stream

    def _connect(self) -> None:
        """Open a stream: register, adopt, ask for tidings, take."""
        if not self._awake(self._connect):
            return
        self._streams += 1
        holder = self._holder = f"{self.name}/{self.life}/{self._streams}"
        self._opened_at = self.door
        self._linked = self._draining = False
        self._take = self._tidings = None
        self._handed = []

        def registered(result: Args, _: bytes, error: Refusal | None) -> None:
            if holder != self._holder:
                return
            if error is not None or not result["valid"]:
                self.after(self.some(300 * MS, 2 * SECOND), self._connect)
                return
            self._ask(holder)
            self._adopt(holder)

        self.call("register", {**self._who(), "commands": list(self.commands)}, registered)

    def _who(self) -> dict[str, Any]:
        return {"worker": self.name, "major": self.version.major, "minor": self.version.minor}

    def _adopt(self, holder: str) -> None:
        mine = [work for work in self._hand.values() if not work.lost]
        if not mine:
            self._linked = True
            self._next()
            return
        asked = {work.uuid: work.token for work in mine}

        def given(result: Args, _: bytes) -> None:
            self._model.adopted(self.now, self.node.name, holder, asked, set(result["valid"]))

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            if holder != self._holder:
                return
            if error is not None:
                self._lost_router(holder)
                return
            for work in mine:
                work.lost = work.lost or work.uuid not in result["valid"]
            self._linked = True
            self._next()

        leases = [{"uuid": uuid, "token": token} for uuid, token in asked.items()]
        self.call("adopt", {**self._who(), "holder": holder, "leases": leases}, answered, given=given)

    def _ask(self, holder: str) -> None:
        """The stream lives as long as this call is pending."""
        if holder != self._holder or not self._awake(self._ask, holder):
            return
        if self.door is not self._opened_at:
            self._lost_router(holder)
            return

        def given(news: Args, _: bytes) -> None:
            for lost in news["cancelled"]:
                self._model.lost(self.node.name, str(lost["token"]))
            self._model.stream_answered(self.now, self.node.name, holder)

        def answered(news: Args, _: bytes, error: Refusal | None) -> None:
            if holder != self._holder:
                return
            self._tidings = None
            if error is not None:
                self._lost_router(holder)
                return
            for lost in news["cancelled"]:
                work = self._hand.get(str(lost["uuid"]))
                if work is not None and work.token == lost["token"]:
                    work.lost = True
            self._draining = self._draining or bool(news["drain"])
            self._ask(holder)

        door = self.door
        if door is not None and not door.frozen:  # a frozen one hears it after it has looked at the time
            self._model.stream_asks(self.now, self.node.name, holder)
        self._tidings = self.call("tidings", {**self._who(), "holder": holder}, answered, given=given)

    def _lost_router(self, holder: str) -> None:
        """The connector is gone: open another stream when it is back, with what is in hand."""
        if holder != self._holder:
            return
        self._holder, self._linked = "", False
        self._take = self._tidings = None
        self._handed = []
        self.after(self.some(200 * MS, SECOND), self._connect)

    # ---- taking

    def _next(self) -> None:
        credit = self._concurrency - len(self._hand)
        if not self._linked or self._draining or self._take is not None or credit < 1:
            return
        if not self._awake(self._next):
            return
        holder = self._holder
        names = [] if self.rng.random() < 0.5 else list(self.commands)
        args = {**self._who(), "holder": holder, "commands": names, "limit": credit, "lease": self._lease}

        def given(result: Args, payload: bytes) -> None:
            if len(result["commands"]) > credit:
                text = f"{self.name} has room for {credit}, and was given {len(result['commands'])}"
                self._model.broken(self.now, "unbounded", self.node.name, text)
            at = 0
            for entry in result["commands"]:
                body = payload[at : at + entry["size"]]
                at += entry["size"]
                self._model.handed(self.now, self.node.name, str(entry["uuid"]), body, holder, "", entry)
                if holder == self._holder:
                    self._handed.append((str(entry["uuid"]), str(entry["token"])))

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            if holder != self._holder:
                return
            self._take, self._handed = None, []
            if error is not None:
                if is_gone(error):
                    self._lost_router(holder)
                elif error.reason is not Reason.DRAINING:
                    self.after(self.some(100 * MS, SECOND), self._next)
                return
            for entry in result["commands"]:
                self._begin(entry)
            self._next()

        self._take = self.call("take", args, answered, given=given)

    def _begin(self, entry: Args) -> None:
        work = Work(str(entry["uuid"]), str(entry["token"]), str(entry["command"]))
        self._hand[work.uuid] = work
        self._run(work)

    # ---- commands

    def _run(self, work: Work) -> None:
        if not self._awake(self._run, work):
            return
        rng, ways = self.rng, self._ways
        if rng.random() < ways.given_back:
            self._give_back(work)
            return
        self._model.executed(self.now, self.node.name, work.uuid, self.name)
        if rng.random() < ways.progress:
            more: dict[str, Any] = {"event": "PROGRESS"} if rng.random() < 0.5 else {"extend": 12_000}
            self.after(self.some(MS, 300 * MS), self._settle, work, "progress", more, 0)
        slow = rng.random() < ways.slow
        self.after(self.some(2 * MS, SLOW if slow else USUAL), self._end, work)

    def _end(self, work: Work) -> None:
        if not self._awake(self._end, work):
            return
        rng, ways = self.rng, self._ways
        if work.lost and rng.random() >= ways.late:
            self._done(work)
            return
        if rng.random() < ways.forged:
            forged = Work(work.uuid, FORGED, work.name)
            self._settle(forged, "ack", {}, 0)
        draw = rng.random()
        if draw < ways.fails:
            self._settle(work, "fail", {"error": "it cannot be done"}, 60)
        elif draw < ways.fails + ways.naks:
            more: dict[str, Any] = {"error": "not now"}
            if rng.random() < 0.5:
                more["delay"] = rng.choice((0, 300, 2_000))
            self._settle(work, "nak", more, 60)
        else:
            self._settle(work, "ack", {}, 60)

    def _done(self, work: Work) -> None:
        if self._hand.get(work.uuid) is work:
            del self._hand[work.uuid]
        self._next()

    def _settle(self, work: Work, outcome: str, more: dict[str, Any], tries: int) -> None:
        """Say what became of it; `tries`: how often again where nobody can say whether it was stored."""
        if not self._awake(self._settle, work, outcome, more, tries):
            return
        final = outcome != "progress"
        door = self.door
        if door is None or not self._linked:
            if final and tries:
                self.after(self.some(200 * MS, SECOND), self._settle, work, outcome, more, tries - 1)
            elif final:
                self._done(work)
            return
        node = self.node.name
        payload = orjson.dumps({"done": work.uuid}) if outcome == "ack" else b""
        item = {"uuid": work.uuid, "token": work.token, "outcome": outcome, "size": len(payload), **more}
        said = self._model.settling(
            self.now,
            node,
            work.uuid,
            work.token,
            outcome,
            delay=more.get("delay"),
            extend=more.get("extend", 0),
        )

        def given(result: Args, _: bytes) -> None:
            (told,) = result["results"]
            error = told.get("error", {}).get("code", "")
            self._model.settled(self.now, said, error)
            if not error and outcome == "ack":
                self._model.completed(self.now, node, work.uuid)

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            if not final:
                return
            code = (
                error.reason if error is not None else result["results"][0].get("error", {}).get("code", "")
            )
            if code and code != Reason.FENCED and tries and work.token != FORGED:
                self.after(self.some(200 * MS, SECOND), self._settle, work, outcome, more, tries - 1)
                return
            if work.token == FORGED:
                return
            if tries and self.rng.random() < self._ways.twice:
                other = self.rng.choice(("ack", "nak", "fail"))
                self.after(self.some(0, 2 * SECOND), self._settle, work, other, {}, 0)
            self._done(work)

        self.call("settle", {"holder": self._holder, "outcomes": [item]}, answered, payload, given=given)

    def _give_back(self, work: Work) -> None:
        """Not for this worker: it goes back without having been seen; and, now and then, is settled late."""
        node, unseen = self.node.name, self.rng.random() < 0.7
        leases = [{"uuid": work.uuid, "token": work.token}]
        self._model.unread(node, work.token)

        def given(result: Args, _: bytes) -> None:
            if result["released"]:
                self._model.given_back(self.now, node, work.uuid, work.token, unseen=unseen)

        def answered(_: Args, __: bytes, error: Refusal | None) -> None:
            if error is None and self.rng.random() < 0.3:
                self._settle(work, "ack", {}, 0)
            self._done(work)

        args = {"holder": self._holder, "leases": leases, "unseen": unseen}
        self.call("give_back", args, answered, given=given)
