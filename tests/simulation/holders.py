"""Holders of a named subscription: several compete for its events, each with a stream of its own."""

from __future__ import annotations

from tests.simulation.agent import Agent, Args, Pending, is_gone
from tests.simulation.clients import TOPIC
from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode
from tests.simulation.scheduler import MS, SECOND
from zconnector.errors import Reason, Refusal

LEASE_MS = 8_000
MAX_UNACKED = 5


class Holder(Agent):
    """Takes events, acknowledges most, gives some back, forgets a few; dies with what it has."""

    def __init__(
        self, node: ConnectorNode, name: str, model: Model, subscription: str, *, lazy: bool
    ) -> None:
        """`lazy`: it rests now and then for longer than events are kept."""
        super().__init__(node, name)
        self._model = model
        self._subscription = subscription
        self._lazy = lazy
        self.quiet = False
        """It rests no more: what was missed is to be told before the end."""
        self._streams = 0
        self._takes = 0
        self._holder = ""
        self._tidings: Pending | None = None
        self._take: Pending | None = None
        self._missed = 0
        """What the present take told of, as long as that has not arrived."""

    def start(self) -> None:
        self.life += 1
        self._connect()

    def die(self) -> None:
        self._end_stream()
        self.life += 1
        self.after(self.some(200 * MS, 4 * SECOND), self.start)

    def cancel_waits(self) -> None:
        """Its take is cancelled, also when the answer is just on the way."""
        take = self._take
        if take is None or not self._holder:
            return
        self._unread()
        self._take = None
        self._takes += 1
        self.cancel(take)
        self.after(self.some(0, 200 * MS), self._next, self._holder)

    def _unread(self) -> None:
        node, name = self.node.name, self._subscription
        if self._take is not None:
            self._model.events_unread(node, name, self._holder, self._takes)
            self._model.missed_unread(node, name, self._missed)
        self._missed = 0

    def _end_stream(self) -> None:
        if self._holder:
            self._unread()
            self._model.holder_gone(self.node.name, self._holder)
        take, tidings = self._take, self._tidings
        self._take = self._tidings = None
        self._holder = ""
        self.cancel(take)
        self.cancel(tidings)

    def _connect(self) -> None:
        self._streams += 1
        holder = self._holder = f"{self.name}/{self.life}/{self._streams}"
        self._take = self._tidings = None
        args = {"subscription": self._subscription, "topics": [{"topic": TOPIC}]}

        def given(_: Args, __: bytes) -> None:
            self._model.subscription_made(self.now, self.node.name, self._subscription, LEASE_MS)

        def made(_: Args, __: bytes, error: Refusal | None) -> None:
            if holder != self._holder:
                return
            if error is not None:
                self.after(self.some(300 * MS, SECOND), self._connect)
                return
            self._ask(holder)
            self._next(holder)

        terms = {"max_unacked": MAX_UNACKED, "lease": LEASE_MS}
        self.call("subscribe", {**args, **terms}, made, given=given)

    def _ask(self, holder: str) -> None:
        if holder != self._holder:
            return

        def answered(_: Args, __: bytes, error: Refusal | None) -> None:
            if holder == self._holder:
                self._tidings = None
                if error is None:
                    self._ask(holder)
                else:
                    self._lost(holder)

        args = {"holder": holder, "worker": self.name, "major": 0, "minor": 0}
        self._tidings = self.call("tidings", args, answered)

    def _lost(self, holder: str) -> None:
        if holder == self._holder:
            self._holder = ""
            self._take = self._tidings = None
            self._missed = 0
            self.after(self.some(200 * MS, SECOND), self._connect)

    def _next(self, holder: str) -> None:
        if holder != self._holder or self._take is not None:
            return
        if self._lazy and not self.quiet and self.rng.random() < 0.1:
            self.after(self.some(20 * SECOND, 90 * SECOND), self._take_some, holder)
        else:
            self._take_some(holder)

    def _take_some(self, holder: str) -> None:
        if holder != self._holder or self._take is not None:
            return
        self._takes += 1
        call, node, name = self._takes, self.node.name, self._subscription

        def given(result: Args, _: bytes) -> None:
            missed = int(result["missed"])
            self._model.events_taken(self.now, node, name, holder, call, result["events"], missed)
            if call == self._takes and holder == self._holder:
                self._missed = missed

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            if holder != self._holder or call != self._takes:
                return
            self._take, self._missed = None, 0
            if error is not None:
                if is_gone(error):
                    self._lost(holder)
                else:
                    self.after(self.some(300 * MS, SECOND), self._next, holder)
                return
            for event in result["events"]:
                self._handle(holder, int(event["id"]), int(event["attempt"]))
            self._next(holder)

        args = {"subscription": name, "holder": holder, "limit": self.rng.choice((1, 3)), "wait_ms": 20_000}
        self._take = self.call("take_events", args, answered, given=given)

    def _handle(self, holder: str, number: int, attempt: int) -> None:
        draw = self.rng.random()
        if draw < 0.03:
            return  # forgotten: its lease ends
        self.after(self.some(MS, 400 * MS), self._say, holder, number, attempt, draw > 0.1)

    def _say(self, holder: str, number: int, attempt: int, ok: bool) -> None:
        if holder != self._holder:
            return  # with another stream that is another holder's affair
        node, name = self.node.name, self._subscription
        if self.node.door is None:
            return
        self._model.acknowledging(node, name, number, ok=ok)

        def given(result: Args, _: bytes) -> None:
            error = result["results"][0].get("error", {}).get("code", "")
            if ok and not error:
                self._model.acknowledged(self.now, node, name, number)
            elif error == Reason.FENCED:
                self._model.not_acknowledged(node, name, number)

        def answered(_: Args, __: bytes, error: Refusal | None) -> None:
            if error is not None and not is_gone(error):
                self._model.not_acknowledged(node, name, number)

        said = {"id": number, "ok": ok, "attempt": attempt}
        args = {"subscription": name, "holder": holder, "events": [said]}
        self.call("acknowledge", args, answered, given=given)
