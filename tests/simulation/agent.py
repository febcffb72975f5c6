"""What workers and clients have in common: they call a connector's door as the gRPC service does for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.simulation.nodes import ConnectorNode
from tests.simulation.process import GONE, Process
from tests.simulation.scheduler import Scheduler
from zconnector.errors import Reason, Refusal

Args = Mapping[str, Any]
OnAnswer = Callable[[Args, bytes, Refusal | None], None]


class Pending(NamedTuple):
    """A call that waits, to be cancelled."""

    process: Process
    number: int


class Agent:
    """A process of somebody else's, beside a connector.

    `life` grows with each of its deaths: what was under way for an earlier life is not heard of any more.
    """

    def __init__(self, node: ConnectorNode, name: str) -> None:
        self.node = node
        self.name = name
        self.rng: random.Random = node.around.rng(f"agent {name}")
        self.scheduler: Scheduler = node.around.scheduler
        self.life = 0

    @property
    def door(self) -> Process | None:
        """Where it calls, while anybody answers there."""
        return self.node.door

    @property
    def now(self) -> int:
        return self.scheduler.now

    def start(self) -> None:
        """Begin a life."""
        raise NotImplementedError

    def after(self, delay: int, call: Callable[..., None], *args: Any) -> None:
        """Call later, unless this life is over then."""
        self.scheduler.after(delay, self._still, self.life, call, args)

    def _still(self, life: int, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if life == self.life:
            call(*args)

    def call(
        self,
        op: str,
        args: Args,
        answered: OnAnswer,
        payload: bytes = b"",
        given: Callable[[Args, bytes], None] | None = None,
    ) -> Pending | None:
        """Call the door. None: nobody is there, and `answered` hears so soon."""
        life = self.life

        def mine(result: Args, body: bytes, error: Refusal | None) -> None:
            if life == self.life:
                answered(result, body, error)

        door = self.door
        if door is None:
            self.scheduler.after(200, mine, {}, b"", GONE)
            return None
        return Pending(door, door.call(op, args, payload, mine, given))

    def cancel(self, pending: Pending | None) -> None:
        if pending is not None and pending.process.alive:
            pending.process.cancel(pending.number)

    def some(self, least: int, most: int) -> int:
        """A duration between two."""
        return least + int(self.rng.random() * (most - least))


def is_gone(error: Refusal | None) -> bool:
    """Whether the connector ended, so that nobody can say what became of a call."""
    return error is not None and error.reason is Reason.SHUTTING_DOWN
