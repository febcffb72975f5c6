"""What the cluster's journal has not heard of yet: commands of this connector to itself, and their replies.

No aggregator was on their way, so the member learns of them afterwards (WIRE.md section 8). A record is
stored in the commit that stores what it is about, and stays until the member has it; it never expires. They
have a bound of their own, as great as that of the outbox, the last tenth of it for replies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.errors import DamagedError, StorageError
from zconnector.messages import Message, body_digest
from zconnector.messages.kinds import MAX_MESSAGE
from zconnector.queue.bodies import READ, Messages
from zconnector.queue.commits import Commits
from zconnector.queue.envelope import pack
from zconnector.queue.store import DOCUMENTS, Delete, Put
from zconnector.settings import QueueSettings

PREFIX = "journal/"
MAX_RECORD = MAX_MESSAGE - 4_096
"""Bytes of a message whose record still fits into one JOURNAL with all that hops add."""
COMMAND_SHARE = 0.9
HELD_BYTES = 4 << 20
"""Of the messages of records that wait in memory: most are told a moment after they were made."""


@dataclass(slots=True)
class _Record:
    """One thing that the journal is to be told."""

    name: str
    """That of its row."""
    size: int
    """Bytes of its body."""
    message: Message | None = None
    """None: it is to be read."""


class Journal:
    """Records by key, in the order in which they were made.

    Invariant: `_held` are the bytes of the records, stored or coming, that have their message.
    """

    def __init__(self, settings: QueueSettings, commits: Commits, messages: Messages) -> None:
        self._commits = commits
        self._messages = messages
        self._records: OrderedDict[int, _Record] = OrderedDict()
        """The stored ones."""
        self._coming: dict[int, _Record] = {}
        """Those whose commit is under way."""
        self._limits = {True: _limit(settings, 1.0), False: _limit(settings, COMMAND_SHARE)}
        """Records and bytes that there may be, with a further one that is a reply, or a command."""
        self._next = 1
        self._bytes = self._held = 0
        self.untold = 0
        """Replies that will never be told to the journal: there was no room, or the record was damaged."""

    def __len__(self) -> int:
        return len(self._records)

    def restore(self, name: str, size: int) -> None:
        """Take a stored record back; in the order of their names."""
        key = int(name)
        self._records[key] = _Record(PREFIX + name, size)
        self._bytes += size
        self._next = max(self._next, key + 1)

    def add(self, message: Message, body: bytes, *, reply: bool) -> int | None:
        """A record, which goes with the very next commit: `accept` or `withdraw` it then. None: no room."""
        draft = self.draft(message, body, reply=reply)
        if draft is None:
            return None
        key, write = draft
        self._commits.ride(write)
        return key

    def draft(self, message: Message, body: bytes, *, reply: bool) -> tuple[int, Put] | None:
        """As `add`; the caller puts the write into the commit that it belongs to.

        `body` is the message's stored form, which its own row has too. Of a message that is too large for a
        JOURNAL only the header is told.
        """
        if len(body) > MAX_RECORD:
            cut: dict[str, Any] = {"cut": len(message.payload)}
            if not reply:
                cut["digest"] = body_digest(message)  # by which a copy is known to be the same command
            message = Message(message.kind, {**message.header, **cut})
            body = pack(message)
        size = len(body)
        most, most_bytes = self._limits[reply]
        if len(self._records) + len(self._coming) + 1 > most or self._bytes + size > most_bytes:
            self.untold += reply
            return None
        key = self._next
        self._next += 1
        record = self._coming[key] = _Record(f"{PREFIX}{key:016d}", size)
        self._bytes += size
        if self._held + size + READ <= HELD_BYTES:
            self._held += size + READ
            record.message = message
        return key, Put(DOCUMENTS, record.name, {}, body)

    def accept(self, key: int | None) -> None:
        """Its commit succeeded."""
        if key is not None:
            self._commits.agenda.doubt()
            self._records[key] = self._coming.pop(key)

    def withdraw(self, key: int | None) -> None:
        """What it tells of was not stored."""
        if key is not None:
            self._records[key] = self._coming.pop(key)
            self._drop(key)

    def first(self, limit: int) -> tuple[list[tuple[int, Message]], Actions]:
        """The oldest records, at most `limit`, and what is to be said of those that cannot be read."""
        found: list[tuple[int, Message]] = []
        notes: Actions = []
        for key, record in list(islice(self._records.items(), limit)):
            try:
                message = record.message or self._messages.message(DOCUMENTS, record.name)
                found.append((key, message))
            except DamagedError as error:
                self._drop(key)
                self.untold += 1
                notes.append(Note("error", "record for the journal is damaged", {"error": str(error)}))
            except StorageError as error:
                self._commits.failed()
                notes.append(Note("error", "record for the journal cannot be read", {"error": str(error)}))
                break
        return found, notes

    def header_size(self, key: int, message: Message) -> int:
        """Bytes of the header of a record that `first` gave; a few more, never less."""
        return self._records[key].size - len(message.payload)

    def told(self, keys: Iterable[int], now: Instant) -> Actions:
        """The member has these."""
        for key in keys:
            if key in self._records:
                self._drop(key)
        return self._commits.flush(now, lazy=True)

    def depths(self) -> dict[str, Any]:
        """What `zconnector status` shows."""
        return {"count": len(self._records), "bytes": self._bytes, "untold": self.untold}

    def _drop(self, key: int) -> None:
        record = self._records.pop(key)
        self._bytes -= record.size
        if record.message is None:
            self._messages.forget(DOCUMENTS, record.name)
        else:
            self._held -= record.size + READ
        self._commits.ride(Delete(DOCUMENTS, record.name))


def _limit(settings: QueueSettings, share: float) -> tuple[float, float]:
    return settings.max_outbox * share, settings.max_outbox_bytes * share
