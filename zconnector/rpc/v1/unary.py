"""Unary calls of zconnector.v1: parsed once, answered, or ended with a refusal and its details."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from zconnector.errors import Reason, Refusal
from zconnector.rpc.convert import parse
from zconnector.rpc.v1 import status
from zconnector.rpc.v1.stream import Context
from zconnector.rpc.v1.work import MissingCommands

Behaviour = Callable[[Any], Awaitable[Any]]
"""A parsed request, and its reply. May raise Refusal."""


class UnaryCalls:
    """The unary calls under way.

    Invariant: `_under_way` holds exactly those.
    """

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._under_way)

    def close(self) -> None:
        """End every call, and take no more."""
        self._closing = True
        for task in self._under_way:
            task.cancel()

    def handler(self, kind: Any, behaviour: Behaviour) -> grpc.RpcMethodHandler[Any, Any]:
        """What serves one method, whose requests are messages of that kind."""

        async def handle(raw: bytes, context: Context) -> bytes:
            try:
                reply = await self._run(behaviour(parse(kind, raw)))
                encoded: bytes = reply.SerializeToString()
                return encoded
            except Refusal as refused:
                refusal = refused
            return bytes(await abort(context, refusal))

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _run(self, call: Awaitable[Any]) -> Any:
        """A call that may wait without limit; our own end finishes it with SHUTTING_DOWN.

        It is awaited by the caller's own task: however late that is cancelled, the door hears of it.
        """
        task = asyncio.current_task()
        if task is None or self._closing:
            if asyncio.iscoroutine(call):
                call.close()
            raise shutting_down()
        self._under_way.add(task)
        try:
            return await call
        except asyncio.CancelledError:
            if not self._closing or task.uncancel():
                raise
            raise shutting_down() from None
        finally:
            self._under_way.discard(task)


async def abort(context: Context, refusal: Refusal) -> Any:
    """End a call with a refusal: its gRPC status, and google.rpc.Status beside it."""
    said = {"missing": refusal.missing} if isinstance(refusal, MissingCommands) else {}
    details: Any = status.trailing(refusal, **said)
    return await context.abort(status.code_of(refusal), str(refusal), details)


def shutting_down() -> Refusal:
    """What a call hears that our own end finishes."""
    return Refusal(Reason.SHUTTING_DOWN, "the service is closing")
