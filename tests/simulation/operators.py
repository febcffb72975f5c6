"""An operator at a connector: what `zconnector queue`, `cancel` and `dead` ask for, until it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from tests.simulation.agent import Agent, Args
from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode
from tests.simulation.scheduler import MS, SECOND
from tests.simulation.topology import COMMANDS
from zconnector.errors import Reason, Refusal

Told = Callable[[Args], None]


class Operator(Agent):
    """Uses the verbs at random, as the faults say."""

    def __init__(self, node: ConnectorNode, model: Model) -> None:
        super().__init__(node, f"operator {node.name}")
        self._model = model
        self._wants: dict[str, int] = {}
        """Per name: number of the last wish about its pause; older ones are given up."""
        self.open = 0
        """Resumptions that were not answered yet."""

    def _name(self) -> str:
        return self.rng.choice((*COMMANDS[self.node.spec.type], "*"))

    def _operate(
        self, verb: str, args: dict[str, Any], told: Told, payload: bytes = b"", refused: Told | None = None
    ) -> None:
        def given(result: Args, body: bytes) -> None:
            told(orjson.loads(body[: result["json"]]) if "json" in result else result)

        def answered(_: Args, __: bytes, error: Refusal | None) -> None:
            if error is not None and refused is not None:
                refused({})

        self.call("operate", {"verb": verb, **args}, answered, payload, given=given)

    # ---- pauses

    def pause(self) -> Callable[[], None]:
        """Returns what resumes it, asked until it is answered."""
        name, node, model = self._name(), self.node.name, self._model
        wish = self._wants[name] = self._wants.get(name, 0) + 1

        def paused(_: Args) -> None:
            if self._wants[name] == wish:
                model.paused(self.now, node, name)

        self._operate("queue.pause", {"command": name}, paused)
        self.open += 1

        def resume() -> None:
            self._resume(name)

        return resume

    def _resume(self, name: str) -> None:
        self._wants[name] += 1
        self._model.resuming(self.node.name, name)
        if name == "*":
            for other in self._wants:
                self._wants[other] += other != name

        def resumed(_: Args) -> None:
            self.open -= 1

        def refused(_: Args) -> None:
            self.after(self.some(300 * MS, SECOND), self._resume, name)

        self._operate("queue.resume", {"command": name}, resumed, refused=refused)

    # ---- commands

    def purge(self) -> None:
        name, node = self._name(), self.node.name
        if self.node.door is not None:
            self._model.purging(node, name)
            self._operate("queue.purge", {"command": name}, _ignored)

    def cancel_some(self) -> None:
        """Two of the oldest that it sees."""

        def seen(result: Args) -> None:
            for row in result["rows"][:2]:
                self.after(self.some(MS, 300 * MS), self._cancel, str(row["uuid"]))

        self._operate("queue.peek", {"command": "*", "limit": 5}, seen)

    def _cancel(self, uuid: str) -> None:
        node = self.node.name
        if self.node.door is None:
            return
        self._model.wants(node, uuid, Reason.CANCELLED)

        def cancelled(_: Args) -> None:
            self._model.cancelled(self.now, node, uuid)

        self._operate("cancel", {"uuid": uuid}, cancelled)

    # ---- dead letters

    def _letter(self) -> str:
        letters = self._model.letters_of(self.node.name)
        return self.rng.choice(letters) if letters else ""

    def replay(self) -> None:
        """One letter by its uuid, or all of a reason."""
        uuid, node = self._letter(), self.node.name
        if not uuid:
            return
        args = {"uuid": uuid} if self.rng.random() < 0.6 else {"reason": str(self.rng.choice(_REASONS))}

        def replayed(result: Args) -> None:
            for each in result["uuids"]:
                self._model.replayed(self.now, node, str(each["uuid"]), str(each["replay_of"]))

        self._operate("dead.replay", args, replayed)

    def edit(self) -> None:
        """Another payload for a letter; then it is replayed."""
        uuid, node = self._letter(), self.node.name
        if not uuid or self.node.door is None:
            return
        payload = orjson.dumps(
            {"n": self.rng.randrange(1_000), "tenant": self.node.spec.tenant, "by": self.name}
        )
        self._model.editing(node, uuid, payload)
        self._operate("dead.edit", {"uuid": uuid}, lambda _: self.after(MS, self.replay), payload)

    def purge_letters(self) -> None:
        uuid = self._letter()
        if uuid:
            self._operate("dead.purge", {"uuid": uuid}, _ignored)


_REASONS = (Reason.FAILED, Reason.EXPIRED, Reason.ATTEMPTS_EXHAUSTED, Reason.CANCELLED, Reason.PURGED)


def _ignored(_: Args) -> None:
    return
