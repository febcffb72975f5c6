"""What a store holds, brought back into the parts of the queue when the process starts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from zconnector.clock import Instant
from zconnector.errors import StorageError
from zconnector.queue import cursor as cursors
from zconnector.queue import documents, journal, pauses, register, unknowns
from zconnector.queue.cursor import Cursor
from zconnector.queue.dead import DeadLetters
from zconnector.queue.documents import Documents
from zconnector.queue.events import Events
from zconnector.queue.iterators import Iterators
from zconnector.queue.journal import Journal
from zconnector.queue.leases import Command
from zconnector.queue.outbox import Outbox
from zconnector.queue.pauses import Pauses
from zconnector.queue.register import Register
from zconnector.queue.store import (
    COMMANDS,
    DEAD,
    DOCUMENTS,
    EVENTS,
    ITERATORS,
    NUMBERED,
    OUTBOX,
    POSITIONS,
    Row,
)
from zconnector.queue.unknowns import Unknowns


@dataclass(frozen=True, slots=True)
class Restoring:
    """The parts that rows belong to. Iterators come first: leases and positions name them."""

    iterators: Iterators
    register: Register
    events: Events
    outbox: Outbox
    dead: DeadLetters
    cursor: Cursor
    unknowns: Unknowns
    journal: Journal
    pauses: Pauses
    documents: Documents

    def restore(self, stored: Iterable[Row], now: Instant) -> None:
        """All rows of a store, each to its part.

        Raises:
            StorageError: a row is not what was written; nothing may be called afterwards.
        """
        spaces: dict[str, list[Row]] = {}
        for row in stored:
            spaces.setdefault(row.space, []).append(row)
        rows = _Rows(spaces)
        with rows.told():
            for row in rows.of(ITERATORS):
                self.iterators.restore(str(row.key), row.meta["kind"], now)
            read = Command.from_meta
            commands = [read(int(row.key), row.size, row.meta, now.mono) for row in rows.of(COMMANDS)]
            self.register.restore(commands, now)
            for command in self.register.leased():
                if command.lease is not None:
                    self.iterators.hold(command.lease.iterator)
            for row in rows.of(EVENTS):
                self.events.restore_event(int(row.key), row.meta, row.size, now)
            for row in rows.of(POSITIONS):
                self.events.restore_position(str(row.key), row.meta, now)
            for row in rows.of(OUTBOX):
                self.outbox.restore(int(row.key), row.meta, row.size, now)
            for row in rows.of(DEAD):
                self.dead.restore(int(row.key), row.meta, row.size)
            for row in rows.of(DOCUMENTS):
                self._document(str(row.key), row.meta, row.size, now)

    def _document(self, key: str, meta: dict[str, Any], size: int, now: Instant) -> None:
        if key == cursors.KEY:
            self.cursor.restore(meta["value"], meta["missed"])
        elif key.startswith(register.FLOOR):
            self.register.restore_floor(key.removeprefix(register.FLOOR), meta["accept_until"])
        elif key.startswith(unknowns.PREFIX):
            self.unknowns.restore(key.removeprefix(unknowns.PREFIX), meta, now)
        elif key.startswith(journal.PREFIX):
            self.journal.restore(key.removeprefix(journal.PREFIX), size)
        elif key.startswith(pauses.PREFIX):
            self.pauses.restore(key.removeprefix(pauses.PREFIX), meta["at"])
        elif key.startswith(documents.PREFIX):
            self.documents.restore(key.removeprefix(documents.PREFIX), meta)


class _Rows:
    """Stored rows by space, and which one is being restored."""

    def __init__(self, spaces: dict[str, list[Row]]) -> None:
        self._spaces = spaces
        self._at: Row | None = None

    def of(self, space: str) -> Iterator[Row]:
        """In the order of their keys where these are numbers."""
        rows = self._spaces.get(space, [])
        for row in sorted(rows, key=_number) if space in NUMBERED else rows:
            self._at = row
            yield row

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turns whatever a row that is none leads to into a StorageError that names it."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            which = f"row {self._at.key!r} of {self._at.space}" if self._at else "a row"
            raise StorageError(f"{which} is damaged: {error!r}") from error


def _number(row: Row) -> int:
    return int(row.key)
