"""Whoever is not what it says is refused, and logged without secrets; nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import zmq

from tests.support.samples import minimal
from tests.support.scene import Scene
from tests.support.stranger import Stranger, hello
from zconnector.messages.kinds import MAX_FRAME, Kind
from zconnector.messages.message import Message
from zconnector.shoset.enrolment import Enrolment
from zconnector.shoset.keys import KeyPair
from zconnector.worker import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

T = 5.0
REFUSED = 77
"""Exit status of a component that the cluster does not want (EX_NOPERM)."""
ALLOWED = (Kind.HELLO, Kind.SECRET, Kind.HEARTBEAT, Kind.GOAWAY)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("hostile") / "dev", aggregators=2)
    try:
        yield await scene.start()
    finally:
        await scene.stop()


class Traffic:
    """One command after another all the time; seconds until each was receipted."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seconds: list[float] = []

    async def command(self) -> None:
        begun = time.monotonic()
        await self._client.send_command("Ci", "ANYTHING", timeout=T)
        self.seconds.append(time.monotonic() - begun)

    async def run(self) -> None:
        while True:
            await self.command()

    def unharmed(self) -> None:
        """No command failed (`run` would have ended), and none waited out the share of an instance."""
        assert self.seconds
        assert max(self.seconds) < T / 2


@pytest_asyncio.fixture(loop_scope="module")
async def traffic(scene: Scene) -> AsyncIterator[Traffic]:
    async with Client(scene.grpc("git")) as client:
        traffic = Traffic(client)
        await traffic.command()
        running = asyncio.create_task(traffic.run())
        yield traffic
        await traffic.command()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        traffic.unharmed()


def secrets_of(enrolments: Iterable[Enrolment]) -> list[str]:
    return [enrolment.secret for enrolment in enrolments]


async def start(scene: Scene, tmp_path: Path, enrolment: Enrolment) -> tuple[int, str]:
    """A first start of a connector with this enrolment: exit status, stderr."""
    state = tmp_path / "connector"
    status, out, err = await scene.cli(
        *("connector", "--state-dir", str(state), "--enrolment-file", "-"), stdin=enrolment.encode().encode()
    )
    assert out == ""
    assert "Traceback" not in err
    assert not list(state.rglob("*.sock")), "nothing is served"
    assert not (state / "enrolment").exists(), "nothing is kept"
    return status, err


async def test_a_wrong_secret_and_then_the_right_one(scene: Scene, traffic: Traffic, tmp_path: Path) -> None:
    right = await scene.declare("spy", "Spy")
    wrong = replace(right, secret="not-" + right.secret)
    status, err = await start(scene, tmp_path, wrong)
    assert status == REFUSED
    assert "WRONG_SECRET" in err
    assert wrong.secret not in err
    with Stranger(right.endpoints[0]) as peer:  # the wrong one has bound no key
        await asyncio.to_thread(peer.greet, right)
    logs = "".join(scene.logs().values())
    assert "WRONG_SECRET" in logs
    assert not [secret for secret in secrets_of([right, wrong]) if secret in logs]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({}, "WRONG_KEY"), ({"tenant": "other"}, "WRONG_TENANT"), ({"name": "nobody"}, "UNDECLARED")],
)
async def test_a_secret_of_somebody_else(
    scene: Scene, traffic: Traffic, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    """The secret of `ci` with another key; of another tenant; under a name that nobody declared."""
    stolen = replace(scene.enrolment("ci"), **changed)
    status, err = await start(scene, tmp_path, stolen)
    assert status == REFUSED
    assert reason in err
    assert stolen.secret not in err + "".join(scene.logs().values())


async def test_without_a_validated_secret_there_is_nothing_but_hello(scene: Scene, traffic: Traffic) -> None:
    declared = await scene.declare("early", "Early")
    for kind in Kind:
        if kind in ALLOWED:
            continue
        with Stranger(declared.endpoints[0]) as peer:
            await asyncio.to_thread(peer.say, minimal(kind))
            if kind is not Kind.ERROR:  # it gets no answer, or two peers would go on for ever
                assert (await asyncio.to_thread(peer.hears_error))[0] == "NO_SESSION"
            await asyncio.to_thread(peer.say, hello(declared), minimal(kind))
            assert (await asyncio.to_thread(peer.hears_error))[0] == "NOT_VALIDATED"
    logs = scene.logs()
    assert any("peer is not validated" in log for name, log in logs.items() if "aggregator" in name)
    assert declared.secret not in "".join(logs.values())


def tcp_ports(scene: Scene) -> list[int]:
    endpoints = [c.endpoint for c in scene.stage.plan.components if c.endpoint]
    assert len(endpoints) == 3
    return [int(endpoint.rpartition(":")[2]) for endpoint in endpoints]


GARBAGE = [
    b"",
    b"\0" * 64,
    os.urandom(4096),
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff\0\0\0\0\0\0\0\x01\x7f\x03",  # half of a ZMTP greeting
    b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".ljust(64, b"\0") + os.urandom(200),
    b'{"op":' * 1000 + b"\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(300),
]


def throw(address: str | tuple[str, int], content: bytes) -> socket.socket:
    """Connect, send, and stay connected."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(T)
    connection.connect(address)
    with contextlib.suppress(OSError):  # it may have thrown us out already
        connection.sendall(content)
    return connection


async def test_garbage_on_every_port_and_socket(scene: Scene, traffic: Traffic) -> None:
    addresses: list[str | tuple[str, int]] = [("127.0.0.1", port) for port in tcp_ports(scene)]
    found = [path for path in scene.state_dir.rglob("*") if path.is_socket()]
    assert {path.name for path in found} == {"control.sock", "grpc.sock", "operators.sock", "door.sock"}
    addresses += [str(path) for path in found]
    open_ones = [
        await asyncio.to_thread(throw, address, content) for address in addresses for content in GARBAGE
    ]
    before = len(traffic.seconds)
    while len(traffic.seconds) < before + 20:
        await traffic.command()
    for connection in open_ones:
        connection.close()
    for component in scene.stage.plan.components:
        assert scene.stage.alive(component)
        await scene.ask(component.label)


@pytest.mark.parametrize("validated", [False, True])
async def test_an_oversized_frame_costs_its_sender_the_connection(
    scene: Scene, traffic: Traffic, validated: bool
) -> None:
    declared = await scene.declare(f"fat-{validated}", "Fat")
    with Stranger(declared.endpoints[0]) as peer:
        if validated:
            await asyncio.to_thread(peer.greet, declared)
        monitor = peer.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        peer.frames([b"ZC\1\2\0\0\0\0", b"{}", b"x" * (MAX_FRAME + 1)])
        assert await asyncio.to_thread(monitor.poll, int(T * 1000)), "the connection stays"
        peer.socket.disable_monitor()


async def test_a_message_for_another_tenant_is_refused_and_told_to_the_cluster(
    scene: Scene, traffic: Traffic
) -> None:
    declared = await scene.declare("liar", "Liar")
    before = (await scene.ask("cluster/1"))["tenants"]["dev"]["latest"]
    with Stranger(declared.endpoints[0]) as peer:
        await asyncio.to_thread(peer.greet, declared)
        header = {"uuid": "lie", "topic": "t", "event": "e", "tenant": "other"}
        await asyncio.to_thread(peer.say, Message(Kind.EVENT, header))
        assert await asyncio.to_thread(peer.hears_error) == ("WRONG_TENANT", "lie")
        # What the cluster has of it is an event of this tenant that says who lied.
        await scene.until("cluster/1", lambda status: status["tenants"]["dev"]["latest"] != before)
        fetch = Message(Kind.FETCH, {"uuid": "fetch", "after": before, "upto": before + 10})
        await asyncio.to_thread(peer.say, fetch)
        told = await asyncio.to_thread(peer.hears, lambda m: m.kind is Kind.EVENT and "seq" in m.header)
        assert (told.text("topic"), told.text("event")) == ("ERROR", "WRONG_TENANT")
        assert b'"lie"' in told.payload


# ---- floods

FLOODS = ["garbage", "beats", "commands for nobody", "commands", "events"]
FLOOD_SECONDS = 3.0
DELAY = 0.05
"""Seconds that a flood from one peer may delay another's heartbeat or command."""


async def flood(kind: str, enrolment: Enrolment, keys: KeyPair) -> asyncio.subprocess.Process:
    """A process that sends as fast as it can, as a validated peer; back when it has begun."""
    script = Path(__file__).parents[1] / "support" / "flooder.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), kind, str(FLOOD_SECONDS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{enrolment.encode()}\n{keys.public}\n{keys.secret}\n".encode())
    assert await asyncio.wait_for(process.stdout.readline(), T) == b"begun\n"
    return process


async def measure(client: Client, until: asyncio.Future[int] | None = None) -> list[float]:
    """Seconds to the receipt of each of some commands (while a flood goes on)."""
    taken: list[float] = []
    while len(taken) < 60 if until is None else not until.done():
        begun = time.monotonic()
        await client.send_command("Ci", "ANYTHING", timeout=T)
        taken.append(time.monotonic() - begun)
    return taken


def beats(peer: Stranger, seconds: float) -> list[float]:
    """Seconds between the heartbeats that a peer hears."""
    heard: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peer.hears(lambda m: m.kind is Kind.HEARTBEAT)
        heard.append(time.monotonic())
    return [later - earlier for earlier, later in itertools.pairwise(heard)]


async def delayed(scene: Scene, kind: str, label: str) -> float:
    """Seconds by which a flood delayed the slowest command. Nine of ten, and every beat, are in time."""
    flooder, listener = await scene.declare(f"flood-{label}", "Flood"), await scene.declare(f"l-{label}", "L")
    async with Client(scene.grpc("git")) as client:
        quiet = await measure(client)
        with Stranger(listener.endpoints[0]) as peer:
            await asyncio.to_thread(peer.greet, listener)
            process = await flood(kind, flooder, KeyPair.fresh())
            ended = asyncio.ensure_future(process.wait())
            listening = asyncio.ensure_future(asyncio.to_thread(beats, peer, FLOOD_SECONDS - 1))
            flooded = await measure(client, ended)
            gaps = await listening
        assert ended.result() == 0
    for name, taken in ("quiet", quiet), (kind, flooded):
        middle = statistics.median(taken)
        print(f"{name}: {len(taken)} receipts, median {middle:.3f} s, slowest {max(taken):.3f} s")
    print(f"longest without a beat: {max(gaps):.3f} s")
    tenths = [statistics.quantiles(each, n=10)[8] for each in (quiet, flooded)]
    assert tenths[1] <= tenths[0] + DELAY
    assert max(gaps) <= 0.75 + DELAY
    return max(flooded) - statistics.median(quiet)


@pytest.mark.quiet
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_from_one_peer_holds_up_nobody_else(scene: Scene, kind: str) -> None:
    """What this machine does beside it may hold up one command in some of five floods, a flood in each."""
    delays: list[float] = []
    while not delays or delays[-1] > DELAY:
        assert len(delays) < 5, delays
        delays.append(await delayed(scene, kind, f"{kind.replace(' ', '-')}-{len(delays)}"))
    for component in scene.stage.plan.components:
        assert scene.stage.alive(component)
