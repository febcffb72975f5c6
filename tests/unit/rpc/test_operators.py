"""OperatorService: real calls over its socket, at the core of a connector."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.support.bunches import Bunches
from tests.support.connector import Connector, command
from tests.support.operator import NOT_UTF8, kill
from zconnector.errors import ConfigError
from zconnector.rpc._gen.zconnector.v1 import operators_pb2 as pb
from zconnector.rpc._gen.zconnector.v1.operators_pb2_grpc import OperatorServiceStub
from zconnector.rpc.operators import OperatorServer
from zconnector.rpc.v1.operate import METHODS, SERVICE
from zconnector.rpc.v1.status import info_of


class CoreDoor(Bunches):
    """The door of a connector's core, as a port."""

    def __init__(self, con: Connector) -> None:
        super().__init__()
        self._con = con

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        respond = self._con.responses[self._con.call(op, payload, **args)]
        if respond.error is not None:
            raise respond.error
        return dict(respond.args), respond.payload

    def ask(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> asyncio.Future[tuple[dict[str, Any], bytes]]:
        return asyncio.ensure_future(self.call(op, args, payload))


@pytest.fixture
def con() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    return con


@pytest.fixture
async def operators(con: Connector, tmp_path: Path) -> AsyncIterator[OperatorServiceStub]:
    server = OperatorServer(CoreDoor(con))
    address = await server.start(tmp_path / "run" / "operators.sock")
    async with grpc.aio.insecure_channel(address) as channel:
        yield OperatorServiceStub(channel)
    await server.stop(0)


def arrive(con: Connector, *uuids: str, name: str = "PULL", **fields: Any) -> None:
    for uuid in uuids:
        con.hear("a", command(uuid, name, **fields))


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """Status, reason and message of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    info = info_of(raised.value.trailing_metadata())
    assert info is not None
    return raised.value.code(), info.reason, raised.value.details() or ""


def test_every_method_of_the_document_is_served() -> None:
    service = pb.DESCRIPTOR.services_by_name["OperatorService"]
    assert service.full_name == SERVICE
    assert {m.name: (m.input_type.name, m.output_type.name) for m in service.methods} == {
        name: (method.request.DESCRIPTOR.name, method.reply.DESCRIPTOR.name)
        for name, method in METHODS.items()
    }


def test_every_verb_of_a_connector_but_those_of_worker_versions_is_a_method(con: Connector) -> None:
    verbs = [verb for verb in con.router.operating.verbs if not verb.startswith("worker.")]
    assert sorted(method.verb for method in METHODS.values()) == sorted(verbs)


async def test_the_queue(con: Connector, operators: OperatorServiceStub) -> None:
    arrive(con, "c1", "c2", priority=3)
    listed = await operators.ListQueue(pb.ListQueueRequest())
    (row,) = listed.rows
    assert (row.command, row.ready, row.leased, row.paused) == ("PULL", 2, 0, False)
    assert row.HasField("oldest_ms")
    peeked = await operators.PeekQueue(pb.PeekQueueRequest(command="*", limit=1))
    (waiting,) = peeked.rows
    assert (waiting.uuid, waiting.state, waiting.priority, waiting.source) == ("c1", "READY", 3, "ci")
    assert not waiting.HasField("lease")
    assert not waiting.HasField("due_ms")
    paused = await operators.PauseCommand(pb.PauseCommandRequest(command="PULL"))
    assert list(paused.paused) == ["PULL"]
    assert (await operators.ListQueue(pb.ListQueueRequest())).rows[0].paused
    assert not (await operators.ResumeCommand(pb.ResumeCommandRequest(command="PULL"))).paused
    cancelled = await operators.CancelCommand(pb.CancelCommandRequest(uuid="c1"))
    assert (cancelled.uuid, cancelled.state) == ("c1", "DEAD")
    purged = await operators.PurgeQueue(pb.PurgeQueueRequest(command="PULL", state="ready"))
    assert (purged.n, purged.stopped_by) == (1, "")


async def test_a_leased_command_and_who_has_it(con: Connector, operators: OperatorServiceStub) -> None:
    con.call("register", worker="w", major=1, minor=0, commands=["PULL", "CLONE"])
    con.wait_command("PULL", worker="w", major=1)
    arrive(con, "c1")
    (waiting,) = (await operators.PeekQueue(pb.PeekQueueRequest(command="PULL"))).rows
    assert (waiting.state, waiting.attempt) == ("LEASED", 1)
    assert waiting.lease.worker == "w"
    workers = (await operators.ListWorkers(pb.ListWorkersRequest())).rows
    (row,) = (row for row in workers if row.worker == "w")
    assert (row.api, row.leases, list(row.commands)) == ("gandalf", 1, ["PULL", "CLONE"])


async def test_explained(con: Connector, operators: OperatorServiceStub) -> None:
    arrive(con, "c1")
    told = await operators.Explain(pb.ExplainRequest(uuid="c1"))
    assert (told.uuid, told.state, told.command) == ("c1", "READY", "PULL")
    assert told.waits_for == "no worker of major 1 registered PULL"
    assert (told.attempt, told.attempts) == (0, 5)
    assert "stored and receipted" in [step.what for step in told.history]


async def test_dead_letters(con: Connector, operators: OperatorServiceStub) -> None:
    kill(con, "c1", "c2", "c3")
    page = await operators.ListDeadLetters(pb.ListDeadLettersRequest(limit=2))
    assert [letter.uuid for letter in page.rows] == ["c1", "c2"]
    rest = await operators.ListDeadLetters(pb.ListDeadLettersRequest(after=page.next))
    assert ([letter.uuid for letter in rest.rows], rest.next) == (["c3"], 0)
    one = await operators.ListDeadLetters(pb.ListDeadLettersRequest(uuid="c2"))
    assert [letter.reason for letter in one.rows] == ["INVALID_PAYLOAD"]
    none = pb.ListDeadLettersRequest(filter=pb.LetterFilter(reason="EXPIRED", older_ms=0))
    assert not (await operators.ListDeadLetters(none)).rows

    shown = await operators.ShowDeadLetter(pb.ShowDeadLetterRequest(uuid="c1"))
    assert (shown.letter.uuid, shown.header["command"], shown.payload) == ("c1", "PULL", NOT_UTF8)
    await operators.EditDeadLetter(pb.EditDeadLetterRequest(uuid="c1", payload=b'{"n": 1}'))
    assert (await operators.ShowDeadLetter(pb.ShowDeadLetterRequest(uuid="c1"))).payload == b'{"n": 1}'
    replayed = await operators.ReplayDeadLetters(
        pb.ReplayDeadLettersRequest(filter=pb.LetterFilter(command="PULL"))
    )
    assert [pair.replay_of for pair in replayed.uuids] == ["c1"]
    assert {(one.uuid, one.reason) for one in replayed.refused} == {
        ("c2", "INVALID_PAYLOAD"),
        ("c3", "INVALID_PAYLOAD"),
    }
    assert (await operators.PurgeDeadLetters(pb.PurgeDeadLettersRequest(uuid="c2"))).n == 1
    assert (await operators.PurgeDeadLetters(pb.PurgeDeadLettersRequest(all=True))).n == 1


async def test_an_answer_that_no_header_could_carry(con: Connector, operators: OperatorServiceStub) -> None:
    kill(con, *(f"c-{number}" for number in range(400)))
    page = await operators.ListDeadLetters(pb.ListDeadLettersRequest(limit=1_000))
    assert len(page.rows) == 400


async def test_what_is_wrong_is_said(con: Connector, operators: OperatorServiceStub) -> None:
    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    kill(con, "c1")
    for request in (
        pb.PurgeDeadLettersRequest(),
        pb.PurgeDeadLettersRequest(all=False),
        pb.PurgeDeadLettersRequest(filter=pb.LetterFilter()),
    ):
        code, reason, told = await refusal(operators.PurgeDeadLetters(request))
        assert (code, reason) == (invalid, "BAD_ARGUMENT")
        assert "or all: true" in told
    code, _, told = await refusal(operators.PurgeDeadLetters(pb.PurgeDeadLettersRequest(uuid="")))
    assert (code, "uuid is missing" in told) == (invalid, True)
    code, _, told = await refusal(operators.PeekQueue(pb.PeekQueueRequest(command="PULL", limit=101)))
    assert (code, "limit" in told) == (invalid, True)
    for call in (
        operators.Explain(pb.ExplainRequest(uuid="none")),
        operators.CancelCommand(pb.CancelCommandRequest(uuid="none")),
        operators.ShowDeadLetter(pb.ShowDeadLetterRequest(uuid="none")),
        operators.ReplayDeadLetters(pb.ReplayDeadLettersRequest(uuid="none")),
    ):
        code, reason, told = await refusal(call)
        assert (code, reason, "none" in told) == (missing, "NOT_FOUND", True)
    assert (await operators.PurgeDeadLetters(pb.PurgeDeadLettersRequest(all=True))).n == 1


async def test_nobody_else_can_reach_it_and_it_leaves_nothing(con: Connector, tmp_path: Path) -> None:
    path = tmp_path / "run" / "operators.sock"
    server = OperatorServer(CoreDoor(con))
    address = await server.start(path)
    assert address == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(ConfigError, match="another process serves on"):
        await OperatorServer(CoreDoor(con)).start(path)
    await server.stop(0)
    await server.stop(0)
    assert not path.exists()
