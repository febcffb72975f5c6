"""One component of a development topology as a child process: start, readiness, end, log.

The child says that it is ready over the sd_notify protocol (`READY=1` to the datagram socket
named in NOTIFY_SOCKET), as it would to systemd. That has an abstract name, which leaves nothing behind;
for a child that is sent into another network namespace, where such a name is not seen, it is a file, as
systemd's. The child dies with its parent (PR_SET_PDEATHSIG), so that a `zconnector dev` that is
SIGKILLed leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from zconnector.errors import ZConnectorError
from zconnector.runtime.statedir import remove_socket, socket_path

TAIL_LINES = 15
READY_SOCKET = "ready.sock"


class ChildFailedError(ZConnectorError):
    """A component ended before it was ready, or did not become ready in time."""

    exit_code = 69


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log file, indented."""
    try:
        content = log.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in content[-lines:]) or "    (the log is empty)"


def ended(status: int) -> str:
    """How a process ended, for people."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


class Child:
    """One run of one component. A restart is a new Child."""

    def __init__(
        self,
        label: str,
        argv: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        launcher: Sequence[str] = (),
        ready_in: Path | None = None,
    ) -> None:
        """`launcher`: a command line, its program with its path, that execs what follows it (nsenter).

        `ready_in`: the directory for the socket on which it says READY, where that must be a file.
        """
        self.label = label
        self.log = log
        self._argv = [*launcher, sys.executable, "-m", "zconnector", *argv]
        self._ready_in = ready_in
        self._environment = dict(environment)
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._exit: asyncio.Task[int] | None = None

    async def start(self, enrolment: str = "") -> None:
        """Start the process; a secret reaches it on its stdin, never in argv or the environment."""
        listener = self._listen()
        asyncio.get_running_loop().add_reader(listener, self._notified, listener)
        argv = [*self._argv, "--enrolment-file", "-"] if enrolment else self._argv
        try:
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *tethered(argv),
                    stdin=asyncio.subprocess.PIPE if enrolment else asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=asyncio.subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,  # Ctrl-C reaches dev alone, which ends the others in order
                )
        except BaseException:
            self._close(listener)
            raise
        self._exit = asyncio.create_task(self._process.wait())
        self._exit.add_done_callback(lambda _: self._close(listener))
        if enrolment and self._process.stdin is not None:
            self._process.stdin.write(enrolment.encode() + b"\n")
            self._process.stdin.close()

    def _listen(self) -> socket.socket:
        """The socket on which it will say READY; its environment names it."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if self._ready_in is None:
                name = f"zconnector-{os.getpid()}-{secrets.token_hex(8)}"
                listener.bind("\0" + name)
                self._environment["NOTIFY_SOCKET"] = "@" + name
            else:
                remove_socket(self._ready_in, READY_SOCKET)  # of one whose parent was killed
                path = socket_path(self._ready_in, READY_SOCKET)
                listener.bind(str(path))
                self._environment["NOTIFY_SOCKET"] = str(path)
        except BaseException:
            listener.close()
            raise
        return listener

    def _close(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
        if self._ready_in is not None:
            remove_socket(self._ready_in, READY_SOCKET)

    def _notified(self, listener: socket.socket) -> None:
        if b"READY=1" in listener.recv(4096).split(b"\n"):
            self._ready.set()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.label} was not started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._exit is not None and not self._exit.done()

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    async def wait_ready(self, within: float) -> None:
        """Wait until it says READY. Raises ChildFailedError: it ended first, or is late."""
        if self._exit is None:
            raise RuntimeError(f"{self.label} was not started")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._exit}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        raise self.failure(f"is not ready after {within:g} s")

    def failure(self, otherwise: str = "") -> ChildFailedError:
        """The error that says how it ended (`otherwise` while it has not), with the end of its log."""
        done = self._exit is not None and self._exit.done()
        what = ended(self._exit.result()) if done and self._exit is not None else otherwise
        return ChildFailedError(f"{self.label} {what}; the end of {self.log}:\n{tail(self.log)}")

    async def wait(self) -> int:
        """Wait for its end: the exit status, or minus the number of the signal."""
        if self._exit is None:
            raise RuntimeError(f"{self.label} was not started")
        return await asyncio.shield(self._exit)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self.alive and self._process is not None:
            self._process.send_signal(number)

    async def end(self, grace: float) -> None:
        """SIGTERM (and SIGCONT, in case it is frozen); SIGKILL after `grace` seconds."""
        if self._exit is None:
            return
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        await asyncio.wait({self._exit}, timeout=grace)
        self.signal(signal.SIGKILL)
        await asyncio.wait({self._exit})


def tethered(argv: Sequence[str]) -> list[str]:
    """A command line that runs another one, which the kernel kills when this process dies."""
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("tether.py")), str(os.getpid()), *argv]
