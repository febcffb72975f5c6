"""A worker's output as bounded lines: length, rate, and how fast it is read. Pure.

Invariant: at most MAX_LINE bytes are kept of a line that has not ended.
"""

from __future__ import annotations

from collections.abc import Iterator

from zconnector.shoset.pace import Bucket
from zconnector.supervision.masking import Mask

MAX_LINE = 8192
"""Bytes of a line that are kept."""
LINES_PER_SECOND, LINES_AT_ONCE = 100.0, 500.0
BYTES_PER_SECOND, BYTES_AT_ONCE = 8.0 * 2**20, 2.0**20
CHUNK = 65536
"""Bytes that are read at once."""
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code != 9}


class Output:
    """One stream of one run.

    `hide`: what is masked; a line that is cut loses what might be a part of it.
    """

    def __init__(self, hide: Mask, now: float) -> None:
        self._hide = hide
        self._lines = Bucket(LINES_PER_SECOND, LINES_AT_ONCE, now)
        self._bytes = Bucket(BYTES_PER_SECOND, BYTES_AT_ONCE, now)
        self._rest = b""
        self._cutting = False
        self.dropped = 0
        """Lines left out since this was last set to 0."""

    def feed(self, data: bytes, now: float) -> Iterator[str]:
        """The lines that end in `data` and may be logged."""
        self._bytes.spend(len(data), now)
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0:
            if not self._cutting and self._lines.level(now) < 1:
                self.dropped += data.count(b"\n", begin)
                self._rest, begin = b"", data.rfind(b"\n") + 1
                break
            if self._cutting:
                self._cutting = False
            else:
                self._lines.take(1, now)
                yield self._text(self._rest + data[begin : min(end, begin + MAX_LINE + 1)])
            self._rest, begin = b"", end + 1
        if self._cutting:
            return
        self._rest += data[begin : begin + MAX_LINE + 1]
        if len(self._rest) > MAX_LINE:
            yield from self._last(now)
            self._cutting = True

    def end(self, now: float) -> Iterator[str]:
        """The stream has ended: the line that was not."""
        if self._rest and not self._cutting:
            yield from self._last(now)

    def pause(self, now: float) -> float:
        """Seconds for which nothing more should be read; 0: read on."""
        if self._bytes.level(now) > 0:
            return 0.0
        return max(0.0, self._bytes.ready_at(float(CHUNK)) - now)

    def _last(self, now: float) -> Iterator[str]:
        line, self._rest = self._rest, b""
        if self._lines.take(1, now):
            yield self._text(line)
        else:
            self.dropped += 1

    def _text(self, line: bytes) -> str:
        cut = len(line) > MAX_LINE
        text = self._hide(line[:MAX_LINE].rstrip(b"\r").decode("utf-8", "replace"))
        if cut and self._hide.longest:
            text = text[: -self._hide.longest]
        return text.translate(_CONTROLS) + (" [cut]" if cut else "")
