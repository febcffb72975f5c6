"""Outcomes on their way to the queue: what comes while others are under way goes together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from zconnector.errors import Reason, Refusal, WireError
from zconnector.messages.kinds import MAX_MESSAGE
from zconnector.rpc.convert import HEADROOM, Args
from zconnector.rpc.port import DoorPort
from zconnector.rpc.v1.work_convert import weight

MOST = 256
"""Outcomes of one call."""
HEADER = 60_000
"""Bytes of a call's header that its outcomes may take."""
AT_ONCE = 4
"""Calls under way; a commit takes what has come meanwhile."""

Waiting = tuple[Args, bytes]
Settled = tuple[Args, Refusal | None]
Told = Callable[[list[Settled]], None]


def batch(waiting: Sequence[Waiting]) -> int:
    """How many of these fit into one call; at least one."""
    if len(waiting) <= MOST and _is_small(waiting):
        return len(waiting)
    header = size = 0
    for count, (args, payload) in enumerate(waiting):
        header += weight(args)
        size += len(payload)
        if count and (count >= MOST or header > HEADER or size + header > MAX_MESSAGE - HEADROOM):
            return count
    return len(waiting)


def _is_small(waiting: Sequence[Waiting]) -> bool:
    """Whether all fit: encoded once, where one after the other costs each a call."""
    header = weight([args for args, _ in waiting])
    return header <= HEADER and sum([len(p) for _, p in waiting]) + header <= MAX_MESSAGE - HEADROOM


def read(result: dict[str, Any], asked: Sequence[Waiting]) -> list[Refusal | None]:
    """What became of each outcome; a queue that does not say is at fault."""
    results = result.get("results", [])
    told: list[Refusal | None] = []
    for number, (args, _) in enumerate(asked):
        if number >= len(results):
            why = "the queue did not say what became of it"
            told.append(WireError(Reason.BAD_HEADER, why, str(args.get("uuid", ""))))
        elif error := results[number].get("error"):
            told.append(refusal_of(error, str(args.get("uuid", ""))))
        else:
            told.append(None)
    return told


def refusal_of(error: Any, uuid: str) -> Refusal | None:
    """The refusal in an error object of the door."""
    if not error:
        return None
    code, detail = str(error.get("code", "")), str(error.get("detail", ""))
    try:
        return Refusal(Reason(code), detail, uuid)
    except ValueError:
        return WireError(Reason.BAD_HEADER, f"the queue answered {code!r}: {detail}", uuid)


class Settling:
    """Tells of every outcome that was added, once, after the queue's answer: those of one call together."""

    def __init__(self, door: DoorPort, holder: str, told: Told) -> None:
        self._door = door
        self._holder = holder
        self._told = told
        self._waiting: list[Waiting] = []
        self._under_way = 0

    def __len__(self) -> int:
        return len(self._waiting) + self._under_way

    def add(self, outcomes: Sequence[Waiting]) -> None:
        self._waiting += outcomes
        self._flush()

    def _flush(self) -> None:
        while self._waiting and self._under_way < AT_ONCE:
            count = batch(self._waiting)
            sent, self._waiting = self._waiting[:count], self._waiting[count:]
            self._under_way += 1
            args = {"holder": self._holder, "outcomes": [args for args, _ in sent]}
            asked = self._door.ask("settle", args, b"".join([payload for _, payload in sent]))
            asked.add_done_callback(partial(self._answered, sent))

    def _answered(self, sent: list[Waiting], asked: asyncio.Future[tuple[dict[str, Any], bytes]]) -> None:
        self._under_way -= 1
        if asked.cancelled():
            return
        error = asked.exception()
        if isinstance(error, Refusal):
            told: list[Refusal | None] = [error] * len(sent)
        elif error is not None:
            raise error
        else:
            told = read(asked.result()[0], sent)
        self._flush()
        self._told([(args, refusal) for (args, _), refusal in zip(sent, told, strict=True)])
