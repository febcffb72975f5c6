"""Clients of zconnector.v1 as any language's generated code is one: for tests of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio

from zconnector.rpc._gen.zconnector.v1 import commands_pb2 as c
from zconnector.rpc._gen.zconnector.v1 import commands_pb2_grpc, events_pb2_grpc, worker_pb2_grpc
from zconnector.rpc._gen.zconnector.v1 import events_pb2 as e
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as t
from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as w

SECONDS = 10.0


class V1:
    """The stubs, on one channel."""

    def __init__(self, address: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.aio.insecure_channel(address, options=options)
        self.worker = worker_pb2_grpc.WorkerServiceStub(self.channel)
        self.commands = commands_pb2_grpc.CommandServiceStub(self.channel)
        self.events = events_pb2_grpc.EventServiceStub(self.channel)


EOF: Any = vars(grpc.aio)["EOF"]
"""Which gRPC's stubs do not know."""


class WorkClient:
    """One Work stream. What came is kept; `until` reads on until something holds."""

    def __init__(self, v1: V1) -> None:
        self.call: Any = v1.worker.Work(timeout=60)
        self.frames: list[Any] = []
        self.commands: list[Any] = []
        self.settled: list[Any] = []
        self.cancelled: list[Any] = []
        self.events: list[Any] = []
        self.acked: list[Any] = []
        self.missed: list[Any] = []
        self.drained = False
        self.beats: list[int] = []

    async def register(self, *commands: str, worker: str = "w-1", **fields: Any) -> Any:
        """Open the stream; its first answer."""
        register = w.Register(worker=worker, major=1, commands=commands, **fields)
        await self.send(register=register)
        await self.read()
        return self.frames[0].registered

    async def send(self, **fields: Any) -> None:
        await self.call.write(w.WorkRequest(**fields))

    async def outcome(self, command: Any, kind: Any, **fields: Any) -> None:
        await self.send(outcomes=[outcome(command, kind, **fields)])

    async def read(self) -> Any:
        frame = await asyncio.wait_for(self.call.read(), SECONDS)
        if frame is EOF:
            return None
        self.frames.append(frame)
        self.commands += frame.commands
        self.settled += frame.settled
        self.cancelled += frame.cancelled
        self.events += frame.events
        self.acked += frame.acked
        self.missed += frame.missed
        self.drained = self.drained or frame.HasField("drain")
        if frame.beat:
            self.beats.append(frame.beat)
        return frame

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            assert await self.read() is not None, "the stream ended"

    async def end(self) -> None:
        """Close the sending side, and read to the end."""
        await self.call.done_writing()
        while await self.read() is not None:
            pass


def outcome(command: Any, kind: Any, **fields: Any) -> Any:
    return t.Outcome(uuid=command.uuid, token=command.token, kind=kind, **fields)


async def vanish(address: str, number: int) -> None:
    """Connect, begin something that waits, and go without a word."""
    v1 = V1(address)
    how = number % 5
    call: Any
    if how == 0:
        call = v1.worker.Work()
        register = w.Register(worker=f"w-{number}", major=1, commands=["A"], concurrency=2)
        await call.write(w.WorkRequest(register=register))
        await call.read()
    elif how == 1:
        call = v1.worker.Poll(w.PollRequest(worker="w", commands=["A"]))
        await v1.channel.channel_ready()
    elif how == 2:
        call = v1.events.Subscribe()
        wish = t.Subscription(name="s", topics=[t.Topic(topic="t")])
        await call.write(e.SubscribeRequest(subscribe=wish))
        await call.read()
    elif how == 3:
        call = v1.commands.Submit()
        command = t.Submission(uuid=f"u-{number}", type="Git", command="A", reply=True)
        await call.write(c.SubmitRequest(commands=[command]))
        await call.read()
    else:
        call = v1.worker.Work()
        await call.write(w.WorkRequest(register=w.Register(worker="w", commands=["A"])))
    if number % 2:
        call.cancel()
    await v1.channel.close(None)
