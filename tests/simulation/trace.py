"""The trace: a digest of every step, and on request the steps themselves.

A run records nothing but the digest. To see what led to a violation the same seed is run again with a
`watch`: that is what determinism is for.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable

from zconnector.messages.codec import decode
from zconnector.messages.message import Message

GATHERED = 200
"""Parts of a trace that are taken together."""
KEPT = 400
"""Lines of a transcript that are kept, the last ones."""


class Trace:
    """Digest over virtual time, node, what happened, and the bytes that arrived."""

    __slots__ = ("_lines", "_parts", "digest", "watch")

    def __init__(self, watch: Iterable[str] = ()) -> None:
        """`watch`: texts (uuids, node names); steps that mention one of them are kept as lines."""
        self.digest = hashlib.blake2b(digest_size=16)
        self._parts: list[bytes] = []
        """What the digest has not taken yet: to take many at once is cheaper."""
        self.watch = tuple(watch)
        self._lines: deque[str] = deque(maxlen=KEPT)

    def step(self, now: int, node: str, what: str, detail: str = "") -> None:
        """Something happened at a node."""
        parts = self._parts
        parts.append(f"{now} {node} {what} {detail}\n".encode())
        if len(parts) > GATHERED:
            self._take()
        if self.watch:
            self._line(now, node, f"{what} {detail}")

    def frames(self, now: int, node: str, peer: str, frames: list[bytes]) -> None:
        """A transmission arrived at a node."""
        parts = self._parts
        parts.append(f"{now} {node}<{peer}".encode())
        parts.append(b"\0".join(frames))
        if self.watch:
            for message in decode(frames):
                self._line(now, node, f"<- {peer}  {told(message)}")

    def _take(self) -> None:
        self.digest.update(b"".join(self._parts))
        self._parts.clear()

    def hexdigest(self) -> str:
        self._take()
        return self.digest.hexdigest()

    def transcript(self) -> list[str]:
        """The last steps that mention what is watched."""
        return list(self._lines)

    def _line(self, now: int, node: str, text: str) -> None:
        if any(watched in text or watched == node for watched in self.watch):
            self._lines.append(f"{now / 1e6:11.6f}  {node:<10} {text}")


def told(message: Message) -> str:
    """A message in one line."""
    fields = " ".join(f"{name}={value}" for name, value in message.header.items() if value not in ("", 0))
    return f"{message.kind.name} {fields}"[:420]
