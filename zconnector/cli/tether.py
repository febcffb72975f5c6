"""Run a program that the kernel kills when its parent dies: python tether.py PARENT_PID PROGRAM ARG...

A program of its own because it must do this between fork and exec, where a process with threads
(gRPC's) may run next to nothing. The death signal outlives exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before prctl
        sys.exit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
