"""Processes of this machine as the kernel shows them: who descends from whom, and who is still there."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """One process; the time of its start tells it from a later one of the same number."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether it is there, and no zombie."""
        facts = _facts(self.pid)
        return facts is not None and facts[2] == self.started and facts[0] not in "ZX"


def process(pid: int) -> Process | None:
    """The process that has this number now."""
    facts = _facts(pid)
    return None if facts is None else Process(pid, facts[2])


def parent(pid: int) -> int:
    """Its parent's number; 0: it has ended."""
    facts = _facts(pid)
    return 0 if facts is None else facts[1]


def descendants(pid: int) -> list[Process]:
    """All that descend from it."""
    children: dict[int, list[Process]] = defaultdict(list)
    for other in _all():
        if (facts := _facts(other)) is not None:
            children[facts[1]].append(Process(other, facts[2]))
    found: list[Process] = []
    new = children[pid]
    while new:
        found += new
        new = [child for each in new for child in children[each.pid]]
    return found


def commands(part: str) -> list[tuple[int, str]]:
    """Processes whose command line has this in it, with that command line."""
    found: list[tuple[int, str]] = []
    for pid in _all():
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if part in line and pid != os.getpid():
                found.append((pid, line.strip()))
    return found


def _all() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _facts(pid: int) -> tuple[str, int, str] | None:
    """State, parent, and time of the start; None: there is no such process."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return after_name[0], int(after_name[1]), after_name[19]
