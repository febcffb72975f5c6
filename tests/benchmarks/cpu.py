"""CPU time of processes, by component: from /proc/PID/stat before and after.

The kernel counts in ticks of 10 ms, so a measurement wants a second of work at least.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def _fields(stat: str) -> list[str]:
    """The fields of a stat line from the third on: a name may contain anything, a parenthesis too."""
    return stat.rpartition(")")[2].split()


def seconds_of(stat: str) -> float:
    """User and system time in one line of /proc/PID/stat."""
    fields = _fields(stat)
    return (int(fields[11]) + int(fields[12])) * TICK


def used(pid: int) -> float:
    """CPU seconds that a process has used so far, all its threads. Raises FileNotFoundError: it is gone."""
    return seconds_of(Path(f"/proc/{pid}/stat").read_text())


def used_by_thread(pid: int) -> dict[int, tuple[str, float]]:
    """Name (the kernel's) and CPU seconds of each thread, by its id."""
    found: dict[int, tuple[str, float]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            stat = (task / "stat").read_text()
        except FileNotFoundError:  # it has ended meanwhile
            continue
        found[int(task.name)] = stat.partition("(")[2].rpartition(")")[0], seconds_of(stat)
    return found


def resident(pid: int) -> int:
    """Bytes of memory that a process has in RAM (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds by component between two readings."""

    seconds: Mapping[str, float]

    def per_command(self, commands: int) -> dict[str, float]:
        """Microseconds for each command; 0.1 us is the last digit. Raises ValueError: no commands."""
        if commands < 1:
            raise ValueError("no CPU time a command without a command")
        return {name: round(spent / commands * 1e6, 1) for name, spent in self.seconds.items()}


class Meter:
    """Reads the CPU time of several processes; those of one component are added up."""

    def __init__(self, pids: Mapping[str, list[int]]) -> None:
        """`pids`: the processes of each component. All must run until `read` for the last time."""
        self._pids = {name: list(some) for name, some in pids.items()}
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        return {name: sum(used(pid) for pid in some) for name, some in self._pids.items()}

    def read(self) -> Usage:
        """What was used since the last reading (or since this was made)."""
        now = self._now()
        spent = {name: now[name] - self._before[name] for name in now}
        self._before = now
        return Usage(spent)
