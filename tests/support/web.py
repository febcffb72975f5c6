"""A real web server on loopback that serves a folder, and misbehaves where it is told to."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = b"<!DOCTYPE html><html><body>Not here</body></html>"


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        web: Web = self.server.web
        web.asked.append((self.path, dict(self.headers)))
        special = web.special.get(self.path)
        if special is not None:
            special(self)
            return
        file = web.folder / self.path.lstrip("/")
        if not file.is_file():
            self.give(404, PAGE, {"Content-Type": "text/html"})
            return
        content = file.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if self.headers.get("If-None-Match") == tag:
            self.give(304, b"", {"ETag": tag})
        else:
            self.give(200, content, {"ETag": tag, "Content-Type": "application/octet-stream"})

    def give(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, *, length: int = -1
    ) -> None:
        """An answer; `length` is what it says to have, where that is a lie."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(content) if length < 0 else length))
        self.end_headers()
        self.wfile.write(content)
        if length >= 0:
            self.close_connection = True

    def reset(self) -> None:
        """End the connection as a process does that is killed."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.wfile.close()
        self.rfile.close()
        self.connection.close()
        self.close_connection = True


class Web:
    """The server; a context manager. `hold` is set at its end: who waits for it is let go then."""

    def __init__(self, folder: Path, context: ssl.SSLContext | None = None) -> None:
        self.folder = folder
        self.special: dict[str, Callable[[Answer], None]] = {}
        """Path -> what answers it, instead of the folder."""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.hold = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.web = self  # type: ignore[attr-defined]
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if context else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
