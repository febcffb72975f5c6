"""zconnector.v1: any request, on any call of any service, gets a status; the service goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message_factory import GetMessageClass

from tests.fuzz.profile import seeds
from tests.fuzz.served import Served, filled, protobuf
from tests.support.connector import command, event
from zconnector.queue.door import DoorClient
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, events_pb2, operators_pb2, worker_pb2
from zconnector.rpc.operators import OperatorServer
from zconnector.rpc.server import WorkerServer
from zconnector.rpc.settings import ServiceSettings

FILES = (commands_pb2, events_pb2, worker_pb2, operators_pb2)
METHODS = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
EACH = 12
"""Requests (or streams of them) to each method."""
BAD = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}


def request(method: Any, rng: random.Random) -> bytes:
    """Of the right types mostly; else whatever a wire may carry."""
    if rng.random() < 0.2:
        return protobuf(rng) if rng.random() < 0.8 else rng.randbytes(rng.randrange(60))
    encoded: bytes = filled(GetMessageClass(method.input_type)(), rng).SerializeToString()
    return encoded


ITS_OWN = "Internal error from Core"
"""What grpcio's client says of a stream that it writes to after its deadline; nobody else was asked."""


async def call(channel: Any, method: Any, rng: random.Random) -> tuple[grpc.StatusCode, str]:
    """The status, and what was said with it."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if not method.client_streaming:
            await channel.unary_unary(path)(request(method, rng), timeout=0.5)
            return grpc.StatusCode.OK, ""
        frames = [request(method, rng) for _ in range(rng.randrange(1, 6))]

        async def sent() -> AsyncIterator[bytes]:
            for frame in frames:
                yield frame

        async for _ in channel.stream_stream(path)(sent(), timeout=0.5):
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize("seed", seeds(4))
async def test_any_request_gets_a_status_and_the_service_goes_on(
    served: Served, seed: int, tmp_path: Path
) -> None:
    client = DoorClient(served.door._context, f"ipc://{tmp_path}/door.sock")
    client.start()
    (tmp_path / "s").mkdir(mode=0o700)
    workers, operators = WorkerServer(client, "boot", ServiceSettings(hold=0.0)), OperatorServer(client)
    address = await workers.start(f"unix:{tmp_path}/s/g.sock")
    theirs = await operators.start(tmp_path / "s" / "o.sock")
    rng = random.Random(seed)
    for number in range(3):
        served.hear("a", command(f"c{number}"), event(f"e{number}", seq=number + 1))
    async with grpc.aio.insecure_channel(address) as worker, grpc.aio.insecure_channel(theirs) as operator:
        asked = [method for method in METHODS for _ in range(EACH)]
        answers = await asyncio.gather(
            *(
                call(operator if "Operator" in method.containing_service.name else worker, method, rng)
                for method in asked
            )
        )
        bad = {
            f"{method.name} {code}: {said}"
            for method, (code, said) in zip(asked, answers, strict=True)
            if code in BAD and said != ITS_OWN
        }
        assert not bad
        codes = [code for code, _ in answers]
        assert grpc.StatusCode.OK in codes
        assert grpc.StatusCode.INVALID_ARGUMENT in codes
        listed = await operator.unary_unary("/zconnector.v1.OperatorService/ListQueue", None, None)(b"")
        assert operators_pb2.ListQueueReply.FromString(listed) is not None
    await operators.stop(0.1)
    await workers.stop(0.1)
    assert workers.v1 is not None
    assert len(workers.v1) == 0
    client.close()
    served.machine.status(served.now)
