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
        self._kept: OrderedDict[tuple[str, Key], tuple[bytes, Message | None]] = OrderedDict()
        self._bytes = 0
        self._last: dict[str, int] = {}
        """The row of each space that was read last."""

    def keep(self, space: str, key: Key, body: bytes, message: Message | None = None) -> None:
        """Remember a body that is, or is about to be, stored; and the message that it was packed from, which
        most are read as soon after, several times."""
        self.forget(space, key)
        if len(body) > min(self._limit // 4, LARGEST):
            return
        kept = self._kept[space, key] = body, message
        self._bytes += _cost(kept)
        while self._bytes > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _cost(dropped)

    def forget(self, space: str, key: Key) -> None:
        """The row is gone, or has another body."""
        kept = self._kept.pop((space, key), None)
        if kept is not None:
            self._bytes -= _cost(kept)

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
        return self.kept(space, key) or unpack(self.body(space, key))


def _cost(kept: tuple[bytes, Message | None]) -> int:
    body, message = kept
    return len(body) if message is None else len(body) + READ
