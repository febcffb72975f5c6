"""The storage port: what a shell needs of a durable store, whatever it stores.

A store executes writes in one transaction; each role defines its own write types beside its
own store. `GroupCommit` (writer.py) drives it from one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Store(Protocol):
    """A durable store with one writer."""

    def commit(self, writes: Sequence[Any]) -> list[Any]:
        """Execute all writes in one durable transaction (fsync before it returns).

        Returns one result for each write. Raises StorageError, and then nothing of it is stored.
        Called from the writer's thread only.
        """

    def close(self) -> None:
        """Release files; nothing may be called afterwards."""
