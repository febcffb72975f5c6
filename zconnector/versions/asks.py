"""Who waits for an answer about worker versions, and for what."""

from __future__ import annotations

from enum import StrEnum

from zconnector.versions.states import ROLLBACK, UPDATE


class Verb(StrEnum):
    """What can be asked of the admin worker."""

    GET = "get"
    START = "start"
    STOP = "stop"
    LATEST = "latest"
    UPDATE = UPDATE
    ROLLBACK = ROLLBACK


Subject = tuple[str, int]


class AskBook:
    """Asks by what they wait for. Each is answered once, or forgotten."""

    def __init__(self) -> None:
        self._by_subject: dict[Subject, dict[str, None]] = {}

    def add(self, subject: Subject, ask: str) -> None:
        self._by_subject.setdefault(subject, {})[ask] = None

    def take(self, subject: Subject) -> list[str]:
        """Those that wait for it; they wait no more."""
        return list(self._by_subject.pop(subject, ()))

    def forget(self, ask: str) -> None:
        for asks in self._by_subject.values():
            asks.pop(ask, None)
