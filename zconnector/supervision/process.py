"""Real processes behind the port: each worker under a guard (docs/supervision.md, "Processes")."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json  # orjson refuses the surrogates that stand for bytes which are not UTF-8
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import structlog

from zconnector.clock import Clock, SystemClock
from zconnector.errors import ZConnectorError
from zconnector.supervision.launch import RESOURCES, Events, Launch
from zconnector.supervision.pipes import Feed, Reader, Say
from zconnector.supervision.states import Level

GUARD = Path(__file__).with_name("guard.py")
PASSING = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.ETXTBSY, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EINTR}
)
"""Failures to start that another try may not meet."""

Prepare = Callable[[str, int], Launch]
"""Says how a run is started: (name, run). Asked anew for each run, so that keys need not be kept."""


class GuardedProcesses:
    """The port `Processes`, performed. Lives in one event loop."""

    def __init__(self, prepare: Prepare, clock: Clock | None = None, log: Any = None) -> None:
        self._prepare = prepare
        self._clock = clock or SystemClock()
        self._log = log or structlog.get_logger("zconnector.worker")
        self._runs: dict[tuple[str, int], _Run] = {}

    def spawn(self, name: str, run: int, events: Events) -> None:
        try:
            launch = self._prepare(name, run)
        except ZConnectorError as error:
            events.spawn_failed(name, run, str(error), True)
            return

        def over() -> None:
            self._runs.pop((name, run), None)

        try:
            self._runs[name, run] = _Run(name, run, launch, events, over, self._clock, self._log)
        except OSError as error:
            events.spawn_failed(name, run, str(error), error.errno not in PASSING)

    def signal(self, name: str, run: int, level: Level) -> None:
        found = self._runs.get((name, run))
        if found is not None:
            found.tell(level)


class _Run:
    """One process and its guard. Owns its descriptors until the guard is gone, and then closes them."""

    def __init__(
        self,
        name: str,
        run: int,
        launch: Launch,
        events: Events,
        over: Callable[[], None],
        clock: Clock,
        log: Any,
    ) -> None:
        self._name, self._run = name, run
        self._events, self._over = events, over
        self._loop = asyncio.get_running_loop()
        self._said = b""
        self._told: dict[str, Any] = {}
        self._worker: int | None = None
        """A pidfd of the worker: tells whether it is gone, should its guard be killed."""
        self._fields = {"worker": name, "version": launch.version, "run": run}
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            # `theirs` are closed in any case: only the guard has them then.
            self._link, their_link = socket.socketpair()
            ours.callback(self._link.close)
            theirs.callback(their_link.close)
            their_in, our_in = _pipe(theirs, ours)
            our_out, their_out = _pipe(ours, theirs)
            our_err, their_err = _pipe(ours, theirs)
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(their_link.fileno()), name],
                stdin=their_in,
                stdout=their_out,
                stderr=their_err,
                env=dict(launch.env),
                pass_fds=(their_link.fileno(),),
                start_new_session=True,  # Ctrl-C reaches the router alone, which ends the others in order
            )
            self._alive = os.pidfd_open(self._guard.pid)
            ours.pop_all()
        self._link.setblocking(False)
        self._send(_order(launch))
        self._loop.add_reader(self._link, self._hear)
        self._loop.add_reader(self._alive, self._guard_gone)
        self._feed = Feed(our_in, launch.stdin)
        self._readers = [
            Reader(descriptor, launch.hide, clock, self._said_by(stream, log))
            for descriptor, stream in ((our_out, "stdout"), (our_err, "stderr"))
        ]

    def tell(self, level: Level) -> None:
        """The guard hears this also when it has not yet started the worker."""
        self._send(level.encode() + b"\n")

    def _said_by(self, stream: str, log: Any) -> Say:
        def say(line: str, more: Mapping[str, int]) -> None:
            log.info("worker output", **self._fields, stream=stream, line=line, **more)

        return say

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone, which is told elsewhere, or frozen and deaf anyway
            self._link.send(data)

    def _hear(self) -> None:
        """Lines of JSON from the guard."""
        while True:
            try:
                chunk = self._link.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            if not chunk:
                self._loop.remove_reader(self._link)
                return
            *lines, self._said = (self._said + chunk).split(b"\n")
            for line in lines:
                said = orjson.loads(line)
                self._told.update(said)
                if "started" in said:
                    self._fields["pid"] = said["started"]
                    with contextlib.suppress(OSError):
                        self._worker = os.pidfd_open(said["started"])
                    self._events.started(self._name, self._run, said["started"])

    def _guard_gone(self) -> None:
        self._loop.remove_reader(self._alive)
        self._guard.wait()  # it has ended: nothing is waited for
        self._hear()
        if "started" in self._told and "exited" not in self._told:
            with contextlib.suppress(OSError):
                os.killpg(self._told["started"], signal.SIGKILL)
            if self._worker is not None:
                self._loop.add_reader(self._worker, self._worker_gone, self._worker)
                return
        self._finish()

    def _worker_gone(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._finish()

    def _finish(self) -> None:
        self._loop.remove_reader(self._link)
        self._link.close()
        os.close(self._alive)
        if self._worker is not None:
            os.close(self._worker)
        self._feed.close()
        for reader in self._readers:
            reader.close()
        self._over()
        told = self._told
        if "started" in told:
            self._events.exited(self._name, self._run, told.get("exited"))
        elif "failed" in told:
            permanent = told.get("errno") not in PASSING
            self._events.spawn_failed(self._name, self._run, told["failed"], permanent)
        else:
            why = f"its guard ended with status {self._guard.returncode}"
            self._events.spawn_failed(self._name, self._run, why, False)


def _pipe(reads: contextlib.ExitStack, writes: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed by the stacks."""
    read, write = os.pipe2(os.O_CLOEXEC)
    reads.callback(os.close, read)
    writes.callback(os.close, write)
    return read, write


def _order(launch: Launch) -> bytes:
    """What the guard is told to run. ASCII, so that an argument may be any bytes."""
    limits: Mapping[str, tuple[int, int]] = {
        name: (RESOURCES[name], limit) for name, limit in launch.limits.items()
    }
    order = {"argv": list(launch.argv), "cwd": str(launch.cwd or ""), "limits": limits}
    return json.dumps(order).encode() + b"\n"
