"""Where log lines go: never a reason to fail.

A log on a full disk, or to a pipe that nobody reads any more, must not end the work that is logged. What
could not be written is counted, and told with the first line that can be.
"""

from __future__ import annotations

from typing import TextIO


class Lines:
    """Writes lines to a file. Has the methods that structlog asks of a logger."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.lost = 0
        """Lines that were not written since the last one that was."""

    def msg(self, message: str) -> None:
        """Write one line, or count it."""
        told = f'{{"event":"log lines lost","lines":{self.lost},"level":"error"}}\n' if self.lost else ""
        try:
            self._file.write(f"{told}{message}\n")
            self._file.flush()
        except (OSError, ValueError):  # ValueError: the file is closed, since the process ends
            self.lost += 1
        else:
            self.lost = 0

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg
