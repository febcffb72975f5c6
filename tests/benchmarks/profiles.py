"""Where CPU time goes inside a process: the kernel's count of each thread, divided by py-spy's samples of it.

A sample is a stack, the outermost frame first; it belongs to the kind of work of its innermost frame that is
known. CURVE and TCP are done by ZeroMQ's I/O thread, commits by the group commit's, gRPC's own transport by
threads of its own: what these do is told by their names.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

RATE = 200
"""Samples a second."""
OTHER = "other"

KINDS: tuple[tuple[str, str], ...] = (
    (r"zconnector/messages/", "codec"),
    (r"zconnector/storage/|zconnector/(queue|cluster)/sqlite\.py|apsw", "sqlite"),
    (
        r"zconnector/(runtime/(sockets|dealer|zap|outbox)|shoset/drain|queue/door(_client)?)\.py|[(/]zmq/",
        "zmq calls",
    ),
    (r"zconnector/(rpc|worker)/|[(/]grpc/|google/protobuf|\.pyx", "grpc"),
    (r"zconnector/runtime/", "driver"),
    (r"zconnector/", "core"),
    (r"[(/]asyncio/|selectors\.py", "asyncio"),
    (r"structlog|[(/]logging/", "logs"),
)
"""Pattern of a frame (its file is in it), and the kind of work it is; the first that matches."""
_PATTERNS = tuple((re.compile(pattern), kind) for pattern, kind in KINDS)
_SAMPLE = re.compile(r"thread \((?P<thread>\w+)\): (?P<name>[^;]*);(?P<stack>.*) (?P<count>\d+)\Z")

THREADS: tuple[tuple[str, str], ...] = (
    (r"ZMQbg/(IO|Reaper)", "crypto and TCP (zmq)"),
    (r"group-commit", "sqlite"),
    (r"grpc|event_engine|resolver|timer|EventEng|_poll_wrapper", "grpc"),
)
"""Pattern of a thread's name (Python's, else the kernel's), and the kind of work it does."""
_THREAD_PATTERNS = tuple((re.compile(pattern), kind) for pattern, kind in THREADS)
Threads = Mapping[int, tuple[str, float]]
"""Name and CPU seconds, by id."""


def kind_of_stack(stack: str) -> str:
    """The kind of work of one stack, written as py-spy's raw format does: `frame (file:line);...`."""
    innermost = stack.rpartition(";")[2]
    if innermost.startswith("Handle._run "):
        # A callback without a Python frame is C: where there is gRPC, it is gRPC's.
        return "grpc"
    for frame in reversed(stack.split(";")):
        for pattern, kind in _PATTERNS:
            if pattern.search(frame):
                return kind
    return OTHER


def kind_of_thread(name: str) -> str | None:
    """The kind of work of a thread, where its name tells it."""
    for pattern, kind in _THREAD_PATTERNS:
        if pattern.search(name):
            return kind
    return None


def count(lines: Iterable[str]) -> dict[int, Counter[str]]:
    """Samples by kind of work, for each thread, in py-spy's raw output with `--threads`.

    Raises ValueError: there is not one sample.
    """
    found: dict[int, Counter[str]] = {}
    for line in lines:
        match = _SAMPLE.match(line.rstrip("\n"))
        if match is not None:
            kind = kind_of_thread(match["name"]) or kind_of_stack(match["stack"])
            found.setdefault(int(match["thread"], 0), Counter())[kind] += int(match["count"])
    if not found:
        raise ValueError("py-spy has not one sample: the process did nothing, or could not be read")
    return found


def spent(before: Threads, after: Threads) -> dict[int, tuple[str, float]]:
    """What each thread has used between two readings."""
    return {
        thread: (name, seconds - before.get(thread, ("", 0.0))[1])
        for thread, (name, seconds) in after.items()
    }


def split(threads: Threads, samples: Mapping[int, Counter[str]]) -> dict[str, float]:
    """CPU seconds by kind of work: those of a thread are divided as its samples are, else go by its name."""
    kinds: dict[str, float] = {}
    for thread, (name, seconds) in threads.items():
        of_thread = samples.get(thread) or Counter({kind_of_thread(name) or OTHER: 1})
        for kind, times in of_thread.items():
            kinds[kind] = kinds.get(kind, 0.0) + seconds * times / of_thread.total()
    return kinds


def program() -> str:
    """The path of py-spy. Raises RuntimeError: it is not installed."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise RuntimeError("py-spy not found: pip install 'zconnector[bench]'")
    return found


async def record(pid: int, seconds: float, file: Path) -> dict[int, Counter[str]]:
    """Sample a process for so many (whole) seconds. Raises RuntimeError: py-spy may not, or saw nothing."""
    process = await asyncio.create_subprocess_exec(
        *(program(), "record", "--nonblocking", "--threads", "--format", "raw"),
        *("--rate", str(RATE), "--duration", str(max(1, round(seconds)))),
        *("--output", str(file), "--pid", str(pid)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"py-spy cannot read process {pid}: {output.decode(errors='replace')[-300:]}")
    text = await asyncio.to_thread(file.read_text)
    try:
        return count(text.splitlines())
    except ValueError as error:
        raise RuntimeError(f"process {pid}: {error}") from None
