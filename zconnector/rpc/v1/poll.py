"""Poll and Complete: the worker's side for languages that have only unary calls."""

from __future__ import annotations

import asyncio
from typing import Any

from zconnector.errors import Reason, Refusal
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as types
from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as pb
from zconnector.rpc.convert import Args
from zconnector.rpc.port import DoorPort
from zconnector.rpc.v1.convert import between, lease
from zconnector.rpc.v1.feed import TOGETHER, split
from zconnector.rpc.v1.settling import batch, read
from zconnector.rpc.v1.status import item_refusal
from zconnector.rpc.v1.tidings import ignore
from zconnector.rpc.v1.work_convert import (
    fill_command,
    names,
    outcome_args,
    worker_args,
)

MOST_OUTCOMES = 1_000
MAX_WAIT = 86_400_000
"""Milliseconds."""


async def poll(door: DoorPort, request: Any) -> Any:
    """Wait for commands. A client that goes before it has the answer leaves them in the queue.

    Raises:
        Refusal: BAD_ARGUMENT, or what the queue said.
    """
    wanted = names(request.commands)
    if not wanted:
        raise Refusal(Reason.BAD_ARGUMENT, "commands must name at least one command")
    wait = 0
    if request.HasField("wait_ms"):
        wait = between("wait_ms", request.wait_ms, 0, MAX_WAIT) or -1
    args = {
        "holder": "",
        **worker_args(request),
        "commands": wanted,
        "limit": between("limit", request.limit or 1, 1, TOGETHER),
        "lease": lease(request.lease_ms),
        "wait_ms": wait,
    }
    result, payload = await door.call("take", args)
    items = split(result.get("commands"), payload)
    reply = pb.PollReply()
    for item, part in items:
        fill_command(reply.commands.add(), item, part)
    if items:
        leases = [{"uuid": item["uuid"], "token": item["token"]} for item, _ in items]

        def over(ended: asyncio.Task[Any]) -> None:
            if ended.cancelling():  # the client went while its answer was on the way
                asked = door.ask("give_back", {"holder": "", "leases": leases, "unseen": True})
                asked.add_done_callback(ignore)

        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(over)
    return reply


async def complete(door: DoorPort, request: Any) -> Any:
    """Settle outcomes; one that is refused says so, the others go on.

    Raises:
        Refusal: BAD_ARGUMENT for a bad batch, or what the queue said to all of it.
    """
    count = between("outcomes", len(request.outcomes), 1, MOST_OUTCOMES)
    settled: list[Any] = [None] * count
    good: list[tuple[Args, bytes]] = []
    places: list[int] = []
    for place, outcome in enumerate(request.outcomes):
        try:
            payload = outcome.payload
            good.append((outcome_args(outcome, payload), payload))
            places.append(place)
        except Refusal as refusal:
            settled[place] = _settled(outcome, refusal)
    while good:
        size = batch(good)
        sent, good = good[:size], good[size:]
        here, places = places[:size], places[size:]
        args = {"holder": "", "outcomes": [each for each, _ in sent]}
        result, _ = await door.call("settle", args, b"".join([payload for _, payload in sent]))
        for place, told in zip(here, read(result, sent), strict=True):
            settled[place] = _settled(request.outcomes[place], told)
    return pb.CompleteReply(settled=settled)


def _settled(outcome: Any, refusal: Refusal | None) -> Any:
    told = None if refusal is None else item_refusal(refusal)
    return types.Settled(uuid=outcome.uuid, kind=outcome.kind, refusal=told)
