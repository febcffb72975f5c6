"""The worker token: who may call over TCP."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from zconnector.errors import ConfigError
from zconnector.rpc import metadata

MIN_TOKEN = 16
"""Characters of a token that is worth the name."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What serving over TCP needs: a certificate, its key, and the token that workers show."""

    cert: Path
    key: Path
    token: str = field(repr=False)

    def credentials(self) -> grpc.ServerCredentials:
        """Raises:
        ConfigError: a file cannot be read, or the token is too short.
        """
        if len(self.token) < MIN_TOKEN or not self.token.isascii():
            raise ConfigError(f"the worker token must have at least {MIN_TOKEN} ASCII characters")
        try:
            key, cert = self.key.read_bytes(), self.cert.read_bytes()
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from None
        return grpc.ssl_server_credentials([(key, cert)])


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Refuses every call that does not show the token; compares in constant time."""

    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        shown = metadata.value(handler_call_details.invocation_metadata, metadata.AUTHORIZATION)
        if handler is None or hmac.compare_digest(shown.encode(), self._wanted):
            return handler
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(_refuse)
        return grpc.unary_unary_rpc_method_handler(_refuse)


async def _refuse(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the worker token is missing or wrong")
