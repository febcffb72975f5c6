"""Processes that exist in a test's mind only, behind the port of supervision."""

from __future__ import annotations

from zconnector.supervision.launch import Events
from zconnector.supervision.states import Level


class ScriptedProcesses:
    """Each run starts at once, unless its number is in `unable`. SIGKILL ends it, SIGTERM unless `deaf`.

    Tells all that synchronously, which is the hardest for who listens.
    """

    def __init__(self, *, unable: frozenset[int] = frozenset(), deaf: bool = False) -> None:
        self.unable = unable
        self.deaf = deaf
        self.alive: dict[tuple[str, int], Events] = {}
        self.signals: list[tuple[str, int, Level]] = []

    def spawn(self, name: str, run: int, events: Events) -> None:
        if run in self.unable:
            events.spawn_failed(name, run, "unable", False)
            return
        self.alive[name, run] = events
        events.started(name, run, 1000 + run)

    def signal(self, name: str, run: int, level: Level) -> None:
        self.signals.append((name, run, level))
        if (name, run) in self.alive and (level is Level.KILL or not self.deaf):
            self.end(name, run, -9 if level is Level.KILL else -15)

    def end(self, name: str, run: int, status: int) -> None:
        self.alive.pop((name, run)).exited(name, run, status)
