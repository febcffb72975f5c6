"""An operator who looks at everything while all goes on, and pauses command names for a while.

Whatever the state, there is an answer to every question, and what lives waits for something. (Operators who
change more are in `operators.py`.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode, Node
from tests.simulation.scheduler import SECOND, Scheduler
from zconnector.connector.machine import ConnectorMachine
from zconnector.errors import Reason, Refusal

LOOKS = 2 * SECOND
PAUSES = 15 * SECOND
PAUSED_FOR = 6 * SECOND
_VERBS = ("queue.ls", "queue.peek", "workers", "dead.ls")
_REFUSALS = (Reason.NOT_FOUND, Reason.STORAGE_FAILED, Reason.SHUTTING_DOWN)
_WAITING = (
    "STORING",
    "READY",
    "DELAYED",
    "LEASED",
    "COMPLETING",
    "SENDING",
    "WAITING",
    "UNKNOWN",
    "UNDER_WAY",
)


class Onlooker:
    """Has the control sockets of all connectors and of the member."""

    def __init__(
        self,
        scheduler: Scheduler,
        connectors: Sequence[ConnectorNode],
        member: Node,
        used: Mapping[str, Sequence[str]],
        model: Model,
        rng: random.Random,
    ) -> None:
        """`used`: the last uuids of each tenant's commands."""
        self._scheduler = scheduler
        self._connectors = connectors
        self._member = member
        self._used = used
        self._model = model
        self._rng = rng
        self.quiet = False
        """Change nothing more; resume what is paused."""
        self.counts = {"told": 0, "not found": 0, "paused": 0}

    def start(self) -> None:
        self._scheduler.after(LOOKS, self._look)
        self._scheduler.after(PAUSES, self._change)

    def _look(self) -> None:
        self._scheduler.after(LOOKS, self._look)
        node = self._rng.choice(self._connectors)
        verb = self._rng.choice(_VERBS)
        self._ask(node, "operate", {"verb": verb, "command": "*"}, self._told)
        uuids = self._used[node.spec.tenant]
        if uuids:
            uuid = self._rng.choice(uuids)
            for each in (node, self._member):
                self._ask(each, "explain", {"uuid": uuid}, self._explained)

    def _change(self) -> None:
        self._scheduler.after(PAUSES, self._change)
        if self.quiet:
            for node in self._connectors:
                self._ask(node, "operate", {"verb": "queue.resume", "command": "*"}, self._told)
            return
        node = self._rng.choice(self._connectors)
        name = self._rng.choice(("*", *sorted(_names(node))))
        self._ask(node, "operate", {"verb": "queue.pause", "command": name}, self._told)
        self.counts["paused"] += 1
        resume = {"verb": "queue.resume", "command": name}
        self._scheduler.after(PAUSED_FOR, lambda: self._ask(node, "operate", resume, self._told))

    def _ask(self, node: Node, op: str, args: Mapping[str, Any], then: Callable[[str, Any], None]) -> None:
        process = node.process
        if process is not None and process.alive:
            process.control(op, args, lambda answer: then(node.name, answer))

    def _told(self, node: str, answer: Mapping[str, Any] | Refusal) -> None:
        if isinstance(answer, Refusal):
            if answer.reason is Reason.NOT_FOUND:
                self.counts["not found"] += 1
            if answer.reason not in (*_REFUSALS, Reason.BUSY):
                self._wrong(node, f"an operator is told {answer}")
            return
        self.counts["told"] += 1
        try:
            orjson.dumps(answer)
        except TypeError as error:
            self._wrong(node, f"an answer cannot be said in JSON: {error}")

    def _explained(self, node: str, answer: Mapping[str, Any] | Refusal) -> None:
        self._told(node, answer)
        if isinstance(answer, Refusal):
            return
        times = [step["at"] for step in answer["history"]]
        if times != sorted(times):
            self._wrong(node, f"{answer['uuid']}: a history out of order")
        if answer["state"] in _WAITING and not answer["waits_for"]:
            self._wrong(node, f"{answer['uuid']} is {answer['state']} and waits for nothing")

    def _wrong(self, node: str, what: str) -> None:
        self._model.defect(self._scheduler.now, node, what)


def _names(node: ConnectorNode) -> set[str]:
    """The command names that are known at a connector."""
    if node.process is None or not node.process.alive:
        return set()
    assert isinstance(node.process.machine, ConnectorMachine)
    queue = node.process.machine.router.queue
    return {name for name, _, _ in queue.tally.states}
