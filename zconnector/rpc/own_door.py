"""The door as workers see it: on its own socket one is whose socket it is, elsewhere nobody is the admin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from zconnector.errors import Reason, Refusal
from zconnector.queue.lines import ADMIN_WORKER
from zconnector.rpc.port import DoorPort, Question, Told

TAKING = frozenset({"register", "beat", "wait_command", "take", "adopt", "tidings"})
"""Calls by which one takes part as a worker."""
NAMED = frozenset(
    {"register", "beat", "wait_command", "take", "adopt", "tidings", "send_command", "send_event"}
)
"""Calls whose `worker` is who calls."""


class OwnDoor:
    """A DoorPort for one supervised worker (DESIGN section 7: its socket is its identity)."""

    def __init__(self, door: DoorPort, worker: str) -> None:
        self._door = door
        self._worker = worker

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        return await self._door.call(op, self._named(op, args), payload)

    def ask(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> asyncio.Future[tuple[dict[str, Any], bytes]]:
        return self._door.ask(op, self._named(op, args), payload)

    def ask_all(self, questions: Sequence[Question], told: Told) -> Sequence[int]:
        named = [(op, self._named(op, args), payload) for op, args, payload in questions]
        return self._door.ask_all(named, told)

    def take_back(self, number: int) -> None:
        self._door.take_back(number)

    def _named(self, op: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**args, "worker": self._worker, "own": True} if op in NAMED else args


class SharedDoor:
    """A DoorPort for all who dial a shared socket: they name themselves, but not as what is ours."""

    def __init__(self, door: DoorPort) -> None:
        self._door = door

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        _check(op, args)
        return await self._door.call(op, args, payload)

    def ask(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> asyncio.Future[tuple[dict[str, Any], bytes]]:
        _check(op, args)
        return self._door.ask(op, args, payload)

    def ask_all(self, questions: Sequence[Question], told: Told) -> Sequence[int]:
        for op, args, _ in questions:
            _check(op, args)
        return self._door.ask_all(questions, told)

    def take_back(self, number: int) -> None:
        self._door.take_back(number)


def _check(op: str, args: Mapping[str, Any]) -> None:
    """Raises Refusal: BAD_ARGUMENT."""
    if op in TAKING and args.get("worker") == ADMIN_WORKER:
        raise Refusal(Reason.BAD_ARGUMENT, f"worker must not be {ADMIN_WORKER}: that is the connector's own")
