"""Start a process in the background and return when it says that it is ready.

    spawn.py --ready-within SECONDS --pid-file FILE --log FILE -- COMMAND ARG...

Ready is systemd's READY=1 on NOTIFY_SOCKET; with SECONDS 0 nothing is waited for.
The pid file gets the pid and the process's start time,
which together name one process for ever. Exit status 1: it ended first (then there is no pid file) or is late
(then it was killed). Standard input is handed on.
"""

from __future__ import annotations

import argparse
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def birth(pid: int) -> str:
    """Start time of a process in clock ticks since boot."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def wait_ready(listener: socket.socket, pid: int, within: float) -> bool:
    """Whether it said READY before it ended and in time."""
    end = time.monotonic() + within
    exited = os.pidfd_open(pid)
    try:
        while (left := end - time.monotonic()) > 0:
            readable, _, _ = select.select([listener, exited], [], [], left)
            if listener in readable and b"READY=1" in listener.recv(4096).split(b"\n"):
                return True
            if exited in readable:
                return False
        return False
    finally:
        os.close(exited)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-within", type=float, required=True)
    parser.add_argument("--pid-file", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    name = f"zconnector-spawn-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, given.log.open("ab") as log:
        listener.bind("\0" + name)
        process = subprocess.Popen(
            given.command,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "NOTIFY_SOCKET": "@" + name},
        )
        partial = given.pid_file.with_suffix(".tmp")
        partial.write_text(f"{process.pid} {birth(process.pid)}\n")
        partial.replace(given.pid_file)
        if given.ready_within == 0 or wait_ready(listener, process.pid, given.ready_within):
            return 0
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"not ready after {given.ready_within:g} s", file=sys.stderr)
    else:
        print(f"ended with status {process.returncode}", file=sys.stderr)
    given.pid_file.unlink(missing_ok=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
