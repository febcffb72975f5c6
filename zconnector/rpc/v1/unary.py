"""Unary calls of zconnector.v1: parsed once, answered, or ended with a refusal and its details."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from zconnector.errors import Refusal
from zconnector.rpc.convert import parse
from zconnector.rpc.ending import UnderWay
from zconnector.rpc.v1 import status
from zconnector.rpc.v1.stream import Context
from zconnector.rpc.v1.work import MissingCommands

Behaviour = Callable[[Any], Awaitable[Any]]
"""A parsed request, and its reply. May raise Refusal."""


class UnaryCalls:
    """The unary calls of a service."""

    def __init__(self) -> None:
        self._under_way = UnderWay()

    def __len__(self) -> int:
        return len(self._under_way)

    def close(self) -> None:
        """End every call, and take no more."""
        self._under_way.close()

    def handler(self, kind: Any, behaviour: Behaviour) -> grpc.RpcMethodHandler[Any, Any]:
        """What serves one method, whose requests are messages of that kind."""

        async def handle(raw: bytes, context: Context) -> bytes:
            try:
                reply = await self._under_way.run(behaviour(parse(kind, raw)))
                encoded: bytes = reply.SerializeToString()
                return encoded
            except Refusal as refused:
                refusal = refused
            return bytes(await abort(context, refusal))

        return grpc.unary_unary_rpc_method_handler(handle)


async def abort(context: Context, refusal: Refusal) -> Any:
    """End a call with a refusal: its gRPC status, and google.rpc.Status beside it."""
    said = {"missing": refusal.missing} if isinstance(refusal, MissingCommands) else {}
    details: Any = status.trailing(refusal, **said)
    return await context.abort(status.code_of(refusal), str(refusal), details)
