"""Workers of zconnector.v1 as their front end shows them to the door: take, settle, tidings, adopt.

Their faults are those of `workers.py`. One that lives on when its connector is started again adopts what it
holds; one that died knows of nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.agent import Agent, Args, Pending, is_gone
from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode
from tests.simulation.scheduler import MS, SECOND
from tests.simulation.topology import COMMANDS
from tests.simulation.workers import MAJOR, SLOW, USUAL, Habits
from zconnector.errors import Reason, Refusal

CONCURRENCY = 3


class StreamWorker(Agent):
    """One worker process with one stream, restarted by its supervisor whenever it ends."""

    def __init__(self, node: ConnectorNode, name: str, model: Model, *, habits: Habits) -> None:
        super().__init__(node, name)
        self._model = model
        self._habits = habits
        self._streams = 0
        self._take: Pending | None = None
        self._tidings: Pending | None = None
        self._held: dict[str, str] = {}
        """Token by uuid of what it works on."""
        self._crossing: set[str] = set()
        """Tokens of what was handed out, and is on its way here."""
        self._hung_until = 0
        self._draining = False
        self.ended: dict[str, int] = {}

    @property
    def identity(self) -> str:
        return f"{self.name}-{self.life}"

    @property
    def ongoing(self) -> int:
        return len(self._held)

    @property
    def _version(self) -> dict[str, Any]:
        return {"worker": self.identity, "major": MAJOR, "minor": 0}

    # ---- life

    def start(self) -> None:
        self.life += 1
        self._held.clear()
        self._crossing.clear()
        self._open()

    def _open(self) -> None:
        """A new stream, at a connector that may be new too."""
        self._streams += 1
        self._draining = False
        if self._tidings is not None:  # asked for twice: of two streams of one worker the older one ends
            self._model.lease_may_end(self.now, self.node.name, self.identity, "")
            for call in (self._take, self._tidings):
                self.cancel(call)
        self._take = self._tidings = None
        args = {**self._version, "commands": list(COMMANDS[self.node.spec.type])}
        self.call("register", args, self._registered)

    @property
    def _holder(self) -> str:
        return f"{self.identity}/{self._streams}"

    def _registered(self, result: Args, _: bytes, error: Refusal | None) -> None:
        if error is not None or not result["valid"]:
            self.after(self.some(300 * MS, 2 * SECOND), self._open)
            return
        leases = [{"uuid": uuid, "token": token} for uuid, token in self._held.items()]

        def adopted(result: Args, _: bytes, error: Refusal | None) -> None:
            if error is not None:
                self.after(self.some(300 * MS, 2 * SECOND), self._open)
                return
            for uuid in set(self._held) - set(result["valid"]):
                self._lost(uuid)
            self._ask()
            self._next()

        self.call("adopt", {**self._version, "holder": self._holder, "leases": leases}, adopted)

    def die(self) -> None:
        """SIGKILL: its front end sees the stream end."""
        calls = (self._take, self._tidings)
        self._model.lease_may_end(self.now, self.node.name, self.identity, "")
        self.ended[self.identity] = self.now
        self.life += 1
        self._held.clear()
        for call in calls:
            self.cancel(call)
        self.after(self.some(200 * MS, 6 * SECOND), self.start)

    def hang(self, duration: int) -> None:
        """It stands still: its stream stays, and it goes on later."""
        self._hung_until = self.now + duration

    def _awake(self, call: Callable[..., None], *args: Any) -> bool:
        if self.now >= self._hung_until:
            return True
        self.scheduler.at(self._hung_until, self._still, self.life, call, args)
        return False

    # ---- tidings

    def _ask(self) -> None:
        stream = self._streams

        def heard(news: Args, _: bytes, error: Refusal | None) -> None:
            if stream != self._streams:
                return
            if error is not None:  # the connector ended: this stream is over, its leases wait to be adopted
                self.after(self.some(300 * MS, 2 * SECOND), self._open)
                return
            for lost in news["cancelled"]:
                if self._held.get(lost["uuid"]) == lost["token"]:
                    self._lost(lost["uuid"])
            self._draining = self._draining or news["drain"]
            self._ask()

        self._tidings = self.call("tidings", {**self._version, "holder": self._holder}, heard)

    def _lost(self, uuid: str) -> None:
        """Its lease is over: it stops working on it."""
        self._held.pop(uuid, None)
        self._next()

    # ---- commands

    def _next(self) -> None:
        if self._take is not None or self._draining or len(self._held) >= CONCURRENCY:
            return
        if not self._awake(self._next):
            return
        args = {
            **self._version,
            "holder": self._holder,
            "commands": [],
            "limit": CONCURRENCY - len(self._held),
            "wait_ms": self.rng.choice((0, 0, 2_000)),
        }
        stream, life = self._streams, self.life

        def given(result: Args, payloads: bytes) -> None:
            at = 0
            for entry in result["commands"]:
                uuid, token = str(entry["uuid"]), str(entry["token"])
                payload, at = payloads[at : at + entry["size"]], at + entry["size"]
                self._model.handed(
                    self.now, self.node.name, uuid, payload, f"{self.name}-{life}", token, entry
                )
                self._crossing.add(token)
                if life != self.life:
                    self._model.lease_may_end(self.now, self.node.name, "", token)

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            if stream != self._streams:
                return
            self._take = None
            if error is not None:
                if error.reason is Reason.NOT_FOUND:  # not registered any more: it was taken for silent
                    self._open()
                return  # else tidings say what is the matter
            for entry in result["commands"]:
                self._crossing.discard(entry["token"])
                self._held[entry["uuid"]] = entry["token"]
                self._run(entry["uuid"], entry["token"])
            self._next()

        self._take = self.call("take", args, answered, given=given)

    def cancel_waits(self) -> None:
        """It takes its take back, also one that is just being answered, and asks anew."""
        take, self._take = self._take, None
        for token in self._crossing:
            self._model.lease_may_end(self.now, self.node.name, "", token)
        self._crossing.clear()
        self.cancel(take)
        self.after(self.some(0, 300 * MS), self._next)

    def _run(self, uuid: str, token: str) -> None:
        if self._held.get(uuid) != token or not self._awake(self._run, uuid, token):
            return
        self._model.executed(self.now, self.node.name, uuid, self.identity)
        rng, habits = self.rng, self._habits
        if rng.random() < habits.progress:
            self._settle(uuid, token, "progress", event="PROGRESS")
        slow = rng.random() < habits.slow
        self.after(self.some(2 * MS, SLOW if slow else USUAL), self._finish, uuid, token)

    def _finish(self, uuid: str, token: str) -> None:
        if self._held.get(uuid) != token or not self._awake(self._finish, uuid, token):
            return
        share = self.rng.random()
        outcome = "ack"
        if share < self._habits.fails:
            outcome = "nak"
        elif share < 1.5 * self._habits.fails:
            outcome = "fail"
        self._settle(uuid, token, outcome, 40)

    def _settle(self, uuid: str, token: str, outcome: str, tries: int = 0, **more: Any) -> None:
        item = {"uuid": uuid, "token": token, "outcome": outcome, **more}
        if outcome == "fail":
            self._model.may_be_buried(self.node.name, uuid)
        if outcome == "nak":
            self._model.lease_may_end(self.now, self.node.name, "", token)

        def given(result: Args, _: bytes) -> None:
            if outcome in ("ack", "fail") and "error" not in result["results"][0]:
                self._model.completed(self.now, self.node.name, uuid)

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            if outcome == "progress" or self._held.get(uuid) != token:
                return
            code = str(error.reason) if error else result["results"][0].get("error", {}).get("code", "")
            if (is_gone(error) or code not in ("", Reason.FENCED)) and tries > 0:
                self.after(self.some(200 * MS, SECOND), self._settle, uuid, token, outcome, tries - 1)
                return
            self._model.counts[f"{outcome} {code}".strip()] += 1
            if not code and self.rng.random() < self._habits.twice:
                self._settle(uuid, token, "ack")
            self._lost(uuid)

        self.call("settle", {"holder": self._holder, "outcomes": [item]}, answered, given=given)
