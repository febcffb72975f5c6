"""A worker to be supervised, told by its first argument how to behave. Imports nothing slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


def forever() -> None:
    while True:
        signal.pause()


def child(*, session: bool) -> None:
    """A grandchild of the supervisor's that ignores SIGTERM, and says its number."""
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(flush=True)\nsignal.pause()"
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], start_new_session=session, stdout=subprocess.PIPE
    )
    assert started.stdout is not None
    started.stdout.readline()
    print("child", started.pid, flush=True)


def main() -> None:
    match sys.argv[1]:
        case "serve":
            print("stdin", sys.stdin.read(), flush=True)
            print("argv", *(ascii(each)[1:-1] for each in sys.argv[2:]), file=sys.stderr, flush=True)
            forever()
        case "crash":
            os.abort()
        case "leave":
            sys.exit(0)
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("deaf", flush=True)
            forever()
        case "family":
            child(session=False)
            child(session=True)
            forever()
        case "heavy":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            memory = bytearray(b"x") * int(sys.argv[2])  # the more, the longer its end takes
            child(session=True)
            forever()
            del memory
        case "daemon":
            child(session=True)
        case "flood":
            line = b"x" * 99 + b"\n"
            for _ in range(int(sys.argv[2]) // 100):
                os.write(1, line * 100)
        case "long":
            os.write(1, b"y" * 1_000_000 + b"\nafter\nunended")
        case "closed":
            os.close(0)
            os.close(1)
            os.close(2)
            Path(sys.argv[2]).write_text("closed")  # a FIFO: its only way to tell
            forever()
        case "limits":
            import resource

            print("files", *resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
            print("memory", *resource.getrlimit(resource.RLIMIT_AS), flush=True)
            forever()
        case "descriptors":
            print("open", *sorted(os.listdir("/proc/self/fd")), flush=True)
            forever()
        case "frozen":
            print("frozen", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            forever()


if __name__ == "__main__":
    main()
