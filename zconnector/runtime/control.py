"""The control socket: how `status` and the other commands talk to a running component.

A unix socket in the 0700 state directory; one JSON object a line: `{"op", "args"}`, answered by
`{"ok": {...}}` or `{"error": {"reason", "detail"}}`, in order.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from zconnector.errors import ConfigError, NotRunningError, Reason, Refusal, ZConnectorError
from zconnector.messages.depth import MAX_DEPTH, is_deeper
from zconnector.runtime.statedir import find_socket, remove_socket, socket_path

_NAME = "control.sock"
MAX_LINE = 8 << 20
"""Bytes of one request or answer."""

Reply = Callable[[Mapping[str, Any] | Refusal], None]
Handler = Callable[[str, Mapping[str, Any], Reply], None]


class ControlServer:
    """Serves the control socket of one state directory, whose lock this process holds."""

    def __init__(self, state_dir: Path, handler: Handler) -> None:
        """`handler` gets op, args and a function to be called once with the result or the refusal."""
        self._state_dir = state_dir
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> Path:
        """Begin to serve; returns the socket's path.

        Raises:
            ConfigError: the socket cannot be made.
        """
        path = socket_path(self._state_dir, _NAME)
        try:
            path.unlink(missing_ok=True)  # of a process that was killed: we have the lock
            self._server = await asyncio.start_unix_server(self._accepted, path, limit=MAX_LINE)
            path.chmod(0o600)
        except OSError as error:
            raise ConfigError(f"cannot make control socket {path}: {error.strerror}") from None
        return path

    async def close(self) -> None:
        """End all connections and leave no socket file."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        remove_socket(self._state_dir, _NAME)
        self._server = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.CancelledError):
            # The client has gone, or the process ends: nobody waits for the rest.
            return
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request. Returns whether the connection goes on."""
        try:
            line = await reader.readline()
        except ValueError:
            refusal = Refusal(Reason.TOO_LARGE, f"request over {MAX_LINE} bytes")
            writer.write(_line(refusal))
            await writer.drain()
            return False
        if not line:
            return False
        writer.write(_line(await self._answer(line)))
        await writer.drain()
        return True

    async def _answer(self, line: bytes) -> Mapping[str, Any] | Refusal:
        try:
            request = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return Refusal(Reason.BAD_ARGUMENT, f"request is no JSON: {error}")
        if type(request) is not dict or type(request.get("op")) is not str:
            return Refusal(Reason.BAD_ARGUMENT, 'request must be an object with a string "op"')
        if is_deeper(request, MAX_DEPTH):
            return Refusal(Reason.BAD_ARGUMENT, f"request is nested deeper than {MAX_DEPTH} levels")
        args = request.get("args", {})
        if type(args) is not dict:
            return Refusal(Reason.BAD_ARGUMENT, '"args" must be an object')
        answered: asyncio.Future[Mapping[str, Any] | Refusal] = asyncio.get_running_loop().create_future()

        def reply(outcome: Mapping[str, Any] | Refusal) -> None:
            if not answered.done():  # else the client has gone meanwhile
                answered.set_result(outcome)

        self._handler(request["op"], args, reply)
        return await answered


def _line(outcome: Mapping[str, Any] | Refusal) -> bytes:
    if isinstance(outcome, Refusal):
        content: dict[str, Any] = {"error": {"reason": str(outcome.reason), "detail": outcome.detail}}
    else:
        content = {"ok": outcome}
    return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)


def request(state_dir: Path, op: str, args: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Ask the component of a state directory; waits for its answer for up to `timeout` seconds.

    Raises:
        NotRunningError: nothing runs there, or it does not answer in time.
        Refusal: it refused, with the reason.
    """
    path = find_socket(state_dir, _NAME)
    content = orjson.dumps({"op": op, "args": args}, option=orjson.OPT_APPEND_NEWLINE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(content)
            with connection.makefile("rb") as file:
                line = file.readline()
        except TimeoutError:
            raise NotRunningError(f"no answer from {path} within {timeout:g} s") from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunningError(f"nothing runs in {state_dir}") from None
        except OSError as error:
            raise NotRunningError(f"cannot talk to {path}: {error.strerror or error}") from None
    if not line.endswith(b"\n"):
        raise NotRunningError(f"the component of {state_dir} ended before it answered")
    answer = orjson.loads(line)
    if "error" in answer:
        raise _refusal(answer["error"])
    result: dict[str, Any] = answer["ok"]
    return result


def _refusal(error: Mapping[str, str]) -> ZConnectorError:
    try:
        return Refusal(Reason(error["reason"]), error["detail"])
    except ValueError:
        # A newer component with a reason that this one does not know.
        return ZConnectorError(f"{error['reason']}: {error['detail']}")
