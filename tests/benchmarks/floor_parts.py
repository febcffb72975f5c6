"""Parts of the stand-ins that decide nothing (floor_router.py, floor_connector.py): streams and a store."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from zconnector.errors import StorageError
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, types_pb2, worker_pb2
from zconnector.storage.sqlite import Database
from zconnector.storage.writer import GroupCommit

SERVICE = "zconnector.bench.Floor"
SCHEMA = "CREATE TABLE row (key TEXT PRIMARY KEY, state INTEGER, body BLOB) WITHOUT ROWID"
STORED, LEASED, DONE = range(3)

Write = tuple[str, int, bytes | None]


def opened(channel: grpc.aio.Channel, method: str) -> Any:
    """A stream of this stand-in, whose frames are bytes."""
    stream: Any = channel.stream_stream
    return stream(f"/{SERVICE}/{method}")()


class Rows:
    """The store of a GroupCommit: one row a command, which its lease and its end change."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, [SCHEMA])

    def commit(self, writes: Sequence[Write]) -> list[Any]:
        new = [(key, state, body) for key, state, body in writes if state == STORED]
        later = [(state, body, key) for key, state, body in writes if state != STORED]
        with self._database.transaction() as transaction:
            if new:
                transaction.execute_many("INSERT INTO row VALUES (?, ?, ?)", new)
            if later:
                sql = "UPDATE row SET state = ?, body = coalesce(?, body) WHERE key = ?"
                transaction.execute_many(sql, later)
        return [None] * len(writes)

    def close(self) -> None:
        self._database.close()


class Line:
    """What is put aside for one stream; written as one frame as soon as the one before is."""

    def __init__(self, frame: Callable[[list[Any]], bytes]) -> None:
        self._frame = frame
        self._items: list[Any] = []
        self._wake = asyncio.Event()

    def put(self, items: list[Any]) -> None:
        self._items += items
        self._wake.set()

    async def write(self, context: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._items:
                items, self._items = self._items, []
                await context.write(self._frame(items))


def submit_frame(items: list[Any]) -> bytes:
    receipts = [item for item in items if isinstance(item, types_pb2.Receipt)]
    replies = [item for item in items if isinstance(item, types_pb2.Reply)]
    frame = commands_pb2.SubmitReply(receipts=receipts, replies=replies)
    return bytes(frame.SerializeToString())


def work_frame(items: list[Any]) -> bytes:
    commands = [item for item in items if isinstance(item, types_pb2.Command)]
    settled = [item for item in items if isinstance(item, types_pb2.Settled)]
    return bytes(worker_pb2.WorkReply(commands=commands, settled=settled).SerializeToString())


class Served(ABC):
    """Two streams, one of the client and one of the worker; and a store behind them."""

    def __init__(self, commits: GroupCommit) -> None:
        self._commits = commits
        self._client = Line(submit_frame)
        self._worker = Line(work_frame)

    async def serve(self, socket: str) -> None:
        """For ever."""
        made = {
            "Submit": grpc.stream_stream_rpc_method_handler(self._submit),
            "Work": grpc.stream_stream_rpc_method_handler(self._work),
        }
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, made),))
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        print("ready", flush=True)
        await asyncio.Event().wait()

    @abstractmethod
    def submitted(self, raw: bytes) -> None:
        """A frame of the client's."""

    @abstractmethod
    def ended(self, raw: bytes) -> None:
        """A frame of the worker's."""

    def store(self, writes: Sequence[Write], then: Callable[[], None]) -> None:
        """Make rows durable, and go on."""

        def done(outcome: list[Any] | StorageError) -> None:
            assert not isinstance(outcome, StorageError), outcome
            then()

        self._commits.submit(writes, done)

    def receipt(self, uuids: Sequence[str]) -> None:
        """Tell the client."""
        accepted = types_pb2.Receipt.ACCEPTED
        self._client.put([types_pb2.Receipt(uuid=uuid, outcome=accepted) for uuid in uuids])

    def reply(self, outcomes: Sequence[Any]) -> None:
        """Tell the client."""
        self._client.put(
            [types_pb2.Reply(uuid=each.uuid, ok=True, payload=each.payload) for each in outcomes]
        )

    def hand_out(self, commands: Sequence[Any]) -> None:
        """To the worker, as soon as the leases are stored."""

        def leased() -> None:
            self._worker.put(
                [
                    types_pb2.Command(
                        uuid=each.uuid, token=each.uuid, attempt=1, command=each.command, payload=each.payload
                    )
                    for each in commands
                ]
            )

        self.store([(each.uuid, LEASED, None) for each in commands], leased)

    def settled(self, outcomes: Sequence[Any]) -> None:
        """Tell the worker."""
        ack = types_pb2.Outcome.ACK
        self._worker.put([types_pb2.Settled(uuid=each.uuid, kind=ack) for each in outcomes])

    async def _submit(self, _: Any, context: Any) -> None:
        await self._serve(context, self._client, self.submitted)

    async def _work(self, _: Any, context: Any) -> None:
        await self._serve(context, self._worker, self.ended)

    async def _serve(self, context: Any, line: Line, heard: Callable[[bytes], None]) -> None:
        await context.send_initial_metadata(())
        writer = asyncio.ensure_future(line.write(context))
        try:
            while (raw := await context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
                heard(raw)
        finally:
            writer.cancel()
