"""The Gandalf worker API: its nine calls over the queue's door.

What workers rely on, and where it is kept:
- a wait is held until there is something, without limit (`_waits`); only a cancelled call, an unknown
  iterator or our own end finish it otherwise;
- SendCommandMessage never fails fast: a Gandalf client answers each error by a new uuid in a hot loop
  for one second, so definite errors are held until that second is over (`_hold`); one that may have
  been taken is answered with its uuid;
- SendEventMessage fails only for what cannot be stored.

Requests arrive as bytes and are parsed here, not by gRPC: text that is not UTF-8 then gets an error
that says so, instead of an INTERNAL one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from zconnector.errors import Refusal
from zconnector.messages.message import is_completion
from zconnector.rpc import convert, metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc.ending import UnderWay
from zconnector.rpc.gate import Gate
from zconnector.rpc.port import DoorPort
from zconnector.rpc.settings import ServiceSettings

__all__ = ["SERVICES", "GandalfService", "ServiceSettings"]

SERVICES = ("gogrpc.Connector", "gogrpc.ConnectorCommand", "gogrpc.ConnectorEvent")

Context = grpc.aio.ServicerContext[Any, Any]
Said = Mapping[str, str]
"""The metadata of a call."""
Behaviour = Callable[[Any, Said, Context], Awaitable[Any]]


class GandalfService:
    """The nine calls. Keeps nothing: iterators, leases and registrations live behind the door.

    Invariant: `_waits` are exactly those that wait at the door without limit.
    """

    def __init__(self, door: DoorPort, boot: str, settings: ServiceSettings) -> None:
        self._door = door
        self._boot = boot
        self._settings = settings
        self._waits = UnderWay()
        self._closing = asyncio.Event()
        self._commands = Gate(door)
        """A reply that was read mostly brings its reader's next command."""
        self._completions = Gate(door)
        """A command that was handed out brings its completion."""

    def handlers(self) -> list[grpc.GenericRpcHandler[Any, Any]]:
        """What to add to a server."""
        table: dict[str, dict[str, tuple[Any, Behaviour]]] = {
            "gogrpc.Connector": {
                "SendCommandList": (pb.CommandList, self.send_command_list),
                "SendStop": (pb.Stop, self.send_stop),
            },
            "gogrpc.ConnectorCommand": {
                "SendCommandMessage": (pb.CommandMessage, self.send_command),
                "WaitCommandMessage": (pb.CommandMessageWait, self.wait_command),
                "CreateIteratorCommand": (pb.Empty, self.create_command_iterator),
            },
            "gogrpc.ConnectorEvent": {
                "SendEventMessage": (pb.EventMessage, self.send_event),
                "WaitEventMessage": (pb.EventMessageWait, self.wait_event),
                "WaitTopicMessage": (pb.TopicMessageWait, self.wait_topic),
                "CreateIteratorEvent": (pb.Empty, self.create_event_iterator),
            },
        }
        return [
            _Handlers(
                {
                    f"/{service}/{name}": grpc.unary_unary_rpc_method_handler(self._handler(kind, behaviour))
                    for service, calls in table.items()
                    for name, (kind, behaviour) in calls.items()
                }
            )
        ]

    def close(self) -> None:
        """End the waits, and what is held, with their errors; other calls go on."""
        self._closing.set()
        self._commands.open()
        self._completions.open()
        self._waits.close()

    async def send_command_list(self, request: Any, said: Said, context: Context) -> Any:
        args = convert.register_args(request, self._worker(said))
        result, _ = await self._door.call("register", args)
        trailing = [(metadata.BOOT, self._router(result))]
        missing = convert.names(result.get("missing"))
        if missing:
            trailing.append((metadata.MISSING, metadata.encode_names(missing)))
        if result.get("detail"):
            trailing.append((metadata.DETAIL, metadata.encode_text(str(result["detail"]))))
        context.set_trailing_metadata(tuple(trailing))
        return pb.Validate(valid=bool(result.get("valid")))

    async def send_stop(self, request: Any, said: Said, context: Context) -> Any:
        result, _ = await self._door.call("beat", convert.beat_args(request, self._worker(said)))
        context.set_trailing_metadata(((metadata.BOOT, self._router(result)),))
        return pb.Validate(valid=bool(result.get("valid")))

    def _router(self, result: Mapping[str, Any]) -> str:
        """Boot id of the router that answered; a front end of its own outlives its router."""
        return str(result.get("boot") or self._boot)

    async def send_command(self, request: Any, said: Said, context: Context) -> Any:
        began = asyncio.get_running_loop().time()
        args, payload = convert.command_args(
            request,
            self._worker(said),
            definite=_definite(said),
            default_timeout=self._settings.default_timeout_ms,
        )
        args["began"] = int(began * 1000)
        result, _ = await self._commands.call("send_command", args, payload)
        outcome = str(result.get("outcome", "ACCEPTED"))
        context.set_trailing_metadata(((metadata.OUTCOME, outcome),))
        return pb.CommandMessageUUID(UUID=str(result.get("uuid", args["uuid"])))

    async def wait_command(self, request: Any, said: Said, context: Context) -> Any:
        args = convert.wait_command_args(request, self._worker(said))
        _add_seen(args, said)
        header, payload = await self._waits.run(self._door.call("wait_command", args))
        self._completions.answered()
        return convert.command_message(header, payload)

    async def create_command_iterator(self, request: Any, said: Said, context: Context) -> Any:
        return await self._create_iterator("command")

    async def send_event(self, request: Any, said: Said, context: Context) -> Any:
        args, payload = convert.event_args(
            request, self._worker(said), default_timeout=self._settings.default_timeout_ms
        )
        completes = args["reference"] and is_completion(args["event"])
        await (self._completions if completes else self._door).call("send_event", args, payload)
        return pb.Empty()

    async def wait_event(self, request: Any, said: Said, context: Context) -> Any:
        return await self._next_event(request, said, context, any_event=False)

    async def wait_topic(self, request: Any, said: Said, context: Context) -> Any:
        return await self._next_event(request, said, context, any_event=True)

    async def create_event_iterator(self, request: Any, said: Said, context: Context) -> Any:
        return await self._create_iterator("event")

    async def _next_event(self, request: Any, said: Said, context: Context, *, any_event: bool) -> Any:
        args = convert.wait_event_args(request, self._worker(said), any_event=any_event)
        _add_seen(args, said)
        if said.get(metadata.RECEIPTS) == "0":  # a reader that wants none of them
            args["receipts"] = False
        header, payload = await self._waits.run(self._door.call("wait_event", args))
        if header.get("reference") and is_completion(str(header.get("event"))):
            self._commands.answered()
        if header.get("reason"):
            context.set_trailing_metadata(_why(str(header["reason"]), str(header.get("detail", "")), ""))
        return convert.event_message(header, payload)

    async def _create_iterator(self, kind: str) -> Any:
        result, _ = await self._door.call("create_iterator", {"kind": kind})
        return pb.IteratorMessage(Id=str(result.get("iterator", "")))

    def _worker(self, said: Said) -> str:
        """Who calls: what our SDK says, else the worker that this socket belongs to."""
        return said.get(metadata.WORKER) or self._settings.worker

    def _handler(self, kind: Any, behaviour: Behaviour) -> Callable[[bytes, Context], Awaitable[bytes]]:
        holds = kind is pb.CommandMessage

        async def handle(raw: bytes, context: Context) -> bytes:
            began = asyncio.get_running_loop().time() if holds else 0.0
            said = metadata.heard(context.invocation_metadata())
            try:
                reply = await behaviour(convert.parse(kind, raw), said, context)
                encoded: bytes = reply.SerializeToString()
                return encoded
            except Refusal as refused:
                refusal = refused
            if holds and not _definite(said):
                await self._hold(began)
            return await context.abort(
                getattr(grpc.StatusCode, refusal.grpc),
                str(refusal),
                _why(str(refusal.reason), refusal.detail, refusal.uuid),
            )

        return handle

    async def _hold(self, began: float) -> None:
        """Wait until the client's retry loop is over; our own end cuts it short."""
        until = began + self._settings.hold
        try:
            async with asyncio.timeout_at(until):
                await self._closing.wait()
        except TimeoutError:
            return


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs only
    """All methods of all services in one table: each call is looked up once."""

    def __init__(self, methods: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._methods = methods

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._methods.get(handler_call_details.method)


def _add_seen(args: dict[str, Any], said: Said) -> None:
    """What a reader of one message at a time says of the last one; nothing for others."""
    seen = said.get(metadata.SEEN)
    if seen is not None:
        args["seen"] = metadata.decode_text(seen)


def _definite(said: Said) -> bool:
    return said.get(metadata.DEFINITE) == "1"


def _why(reason: str, detail: str, uuid: str) -> metadata.Pairs:
    pairs = [(metadata.REASON, metadata.encode_text(reason)), (metadata.DETAIL, metadata.encode_text(detail))]
    if uuid:
        pairs.append((metadata.UUID, metadata.encode_text(uuid)))
    return tuple(pairs)
