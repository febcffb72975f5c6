"""The vocabulary of supervision: states, limits, and what the core asks for (docs/supervision.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum

from zconnector.actions import Note
from zconnector.errors import ConfigError


class State(StrEnum):
    """Where a worker is in its life."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    STOPPING = "STOPPING"
    KILLING = "KILLING"
    BACKOFF = "BACKOFF"
    FAILED = "FAILED"


LIVE = frozenset({State.STARTING, State.RUNNING, State.DRAINING, State.STOPPING, State.KILLING})
"""States in which there is, or may be, a process."""
AT_REST = frozenset({State.STOPPED, State.FAILED})
"""States that only an operator's word ends."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the supervisor is. Seconds, but for `crashes`.

    Raises:
        ConfigError: a value breaks its rule.
    """

    start: float = 30.0
    """From the spawn until every command is registered."""
    hang: float | None = 10.0
    """Longest silence between two beats; None: it need not beat."""
    drain: float = 30.0
    """For what runs to finish; 0: nothing is waited for."""
    term: float = 5.0
    """From SIGTERM to SIGKILL."""
    kill: float = 5.0
    """From SIGKILL until it is told, and done again, that the process is still there."""
    backoff: float = 0.5
    """Pause after a first crash; doubled for each further one within the window."""
    backoff_max: float = 30.0
    crashes: int = 5
    """So many within the window are a crash loop."""
    window: float = 120.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "crashes":
                if not 1 <= value <= 1000:
                    raise ConfigError(f"crashes must be between 1 and 1000 (got {value})")
            elif value is None and each.name == "hang":
                continue
            elif not math.isfinite(value) or value < 0 or (value == 0 and each.name != "drain"):
                raise ConfigError(f"{each.name} must be a number of seconds over 0 (got {value})")
        if self.backoff > self.backoff_max:
            raise ConfigError(f"backoff ({self.backoff}) must not exceed backoff_max ({self.backoff_max})")


class Level(StrEnum):
    """How hard a worker is told to end. TERM goes to its group, KILL to everything that descends from it."""

    TERM = "TERM"
    KILL = "KILL"


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process; `started` or `spawn_failed` follows, and `exited` after `started`."""

    name: str
    run: int


@dataclass(frozen=True, slots=True)
class Signal:
    """Tell a run to end; it may not have started yet. Nothing happens where it has ended."""

    name: str
    run: int
    level: Level


@dataclass(frozen=True, slots=True)
class Drain:
    """Hand a run nothing new; say `drained` when it has finished what it runs."""

    name: str
    run: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A worker is in another state (or in the same with a new process)."""

    name: str
    run: int
    was: State
    state: State
    event: str
    """What happened, in the words of the table."""
    reason: str
    """For people; of FAILED and BACKOFF: why it ended."""


Action = Spawn | Signal | Drain | Moved | Note
Actions = list[Action]


@dataclass(frozen=True, slots=True)
class View:
    """What there is to know of a worker."""

    name: str
    state: State
    run: int
    """Number of its last spawn; 0: none yet."""
    pid: int | None
    wanted: bool
    reason: str
    """Why it last ended or could not start; "" where it ended because it was told to."""
    crashes: int
    """Within the window, as of the last one."""
    since: float
    """Monotonic time from which it is in this state."""
    due: float | None
    """Monotonic time of the next thing that happens by itself (of BACKOFF: the restart)."""
