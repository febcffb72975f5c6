"""A gRPC server from its start to its end, and the unix socket that it owns meanwhile."""

from __future__ import annotations

from pathlib import Path

import grpc.aio

from zconnector.rpc.address import OwnedSocket, bind_unix


class Listening:
    """One server at a time. Its socket's path is others' again when it has stopped, or did not start."""

    def __init__(self) -> None:
        self._server: grpc.aio.Server | None = None
        self._socket: OwnedSocket | None = None

    def bind(self, server: grpc.aio.Server, wanted: Path, runtime_dir: Path | None = None) -> str:
        """Bind a server to a unix socket; returns the address to dial. Raises ConfigError."""
        self._socket = bind_unix(server.add_insecure_port, wanted, runtime_dir)
        return f"unix:{self._socket.path}"

    async def start(self, server: grpc.aio.Server) -> None:
        """Serve from now on."""
        try:
            await server.start()
        except BaseException:  # cancelled, too: the path's lock would stay ours
            self._release()
            raise
        self._server = server

    def end(self) -> grpc.aio.Server | None:
        """The server, for whoever asks first: it is to be stopped by `stop`. None: none serves."""
        server, self._server = self._server, None
        return server

    async def stop(self, server: grpc.aio.Server, grace: float) -> None:
        """Take no new calls, give the others `grace` seconds."""
        try:
            await server.stop(grace)
        finally:
            self._release()

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.release()
            self._socket = None
