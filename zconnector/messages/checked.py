"""Fields that somebody has held to their rules already, told apart from those that nobody has."""

from __future__ import annotations

from typing import Any


class Checked(dict[str, Any]):
    """Fields that keep the rules of `fields.py`: who gets them need not look again.

    Made only by who has looked. What comes over a socket is a plain dict, and so is what is made of this one
    with other fields: neither is trusted. Who puts something into it later answers for that.
    """

    __slots__ = ()
