"""What cannot be done is refused at once, with the reason; over the Gandalf API after its second of hold."""

from __future__ import annotations

import time
import uuid as uuid_module
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from tests.support.scene import Scene
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc as stubs
from zconnector.worker import Client, NotSent, Rejected

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUT = 10.0
AT_ONCE = 1.0
"""Seconds, a tenth of the timeout: nobody waited it out."""
HOLD = 1.0
HELD = HOLD + AT_ONCE


@dataclass(frozen=True, slots=True)
class Bad:
    """A command that nobody can be given, and why."""

    reason: str
    status: grpc.StatusCode
    type: str = "Ci"
    command: str = "BUILD"
    major: int = 0
    payload: str = '{"number": 1}'


BAD = [
    Bad("INVALID_PAYLOAD", grpc.StatusCode.INVALID_ARGUMENT, payload='{"number": 0}'),
    Bad("INVALID_PAYLOAD", grpc.StatusCode.INVALID_ARGUMENT, payload="not JSON"),
    Bad("UNKNOWN_COMMAND", grpc.StatusCode.UNIMPLEMENTED, command="DANCE"),
    Bad("UNKNOWN_VERSION", grpc.StatusCode.UNIMPLEMENTED, major=7),
    Bad("NO_SUCH_TYPE", grpc.StatusCode.NOT_FOUND, type="Mail"),
]
each = pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.reason}-{bad.payload[:3]}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("refusals") / "dev", aggregators=2)
    try:
        yield await scene.start()
    finally:
        await scene.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def git(scene: Scene) -> AsyncIterator[Client]:
    await scene.restore()
    async with Client(scene.grpc("git")) as client:
        await client.send_command("Ci", "ANYTHING", timeout=TIMEOUT)
        yield client


@each
async def test_the_sender_hears_the_reason_at_once(scene: Scene, git: Client, bad: Bad) -> None:
    begun = time.monotonic()
    with pytest.raises(Rejected) as refused:
        await git.send_command(bad.type, bad.command, bad.payload, major=bad.major, timeout=TIMEOUT)
    assert time.monotonic() - begun < AT_ONCE
    assert (refused.value.reason, refused.value.grpc) == (bad.reason, bad.status.name)
    assert refused.value.detail


async def gandalf(scene: Scene, bad: Bad) -> tuple[float, grpc.aio.AioRpcError]:
    """What a Gandalf client hears, and after how many seconds."""
    message = pb.CommandMessage(
        UUID=str(uuid_module.uuid4()),
        ConnectorType=bad.type,
        Command=bad.command,
        Payload=bad.payload,
        Major=bad.major,
        Timeout=str(int(TIMEOUT * 1000)),
    )
    async with grpc.aio.insecure_channel(scene.grpc("git")) as channel:
        begun = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stubs.ConnectorCommandStub(channel).SendCommandMessage(message)
        return time.monotonic() - begun, refused.value


@each
async def test_a_gandalf_client_hears_it_after_its_hold(scene: Scene, git: Client, bad: Bad) -> None:
    seconds, error = await gandalf(scene, bad)
    assert HOLD <= seconds < HELD
    assert error.code() is bad.status
    assert metadata.value(error.trailing_metadata(), metadata.REASON) == bad.reason


async def test_a_target_that_is_away_is_said_to_be_away(scene: Scene, git: Client) -> None:
    """At once after its end, and once everybody has noticed."""
    await scene.kill("ci")
    away = Bad("TARGET_AWAY", grpc.StatusCode.UNAVAILABLE)
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(NotSent) as refused:
            await git.send_command("Ci", "BUILD", {"number": 1}, timeout=TIMEOUT)
        assert time.monotonic() - begun < AT_ONCE
        assert refused.value.reason == away.reason
        await absent(scene, "ci")
    seconds, error = await gandalf(scene, away)
    assert HOLD <= seconds < HELD
    assert error.code() is away.status
    assert metadata.value(error.trailing_metadata(), metadata.REASON) == away.reason


async def absent(scene: Scene, name: str) -> None:
    """Wait until the cluster has noticed that a connector is away (it is asked until it has)."""
    await scene.until("cluster/1", lambda status: name not in status["tenants"]["dev"]["present"])


async def test_bad_arguments_never_leave_the_connector(scene: Scene, git: Client) -> None:
    for bad in (
        Bad("BAD_ARGUMENT", grpc.StatusCode.INVALID_ARGUMENT, command=""),
        Bad("BAD_ARGUMENT", grpc.StatusCode.INVALID_ARGUMENT, type="no such name!"),
        Bad("BAD_ARGUMENT", grpc.StatusCode.INVALID_ARGUMENT, major=1000),
    ):
        begun = time.monotonic()
        with pytest.raises(Rejected) as refused:
            await git.send_command(bad.type, bad.command, bad.payload, major=bad.major, timeout=TIMEOUT)
        assert time.monotonic() - begun < AT_ONCE
        assert refused.value.reason == bad.reason
    status = await scene.ask("git")
    assert status["in_flight"] == 0
