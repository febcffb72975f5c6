"""Stored messages, read when they are needed; the last few are still in memory."""

from __future__ import annotations

from collections import OrderedDict

from zconnector.errors import StorageError
from zconnector.messages import Message
from zconnector.queue.envelope import unpack
from zconnector.queue.store import Bodies, Key

AHEAD = 64
"""Rows behind one that had to be read, read with it where rows are asked for one after the other."""
AHEAD_MOST = 4_096
"""Bytes of a body that is read ahead."""
READ = 1_500
"""Bytes that a message counts for in the cache beside its body, when its header is kept as it is used."""
LARGEST = 2 << 20
"""Bytes of a body that is kept: a few larger ones would drive all others out."""
CACHE_BYTES = 12 << 20
"""A message is mostly read right after it was stored; what is older waits on the disk."""


class Messages:
    """Reads messages through the port, behind a cache bounded in bytes, least recent out first."""

    def __init__(self, bodies: Bodies, limit: int = CACHE_BYTES) -> None:
        self._bodies = bodies
        self._limit = limit
        self._largest = min(limit // 4, LARGEST)
        self._kept: OrderedDict[tuple[str, Key], tuple[bytes, Message | None, int]] = OrderedDict()
        """With what each counts for."""
        self._bytes = 0
        self._last: dict[str, int] = {}
        """The row of each space that was read last."""

    def keep(self, space: str, key: Key, body: bytes, message: Message | None = None) -> None:
        """Remember a body that is, or is about to be, stored; and the message that it was packed from, which
        most are read as soon after, several times."""
        row, all_kept = (space, key), self._kept
        before = all_kept.pop(row, None)
        if before is not None:
            self._bytes -= before[2]
        size = len(body)
        if size > self._largest:
            return
        if message is not None:
            size += READ
        all_kept[row] = body, message, size
        self._bytes += size
        while self._bytes > self._limit:
            self._bytes -= all_kept.popitem(last=False)[1][2]

    def forget(self, space: str, key: Key) -> None:
        """The row is gone, or has another body."""
        kept = self._kept.pop((space, key), None)
        if kept is not None:
            self._bytes -= kept[2]

    def body(self, space: str, key: Key) -> bytes:
        """Raises StorageError."""
        kept = self._kept.get((space, key))
        if kept is not None:
            self._kept.move_to_end((space, key))
            return kept[0]
        body = self._bodies.body(space, key)
        if isinstance(key, int):
            self._read_ahead(space, key)
        self.keep(space, key, body)
        return body

    def _read_ahead(self, space: str, key: int) -> None:
        """A long line is read in the order in which it was stored: one statement for the next rows, as each
        costs more than what it reads."""
        last = self._last.get(space, key)
        if not last < key <= last + AHEAD:
            self._last[space] = key
            return
        self._last[space] = key + AHEAD
        try:
            rows = self._bodies.bodies(space, key + 1, key + AHEAD, AHEAD_MOST)
        except StorageError:
            return  # whoever needs one of them hears of it
        for number, body in rows:
            if (space, number) not in self._kept:
                self.keep(space, number, body)

    def kept(self, space: str, key: Key) -> Message | None:
        """The message, where it need not be read."""
        kept = self._kept.get((space, key))
        if kept is None or kept[1] is None:
            return None
        self._kept.move_to_end((space, key))
        return kept[1]

    def message(self, space: str, key: Key) -> Message:
        """Raises StorageError, also for a damaged body."""
        row = space, key
        kept = self._kept.get(row)
        if kept is None or kept[1] is None:
            return unpack(self.body(space, key))
        self._kept.move_to_end(row)
        return kept[1]
