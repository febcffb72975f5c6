"""Where the worker service listens: sockets of its own, TCP only with TLS and a token."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.scripted_door import ScriptedDoor
from zconnector.errors import ConfigError
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc as stubs
from zconnector.rpc.server import WorkerServer
from zconnector.rpc.token import TlsSettings
from zconnector.worker import CallFailed, Client, Tls

TOKEN = "correct-horse-battery"
OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
)


async def beat(channel: grpc.aio.Channel, *sent: tuple[str, str]) -> bool:
    stub = stubs.ConnectorStub(channel)
    reply = await stub.SendStop(pb.Stop(Major=1), metadata=sent, timeout=10)
    return bool(reply.valid)


async def test_two_servers_never_share_a_socket(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'd' / 's.sock'}"
    first, second = WorkerServer(ScriptedDoor(), "b"), WorkerServer(ScriptedDoor(), "b")
    await first.start(address)
    with pytest.raises(ConfigError, match="another process serves on"):
        await second.start(address)
    async with grpc.aio.insecure_channel(address) as channel:
        assert await beat(channel) is False  # the first still answers
    await first.stop(1)
    await second.start(address)
    await second.stop(1)


async def test_a_long_path_is_served_by_a_short_one(tmp_path: Path) -> None:
    server = WorkerServer(ScriptedDoor(), "b")
    address = await server.start(f"unix:{tmp_path / ('d' * 120) / 's.sock'}", runtime_dir=tmp_path)
    assert address == server.address
    assert address.startswith(f"unix:{tmp_path}/zconnector-")
    async with grpc.aio.insecure_channel(address) as channel:
        assert await beat(channel) is False
    await server.stop(1)
    assert _sockets(tmp_path) == []


async def test_each_service_is_found_by_its_name(tmp_path: Path) -> None:
    server = WorkerServer(ScriptedDoor(), "b")
    address = await server.start(f"unix:{tmp_path / 's.sock'}")
    async with grpc.aio.insecure_channel(address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([ask]), timeout=10)]
        named = {service.name for service in answers[0].list_services_response.service}
        assert {"gogrpc.Connector", "gogrpc.ConnectorCommand", "gogrpc.ConnectorEvent"} < named
        raw: Any = channel  # as bytes, which its stubs do not know
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await raw.unary_unary("/gogrpc.Connector/Nothing")(b"", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await server.stop(1)


def _sockets(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_socket()]


async def test_a_directory_open_to_others_is_refused(open_directory: Path) -> None:
    with pytest.raises(ConfigError, match="must be 0700"):
        await WorkerServer(ScriptedDoor(), "b").start(f"unix:{open_directory / 's.sock'}")


@pytest.fixture
def open_directory(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("address", ["127.0.0.1:0", "tcp://127.0.0.1:0"])
async def test_tcp_without_tls_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="need TLS and a worker token"):
        await WorkerServer(ScriptedDoor(), "b").start(address)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [*OPENSSL.split(), "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return cert, key


async def test_tcp_with_tls_and_token(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    door = ScriptedDoor()
    server = WorkerServer(door, "b")
    address = await server.start("127.0.0.1:0", tls=TlsSettings(cert, key, TOKEN))
    credentials = Tls(TOKEN, cert).credentials()
    async with grpc.aio.secure_channel(address, credentials) as channel:
        for shown in ((), (("authorization", "Bearer wrong"),), (("authorization", TOKEN),)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await beat(channel, *shown)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert TOKEN not in str(caught.value)
        assert door.calls == []
        assert await beat(channel, ("authorization", f"Bearer {TOKEN}")) is False
    async with Client(address, tls=Tls(TOKEN, cert)) as client:
        await client.send_event("git", "PUSH")
        await client.publish("git", "PUSHED")  # over a stream of zconnector.v1
    assert [args["event"] for args in door.asked("send_event")] == ["PUSH", "PUSHED"]
    async with Client(address, tls=Tls(f"{TOKEN}-not", cert)) as stranger:
        with pytest.raises(CallFailed, match="token is missing or wrong"):
            await stranger.publish("git", "PUSHED")
    await asyncio.wait_for(server.stop(1), 10)
    assert TOKEN not in repr(TlsSettings(cert, key, TOKEN))


@pytest.mark.parametrize(
    ("address", "token", "rule"),
    [("127.0.0.1", TOKEN, "is no address"), ("127.0.0.1:0", "short", "at least 16")],
)
async def test_bad_tcp_settings_are_named(
    certificate: tuple[Path, Path], address: str, token: str, rule: str
) -> None:
    cert, key = certificate
    with pytest.raises(ConfigError, match=rule) as caught:
        await WorkerServer(ScriptedDoor(), "b").start(address, tls=TlsSettings(cert, key, token))
    assert token not in str(caught.value)
