"""Waits of workers that were taken for silent: they are handed nothing until their worker is heard again.

An error would leave a Gandalf worker deaf for ever; a lease of a silent worker would be watched by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zconnector.actions import Caller

Wait = tuple[Caller, Mapping[str, Any]]
"""Who waits, and the arguments of its wait_command."""


class Aside:
    """By worker, in order of arrival. As many as the door has pending calls."""

    def __init__(self) -> None:
        self._waits: dict[str, dict[Caller, Mapping[str, Any]]] = {}
        self._workers: dict[Caller, str] = {}

    def put(self, worker: str, caller: Caller, args: Mapping[str, Any]) -> None:
        self._waits.setdefault(worker, {})[caller] = args
        self._workers[caller] = worker

    def drop(self, caller: Caller) -> None:
        """The caller is gone; nothing happens when it does not wait here."""
        worker = self._workers.pop(caller, None)
        if worker is None:
            return
        del self._waits[worker][caller]
        if not self._waits[worker]:
            del self._waits[worker]

    def take(self, worker: str) -> list[Wait]:
        """Remove and return all waits of a worker."""
        waits = self._waits.pop(worker, {})
        for caller in waits:
            del self._workers[caller]
        return list(waits.items())
