"""Workers that poll and complete with single calls of zconnector.v1."""

from __future__ import annotations

from tests.simulation.agent import Agent, Args, Pending
from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode
from tests.simulation.scheduler import MS, SECOND
from tests.simulation.streams import USUAL
from tests.simulation.topology import COMMANDS
from tests.simulation.workers import VERSION
from zconnector.errors import Reason, Refusal


class Poller(Agent):
    """Poll and Complete, unary: its lease is nobody's, and only time ends it."""

    def __init__(self, node: ConnectorNode, name: str, model: Model) -> None:
        super().__init__(node, name)
        self._model = model
        self._take: Pending | None = None
        self._handed: list[str] = []
        self.ongoing = 0
        self._hung_until = 0

    def start(self) -> None:
        self.life += 1
        self.ongoing = 0
        self._take, self._handed = None, []
        self._poll()

    def die(self) -> None:
        """Its call is cancelled; what it had has a lease that goes on."""
        self._cancel()
        self.life += 1
        self.after(self.some(200 * MS, 4 * SECOND), self.start)

    def hang(self, duration: int) -> None:
        self._hung_until = self.now + duration

    def cancel_waits(self) -> None:
        if self._take is not None:
            self._cancel()
            self.after(self.some(0, 300 * MS), self._poll)

    def _cancel(self) -> None:
        for token in self._handed:
            self._model.unread(self.node.name, token)
        take, self._take, self._handed = self._take, None, []
        self.cancel(take)

    def _poll(self) -> None:
        if self._take is not None or self.ongoing:
            return
        args = {
            "holder": "",
            "worker": self.name,
            "major": VERSION.major,
            "minor": 0,
            "commands": list(COMMANDS[self.node.spec.type]),
            "limit": 1,
            "lease": 5_000,
            "wait_ms": self.rng.choice((-1, 5_000, 5_000)),
        }
        handed: list[str] = []
        self._handed = handed

        def given(result: Args, payload: bytes) -> None:
            for entry in result["commands"]:
                self._model.handed(self.now, self.node.name, str(entry["uuid"]), payload, "", "", entry)
                handed.append(str(entry["token"]))

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            if handed is not self._handed:
                return
            self._take, self._handed = None, []
            if error is None and result["commands"]:
                (entry,) = result["commands"]
                self.ongoing += 1
                self._run(entry)
            else:
                self.after(self.some(500 * MS, 2 * SECOND), self._poll)

        self._take = self.call("take", args, answered, given=given)

    def _run(self, entry: Args) -> None:
        self._model.executed(self.now, self.node.name, str(entry["uuid"]), self.name)
        slow = self.rng.random() < 0.05
        self.after(self.some(2 * MS, 9 * SECOND if slow else USUAL), self._complete, entry, 20)

    def _complete(self, entry: Args, tries: int) -> None:
        if self.now < self._hung_until:
            self.scheduler.at(self._hung_until, self._still, self.life, self._complete, (entry, tries))
            return
        if self.node.door is None:
            self._again(entry, tries)
            return
        node, uuid, token = self.node.name, str(entry["uuid"]), str(entry["token"])
        said = self._model.settling(self.now, node, uuid, token, "ack")

        def given(result: Args, _: bytes) -> None:
            error = result["results"][0].get("error", {}).get("code", "")
            self._model.settled(self.now, said, error)
            if not error:
                self._model.completed(self.now, node, uuid)

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            code = (
                error.reason if error is not None else result["results"][0].get("error", {}).get("code", "")
            )
            if code and code != Reason.FENCED:
                self._again(entry, tries)
                return
            self.ongoing -= 1
            self._poll()

        item = {"uuid": uuid, "token": token, "outcome": "ack", "size": 0}
        self.call("settle", {"holder": "", "outcomes": [item]}, answered, given=given)

    def _again(self, entry: Args, tries: int) -> None:
        if tries:
            self.after(self.some(200 * MS, SECOND), self._complete, entry, tries - 1)
        else:
            self.ongoing -= 1
            self._poll()
