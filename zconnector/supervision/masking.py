"""What must not be seen of a worker's configuration in its output. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

MASKED = "***"


@dataclass(frozen=True, slots=True)
class Mask:
    """Texts are masked wherever they are; numbers where they stand alone: no digit or letter beside them,
    so that 4711 is not found in 147110, 0x4711f or a hash."""

    texts: Sequence[str] = field(default=(), repr=False)
    numbers: Sequence[str] = field(default=(), repr=False)
    """As they are written, without a sign."""
    longest: int = field(default=0, init=False, repr=False)
    """Characters of the longest of all."""
    _numbers: re.Pattern[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = sorted({text for text in self.texts if text}, key=lambda text: (-len(text), text))
        numbers = sorted({number for number in self.numbers if number}, key=lambda one: (-len(one), one))
        object.__setattr__(self, "texts", tuple(texts))
        object.__setattr__(self, "numbers", tuple(numbers))
        object.__setattr__(self, "longest", max(map(len, (*texts, *numbers)), default=0))
        if numbers:
            some = "|".join(map(re.escape, numbers))
            object.__setattr__(self, "_numbers", re.compile(f"(?<![0-9A-Za-z])(?:{some})(?![0-9A-Za-z])"))

    def __call__(self, text: str) -> str:
        """A line without them."""
        for value in self.texts:
            text = text.replace(value, MASKED)
        return text if self._numbers is None else self._numbers.sub(MASKED, text)
