"""A stand-in for the router of workload L that decides nothing: the same libraries, streams and commits.

There is no more code than carries a command through them, so what it costs is what nobody saves who builds
on these. A command is stored (fsync) and receipted; its lease is stored, then it is handed out; its outcome
and reply are stored, then the reply goes back. Left out is everything else: checks, deduplication, order,
fencing, deadlines, limits, encryption, the journal. Run as: python floor_router.py SOCKET STORE.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import grpc
import grpc.aio

from zconnector.errors import StorageError
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, types_pb2, worker_pb2
from zconnector.runtime import loop
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


class Router:
    """Between the two streams and the store."""

    def __init__(self, commits: GroupCommit) -> None:
        self._commits = commits
        self._client = Line(submit_frame)
        self._worker = Line(work_frame)

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        made = {
            "Submit": grpc.stream_stream_rpc_method_handler(self._submit),
            "Work": grpc.stream_stream_rpc_method_handler(self._work),
        }
        return grpc.method_handlers_generic_handler(SERVICE, made)

    async def _submit(self, _: Any, context: Any) -> None:
        await self._serve(context, self._client, self._submitted)

    async def _work(self, _: Any, context: Any) -> None:
        await self._serve(context, self._worker, self._ended)

    async def _serve(self, context: Any, line: Line, heard: Callable[[bytes], None]) -> None:
        await context.send_initial_metadata(())
        writer = asyncio.ensure_future(line.write(context))
        try:
            while (raw := await context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
                heard(raw)
        finally:
            writer.cancel()

    def _submitted(self, raw: bytes) -> None:
        commands = list(commands_pb2.SubmitRequest.FromString(raw).commands)

        def stored(outcome: list[Any] | StorageError) -> None:
            assert not isinstance(outcome, StorageError), outcome
            accepted = types_pb2.Receipt.ACCEPTED
            self._client.put([types_pb2.Receipt(uuid=each.uuid, outcome=accepted) for each in commands])
            self._commits.submit([(each.uuid, LEASED, None) for each in commands], leased)

        def leased(outcome: list[Any] | StorageError) -> None:
            assert not isinstance(outcome, StorageError), outcome
            self._worker.put(
                [
                    types_pb2.Command(
                        uuid=each.uuid, token=each.uuid, attempt=1, command=each.command, payload=each.payload
                    )
                    for each in commands
                ]
            )

        self._commits.submit([(each.uuid, STORED, each.SerializeToString()) for each in commands], stored)

    def _ended(self, raw: bytes) -> None:
        outcomes = list(worker_pb2.WorkRequest.FromString(raw).outcomes)

        def stored(outcome: list[Any] | StorageError) -> None:
            assert not isinstance(outcome, StorageError), outcome
            self._client.put(
                [types_pb2.Reply(uuid=each.uuid, ok=True, payload=each.payload) for each in outcomes]
            )
            ack = types_pb2.Outcome.ACK
            self._worker.put([types_pb2.Settled(uuid=each.uuid, kind=ack) for each in outcomes])

        self._commits.submit([(each.uuid, DONE, each.payload) for each in outcomes], stored)


async def main(socket: str, store: str) -> None:
    commits = GroupCommit(Rows(Path(store)), asyncio.get_running_loop())
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Router(commits).handlers(),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    loop.run(main(*sys.argv[1:3]))
