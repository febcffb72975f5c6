"""What a process on the same machine can send: gRPC requests, control lines, frames at the queue's door.

Each gets a definite answer (or, at the door, none), and the next caller is served.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import orjson
import pytest
import zmq

from tests.fuzz.hostile import transmission
from tests.fuzz.profile import seeds
from tests.fuzz.served import Served, protobuf
from tests.support.connector import command, event
from tests.unit.cluster.bench import Bench, topology
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.queue.door import DoorClient
from zconnector.rpc import metadata
from zconnector.rpc.gandalf import GandalfService, ServiceSettings
from zconnector.rpc.server import WorkerServer
from zconnector.runtime.control import ControlServer

CALLS = [
    *("/gogrpc.Connector/SendCommandList", "/gogrpc.Connector/SendStop"),
    *("/gogrpc.ConnectorCommand/SendCommandMessage", "/gogrpc.ConnectorCommand/WaitCommandMessage"),
    *("/gogrpc.ConnectorCommand/CreateIteratorCommand", "/gogrpc.ConnectorEvent/SendEventMessage"),
    *("/gogrpc.ConnectorEvent/WaitEventMessage", "/gogrpc.ConnectorEvent/WaitTopicMessage"),
    "/gogrpc.ConnectorEvent/CreateIteratorEvent",
]
# ---- gRPC


def told(rng: random.Random) -> list[tuple[str, str]]:
    """Metadata: always that errors are told at once; sometimes what our SDK says, and sometimes nonsense."""
    odd = ("", "w1", "%ff", "%", "x" * 2000, "a b", "%C3%A9")
    ours = (metadata.WORKER, metadata.SEEN, metadata.RECEIPTS, metadata.UUID)
    names = [name for name in ours if rng.random() < 0.3]
    return [(metadata.DEFINITE, "1"), *((name, rng.choice(odd)) for name in names)]


@pytest.mark.parametrize("seed", seeds(4))
async def test_any_request_gets_a_status_and_the_service_goes_on(
    served: Served, seed: int, tmp_path: Path
) -> None:
    client = DoorClient(served.door._context, f"ipc://{tmp_path}/door.sock")
    client.start()
    server = WorkerServer(client, "boot", ServiceSettings(hold=0.0))
    (tmp_path / "s").mkdir(mode=0o700)
    address = await server.start(f"unix:{tmp_path}/s/g.sock")
    rng = random.Random(seed)
    async with grpc.aio.insecure_channel(address) as channel:

        async def call(path: str, raw: bytes, said: Any, seconds: float = 0.5) -> grpc.StatusCode:
            method = channel.unary_unary(path, request_serializer=None, response_deserializer=None)
            try:
                await method(raw, timeout=seconds, metadata=said)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        for number in range(3):
            served.hear("a", command(f"c{number}"), event(f"e{number}", seq=number + 1))
        calls = [
            call(path, protobuf(rng) if rng.random() < 0.8 else rng.randbytes(rng.randrange(60)), told(rng))
            for path in CALLS
            for _ in range(25)
        ]
        codes = await asyncio.gather(*calls)
        bad = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}
        assert not bad & set(codes), [p for p, c in zip(CALLS * 25, codes, strict=True) if c in bad]
        assert grpc.StatusCode.OK in codes
        after = await call("/gogrpc.ConnectorEvent/CreateIteratorEvent", b"", (), seconds=30)
        assert after is grpc.StatusCode.OK
    await server.stop(0.1)
    client.close()
    served.machine.status(served.now)


def test_all_nine_calls_are_here() -> None:
    service = GandalfService(None, "", ServiceSettings())  # type: ignore[arg-type]
    assert len(CALLS) == 9
    for handler in service.handlers():
        details: list[Any] = [_Details(path) for path in CALLS]
        assert any(handler.service(each) is not None for each in details)


class _Details:
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


# ---- the queue's door

OPS = [
    *(
        "register",
        "beat",
        "send_command",
        "send_event",
        "create_iterator",
        "wait_command",
        "wait_event",
        "status",
    ),
    *("take", "settle", "give_back", "adopt", "tidings", "operate", "operate", "operate"),
    *("alive", "nonsense", ""),
]
VERBS = [
    *("queue.ls", "queue.peek", "queue.pause", "queue.resume", "queue.purge", "workers", "cancel", "explain"),
    *("dead.ls", "dead.show", "dead.edit", "dead.replay", "dead.purge", "nonsense"),
]
NAMES = [
    *(
        "uuid",
        "type",
        "command",
        "timeout",
        "major",
        "minor",
        "admin",
        "context",
        "token",
        "worker",
        "seen",
        "definite",
    ),
    *("topic", "event", "reference", "iterator", "kind", "commands", "tenant", "command_type"),
    *("holder", "limit", "lease", "wait_ms", "outcomes", "leases", "unseen", "delay", "ttl", "retry"),
    *("priority", "order_key"),
    *("state", "after", "older_ms", "reason", "all", "payload"),
]
ANYTHING: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        200,
        2**53,
        1.5,
        "",
        "x",
        "é" * 200,
        "y" * 5000,
        [],
        ["a"],
        [1],
        {},
        {"a": [1]},
        "Git",
        "CLONE",
    ),
    *("command", "event", "SUCCES", "c1", [["a"]] * 50, ["n" * 300]),
    *([{}], [{"uuid": "c1", "token": "t"}], [{"uuid": "c1", "outcome": "ack", "size": 8}], {"attempts": 2}),
    *([{"uuid": [], "token": {}}], [{"outcome": "nak", "delay": 2**60}], {"tries": 1}, {"first": True}),
]


def door_call(rng: random.Random) -> list[bytes]:
    args = {name: rng.choice(ANYTHING) for name in rng.sample(NAMES, rng.randrange(8))}
    op = rng.choice(OPS)
    if op == "operate":
        args["verb"] = rng.choice(VERBS)
    header = {"call": rng.randrange(50), "op": op, "args": args}
    return encode_one(Message(rng.choice((Kind.CALL, Kind.CALL, Kind.CANCEL)), header, rng.randbytes(8)))


@pytest.mark.parametrize("seed", seeds(4))
async def test_any_frames_at_the_door_and_the_next_client_is_served(
    served: Served, context: Any, seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    served.hear("a", command("c1"))
    endpoint = f"ipc://{tmp_path}/door.sock"
    strangers = [context.socket(zmq.DEALER) for _ in range(3)]
    for stranger in strangers:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(endpoint)
    honest = DoorClient(context, endpoint)
    honest.start()
    for _ in range(6):
        for _ in range(60):
            frames = transmission(rng) if rng.random() < 0.4 else door_call(rng)
            rng.choice(strangers).send_multipart(frames or [b""])
        made, _ = await asyncio.wait_for(honest.call("create_iterator", {"kind": "event"}), 10)
        assert made["iterator"]
    for stranger in strangers:
        stranger.close()
    honest.close()
    served.wait(2.0)
    served.machine.status(served.now)


# ---- the control socket

OPERATIONS = [
    *("status", "secret_create", "secret_list", "secret_rebind", "secret_revoke", "pivot_put", "pivot_show"),
    *("config_set", "config_change", "config_get", "explain", "nonsense", ""),
]
ARGUMENTS: dict[str, list[Any]] = {
    "tenant": ["acme", "beta", ""],
    "kind": ["connector", "aggregator", "member"],
    "name": ["git", "ci", "new", "agg", "Ci"],
    "instance": ["0", "a", "b"],
    "type": ["Git", "Ci"],
    "aggregator": ["agg"],
    "product": ["P", ""],
    "uuid": ["c1", ""],
    "permissions": [["*"], ["Git:CLONE"], ["é"]],
    "endpoints": [[{"instance": "a", "endpoint": "tcp://a", "key": "k" * 40}], [{}]],
    "values": [{"a": 1}, {"x": "y" * 2_000_000}],
    "set": [{"keys.a": 1}, {"versions": ["1.0"]}, {"gate": {"seconds": 1}}, {"keys": 5}, {"é.": [1]}],
    "unset": [["keys"], ["keys.a"], ["nothing", 5], []],
    "yaml": ["name: Ci\nmajor: 1\n", "a: 2001-99-99", "a: !!int x", "[" * 3000, "&a [*a]"],
    "json": [
        {"name": "Ci", "major": 1},
        {"name": "Ci", "major": 1, "keys": [{"name": "A", "defaultValue": []}]},
    ],
}


def deep(rng: random.Random) -> Any:
    value: Any = []
    for _ in range(rng.choice((3, 90, 120, 240))):
        value = [value] if rng.random() < 0.5 else {"x": value}
    return value


def control_line(rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        return rng.choice(
            (b"{", b"[]", b"null", rng.randbytes(20).replace(b"\n", b""), b'{"op":5}', b"[" * 5000)
        )
    args = {
        name: rng.choice(values) if rng.random() < 0.75 else rng.choice([*ANYTHING, deep(rng)])
        for name, values in ARGUMENTS.items()
        if rng.random() < 0.6
    }
    line = orjson.dumps({"op": rng.choice(OPERATIONS), "args": args})
    return line if rng.random() < 0.95 else line.replace(b"[]", b"[" * 1000 + b"]" * 1000)


@pytest.mark.parametrize("seed", seeds(4))
async def test_any_control_line_is_answered_in_one_line(seed: int, tmp_path: Path) -> None:
    bench = Bench(strict=False)
    topology("acme", "a", bench)

    def handle(op: str, args: Mapping[str, Any], reply: Any) -> None:
        bench.perform(bench.router.control(op, args, bench.now, reply))

    (tmp_path / "d").mkdir(mode=0o700)
    server = ControlServer(tmp_path / "d", handle)
    path = await server.start()
    reader, writer = await asyncio.open_unix_connection(path, limit=64 << 20)
    rng = random.Random(seed)
    for _ in range(150):
        line = control_line(rng)
        writer.write(line + b"\n")
        answer = await asyncio.wait_for(reader.readline(), 30)
        assert answer.endswith(b"\n"), line[:300]
        outcome = orjson.loads(answer)
        assert set(outcome) in ({"ok"}, {"error"}), line[:300]
        if "error" in outcome:
            assert len(outcome["error"]["detail"]) < 2000
    writer.write(b'{"op":"status"}\n')
    assert b'"ok"' in await reader.readline()
    writer.close()
    await server.close()
    bench.boot()  # whatever was stored can be read again
