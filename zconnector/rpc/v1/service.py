"""zconnector.v1 on a gRPC server: its calls, their errors, their end.

Requests arrive as bytes and are parsed once, in the call itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from zconnector.errors import Reason, Refusal
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, events_pb2, types_pb2, worker_pb2
from zconnector.rpc.ending import shutting_down
from zconnector.rpc.port import DoorPort
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1 import poll, publish, submit, subscribe
from zconnector.rpc.v1.publish import PublishStream
from zconnector.rpc.v1.stream import Context, Stream
from zconnector.rpc.v1.submit import SubmitStream
from zconnector.rpc.v1.subscribe import SubscribeStream
from zconnector.rpc.v1.unary import UnaryCalls, abort
from zconnector.rpc.v1.work import WorkStream

SERVICES = ("zconnector.v1.WorkerService", "zconnector.v1.CommandService", "zconnector.v1.EventService")

Make = Callable[[Context], Stream]


class V1Service:
    """The calls of zconnector.v1. Keeps only who is connected: everything else lives behind the door.

    Invariant: `_streams` and `_unary` hold exactly the calls under way.
    """

    def __init__(self, door: DoorPort, boot: str, settings: ServiceSettings) -> None:
        self._door = door
        self._boot = boot
        self._settings = settings
        self._streams: set[Stream] = set()
        self._unary = UnaryCalls()
        self._closing = False

    def __len__(self) -> int:
        """Calls under way."""
        return len(self._streams) + len(self._unary)

    def handlers(self) -> list[grpc.GenericRpcHandler[Any, Any]]:
        """What to add to a server."""
        door, settings = self._door, self._settings
        worker, command, event = SERVICES
        unary = self._unary.handler
        return [
            grpc.method_handlers_generic_handler(
                worker,
                {
                    "Work": self._stream_handler(self._work),
                    "Poll": unary(worker_pb2.PollRequest, lambda r: poll.poll(door, r)),
                    "Complete": unary(worker_pb2.CompleteRequest, lambda r: poll.complete(door, r)),
                },
            ),
            grpc.method_handlers_generic_handler(
                command,
                {
                    "Send": unary(types_pb2.Submission, lambda r: submit.send(door, r, settings)),
                    "Submit": self._stream_handler(lambda c: SubmitStream(door, c, settings)),
                    "Await": unary(
                        commands_pb2.AwaitRequest, lambda r: submit.wait(door, r.uuid, r.timeout_ms)
                    ),
                },
            ),
            grpc.method_handlers_generic_handler(
                event,
                {
                    "Publish": unary(types_pb2.Publication, lambda r: publish.publish(door, r, settings)),
                    "PublishStream": self._stream_handler(lambda c: PublishStream(door, c, settings)),
                    "Subscribe": self._stream_handler(lambda c: SubscribeStream(door, c, settings)),
                    "Unsubscribe": unary(
                        events_pb2.UnsubscribeRequest, lambda r: subscribe.unsubscribe(door, r)
                    ),
                },
            ),
        ]

    def close(self) -> None:
        """End every call: what a stream has under way may still be answered for a moment."""
        self._closing = True
        for stream in list(self._streams):
            stream.close()
        self._unary.close()

    def _work(self, context: Context) -> Stream:
        return WorkStream(self._door, context, self._settings, self._boot)

    def _stream_handler(self, make: Make) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(_requests: Any, context: Context) -> None:
            try:
                await self._serve(make, context)
            except Refusal as refused:
                refusal = refused
            else:
                return
            await abort(context, refusal)

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _serve(self, make: Make, context: Context) -> None:
        if self._closing:
            raise shutting_down()
        if len(self._streams) >= self._settings.max_streams:
            raise Refusal(Reason.BUSY, f"too many streams are open, limit {self._settings.max_streams}")
        stream = make(context)
        self._streams.add(stream)
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)
