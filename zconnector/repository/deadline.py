"""A deadline for everything that a connection does: httpx bounds each read, and who drips never ends.

Headers, one byte in half a minute, would else hold an install for weeks.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from zconnector.clock import Clock


class Deadline(httpcore.NetworkBackend):
    """Connections of which no operation goes on past `at`, which is set before each file."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inner = httpcore.SyncBackend()
        self.at = 0.0
        """Monotonic seconds."""

    @property
    def passed(self) -> bool:
        return self._clock.now().mono >= self.at

    def left(self, timeout: float | None) -> float:
        """How long an operation may take. Raises httpcore.ReadTimeout: no longer at all."""
        rest = self.at - self._clock.now().mono
        if rest <= 0:
            raise httpcore.ReadTimeout("the time for the whole file is over")
        return rest if timeout is None else min(timeout, rest)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._inner.connect_tcp(host, port, self.left(timeout), local_address, socket_options)
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    """A connection under a deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Transport(httpx.HTTPTransport):
    """httpx's own transport, on these connections.

    httpx has no parameter for it; `test_who_drips_headers_is_left` tells when its attribute has another name.
    """

    def __init__(self, authorities: ssl.SSLContext, deadline: Deadline) -> None:
        super().__init__(verify=authorities, trust_env=False)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=authorities, max_connections=1, network_backend=deadline
        )
