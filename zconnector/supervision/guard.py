"""Guard one worker: python -I -S guard.py DESCRIPTOR NAME. Imports nothing of zconnector: it starts fast.

DESCRIPTOR is a stream socket to the router. Over it comes a line of JSON (argv, cwd, limits), then the words
TERM and KILL, a line each. Over it go lines of JSON: {"started": pid} or {"failed": reason, "errno": n}, and
{"exited": status} (minus the number of a signal) when the worker and all that descended from it are gone.
When the router's end closes, everything is killed: that is how nothing outlives a router that was SIGKILLed.

Invariant: the worker is not waited for before everything else is gone, so its number stays its own and a
signal never meets a stranger.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)


def main() -> None:
    link = socket.socket(fileno=int(sys.argv[1]))
    link.set_inheritable(False)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    order, rest = _first_line(link)
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    try:
        pid = _launch(json.loads(order))
    except OSError as error:
        _say(link, {"failed": error.strerror or str(error), "errno": error.errno or 0})
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # or the router would not see that the worker closed its own
        os.dup2(nothing, standard)
    _say(link, {"started": pid})
    _watch(link, wake, pid, rest)
    _kill_all(pid, wake)
    _, status = os.waitpid(pid, 0)
    _say(link, {"exited": os.waitstatus_to_exitcode(status)})


def _first_line(link: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\n" not in received:
        chunk = link.recv(65536)
        if not chunk:
            sys.exit(0)  # the router died before it had said what to run
        received += chunk
    line, _, rest = received.partition(b"\n")
    return line, rest


def _say(link: socket.socket, what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the router died: nobody is to be told
        link.sendall(json.dumps(what).encode() + b"\n")


def _launch(order: dict[str, Any]) -> int:
    """Fork and exec the worker; raises OSError with the reason of a failure, also of exec."""
    failed, fail = os.pipe2(os.O_CLOEXEC)
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(order, guard, fail)
    os.close(fail)
    with open(failed, "rb") as pipe:
        failure = pipe.read()
    if failure:
        os.waitpid(pid, 0)
        number, text = json.loads(failure)
        raise OSError(number, text)
    return pid


def _become(order: dict[str, Any], guard: int, fail: int) -> None:
    """In the child: become the worker, or write down why not."""
    doing = "prepare it"
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (*IGNORED, signal.SIGCHLD, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        argv, cwd, limits = order["argv"], order["cwd"], order["limits"]
        if cwd:
            doing = f"go to {cwd}"
            os.chdir(cwd)
        for name, (kind, limit) in limits.items():
            doing = f"set its limit {name} to {limit}"
            resource.setrlimit(kind, (limit, limit))
        doing = f"run {argv[0]}"
        os.execv(argv[0], argv)
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None) or 1
        why = getattr(error, "strerror", None) or str(error)
        if doing.startswith("run ") and code == 2 and os.path.exists(argv[0]):
            why = "the interpreter that its first line names, or its loader, is missing"
        os.write(fail, json.dumps([code, f"cannot {doing}: {why}"]).encode())
    finally:
        os._exit(127)


def _watch(link: socket.socket, wake: int, pid: int, words: bytes) -> None:
    """Until the worker has ended, or everything is to be killed."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while not _ended(pid):
        while b"\n" in words:
            word, _, words = words.partition(b"\n")
            if word == b"KILL":
                return
            for number in (signal.SIGTERM, signal.SIGCONT):  # a frozen one hears nothing
                with contextlib.suppress(OSError):
                    os.killpg(pid, number)
        ready = [descriptor for descriptor, _ in poll.poll()]
        if wake in ready:
            os.read(wake, 4096)
            _reap(pid)
        if link.fileno() in ready:
            try:
                chunk = link.recv(4096)
            except OSError:
                return
            if not chunk:
                return
            words += chunk


def _ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _reap(pid: int) -> None:
    """Wait for each child that has ended, but for the worker."""
    for child in _children(pid):
        os.waitpid(child, os.WNOHANG)


def _kill_all(pid: int, wake: int) -> None:
    """Kill all that descends from this process, until nothing is left but the worker, ended.

    Only children are killed, whose numbers cannot be another's before they were waited for. What they leave
    becomes this process's child before SIGCHLD tells of their end, and has its turn then.
    """
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    while True:
        others = _children(pid)
        for each in (pid, *others):
            with contextlib.suppress(OSError):
                os.kill(each, signal.SIGKILL)
        _reap(pid)
        if nothing_left(lambda: _ended(pid), lambda: _children(pid)):
            return
        poll.poll()
        os.read(wake, 4096)


def nothing_left(ended: Callable[[], bool], children: Callable[[], list[int]]) -> bool:
    """Whether the worker has ended and nothing that descended from it is left.

    Asked in this order: once the worker has ended, its children are this process's, and each process that is
    left has a forebear among them, which nobody else waits for. Before, they might be the worker's yet.
    """
    return ended() and not children()


def _children(pid: int) -> list[int]:
    """This process's children, but for the worker."""
    me, found = os.getpid(), []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != pid:
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
                if int(stat.read().rpartition(b")")[2].split()[1]) == me:
                    found.append(int(entry))
    return found


if __name__ == "__main__":
    main()
