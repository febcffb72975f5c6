"""Warning before the repository's manifest expires, while there is time to sign it again. Pure.

A connector that is updated by hand asks its repository nothing for months, so what was accepted last may be
out of date: when a warning is due the repository is looked at first, and only what holds then is warned of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from zconnector.actions import Note
from zconnector.clock import Instant
from zconnector.repository.manifest import dated, expiring
from zconnector.versions.actions import Actions, Consult
from zconnector.versions.commits import Commits
from zconnector.versions.requests import Looks
from zconnector.versions.states import Versions
from zconnector.versions.wanted import Wanted

DAY = 86_400
"""Seconds: between two warnings at least, and between two looks at the clock at most (it may jump)."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a manifest that was accepted says of itself."""

    address: str
    serial: int
    expires: int | None
    """Seconds since 1970; None: never."""


class Expiry:
    """Invariant: within a day one warning at most, kept before it is given; restarts change nothing of it."""

    def __init__(self, commits: Commits, looks: Looks, wanted: Callable[[], Wanted | None]) -> None:
        """`wanted`: the configuration in force."""
        self._commits = commits
        self._looks = looks
        self._wanted = wanted
        self._address = ""
        """Of the repository whose manifest was asked for."""
        self._signed: Signed | None = None
        self._looked: str | None = None
        """A warning is due, and the repository was looked at for it; a text says why in vain."""
        self._at: float | None = None

    def configured(self, now: Instant) -> Actions:
        """The configuration may name another repository, or another time to warn."""
        wanted = self._wanted()
        address = wanted.repository if wanted is not None else ""
        if address == self._address:
            self._arrange(now)
            return []
        self._address, self._signed, self._looked, self._at = address, None, None, None
        return [Consult()] if address else []

    def consulted(self, signed: Signed | None, now: Instant) -> Actions:
        """The manifest that was accepted last; None: none was, or that cannot be read now."""
        if signed is not None and signed.address != self._address:
            return []  # of a repository that is configured no more
        self._signed = signed = signed or self._signed
        error, self._looked = self._looked, None
        actions = self._warning(signed, error, now) if signed and error is not None else []
        self._arrange(now)
        return actions

    def tick(self, now: Instant) -> Actions:
        if self._at is None or self._at > now.mono:
            return []
        self._arrange(now)
        if not self._due(now):
            return []
        self._at = None  # until the look has ended
        return self._looks.look(self._seen)

    def deadline(self) -> float | None:
        return self._at

    def view(self, now: Instant) -> dict[str, Any] | None:
        """As JSON; None: no manifest is known."""
        if self._signed is None:
            return None
        expires = self._signed.expires
        return {
            "address": self._signed.address,
            "serial": self._signed.serial,
            "expires": expires,
            "left_ms": None if expires is None else expires * 1000 - now.wall,
            "expiring": self._expiring(now),
            "expired": expires is not None and expires * 1000 <= now.wall,
        }

    def _seen(self, _: Versions | None, error: str, now: Instant) -> Actions:
        """The repository was looked at; what it has is consulted after each look."""
        self._looked = error
        return []

    def _expiring(self, now: Instant) -> bool:
        wanted, signed = self._wanted(), self._signed
        if wanted is None or signed is None:
            return False
        return expiring(signed.expires, now.wall, wanted.repository_warning)

    def _due(self, now: Instant) -> bool:
        return self._expiring(now) and self._rests(now) <= 0

    def _rests(self, now: Instant) -> float:
        """Seconds until one may be given again; a last one in the future says that the clock was set back."""
        since = (now.wall - self._commits.memory.warned) / 1000
        return DAY - since if 0 <= since < DAY else 0.0

    def _arrange(self, now: Instant) -> None:
        wanted, signed = self._wanted(), self._signed
        if wanted is None or signed is None or signed.expires is None:
            self._at = None
            return
        begins = signed.expires - wanted.repository_warning * DAY - now.wall / 1000
        self._at = now.mono + min(DAY, max(0.0, begins, self._rests(now)))

    def _warning(self, signed: Signed, error: str, now: Instant) -> Actions:
        if signed.expires is None or not self._due(now):
            return []
        over = signed.expires * 1000 <= now.wall
        fields = {
            "repository": signed.address,
            "serial": signed.serial,
            "expires": dated(signed.expires),
            "left_days": round((signed.expires - now.wall / 1000) / DAY, 1),
            "remedy": "zconnector repo sign",
            **({"error": error} if error else {}),
        }
        event = "repository manifest has expired" if over else "repository manifest expires soon"
        warned = replace(self._commits.memory, warned=now.wall)
        return self._commits.commit(warned, lambda later: [Note("warning", event, fields)])
