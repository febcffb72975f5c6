"""Whether a verified manifest may follow what was accepted before, and is not out of date. Pure.

The answers to a rollback (an older manifest is served) and to a freeze (the same one for ever).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from zconnector.errors import ConfigError, RepositoryError, StaleError, UntrustedError
from zconnector.repository.manifest import Manifest, dated, read_manifest
from zconnector.repository.signing import PublicKey

SERIAL = ".serial"
"""How the name of a file ends that remembers a `Highest`."""
MAX_AHEAD = 3600
"""Seconds that a manifest may be dated ahead of this machine's clock."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The manifest that was last accepted of one address."""

    address: str
    manifest: Manifest
    etag: str = ""

    def render(self) -> bytes:
        return orjson.dumps(
            {"address": self.address, "etag": self.etag, "manifest": self.manifest.render().decode("ascii")}
        )


@dataclass(frozen=True, slots=True)
class Highest:
    """The highest serial that was ever accepted of a repository under one key, at whatever address."""

    repository: str
    key: PublicKey
    serial: int
    timestamp: int
    digest: str
    """SHA-256 of what was signed, in hex."""

    @classmethod
    def of(cls, manifest: Manifest) -> Highest:
        digest = hashlib.sha256(manifest.signed_bytes()).hexdigest()
        return cls(manifest.repository, manifest.key, manifest.serial, manifest.timestamp, digest)

    @property
    def name(self) -> str:
        """Name of the file in which it is remembered."""
        return hashlib.sha256(f"{self.repository}\n{self.key}".encode()).hexdigest()[:32] + SERIAL

    def render(self) -> bytes:
        return orjson.dumps(
            {
                "repository": self.repository,
                "key": str(self.key),
                "serial": self.serial,
                "timestamp": self.timestamp,
                "digest": self.digest,
            }
        )


def read_highest(content: bytes) -> Highest | None:
    """What `Highest.render` wrote; None: it is damaged."""
    try:
        found: Any = orjson.loads(content)
        repository, digest = found["repository"], found["digest"]
        serial, timestamp = found["serial"], found["timestamp"]
        if not (isinstance(repository, str) and isinstance(digest, str)):
            return None
        if not (type(serial) is int and type(timestamp) is int):
            return None
        return Highest(repository, PublicKey.from_text(found["key"]), serial, timestamp, digest)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ConfigError):
        return None


def highest(known: Iterable[Highest]) -> dict[tuple[str, PublicKey], Highest]:
    """The highest of each repository and key."""
    found: dict[tuple[str, PublicKey], Highest] = {}
    for one in known:
        before = found.get((one.repository, one.key))
        if before is None or before.serial < one.serial:
            found[one.repository, one.key] = one
    return found


def record_name(address: str) -> str:
    """Name of the file in which what was accepted of an address is remembered."""
    return hashlib.sha256(address.encode()).hexdigest()[:32] + ".json"


def read_accepted(content: bytes) -> Accepted | None:
    """What `Accepted.render` wrote; None: it is damaged."""
    try:
        found: Any = orjson.loads(content)
        address, etag, manifest = found["address"], found["etag"], found["manifest"]
        if not all(isinstance(value, str) for value in (address, etag, manifest)):
            return None
        return Accepted(address, read_manifest(manifest.encode(), "manifest"), etag)
    except (orjson.JSONDecodeError, KeyError, TypeError, UnicodeEncodeError, RepositoryError):
        return None


def check_follows(
    manifest: Manifest,
    address: str,
    before: Iterable[Accepted],
    wall: int,
    repository: str = "",
    *,
    serials: Iterable[Highest] = (),
    pinned: Iterable[PublicKey] | None = None,
) -> None:
    """Whether a manifest, verified already, may be accepted now.

    `before` is what was last accepted into this root, of every address, and `serials` the highest of every
    repository and key; `wall` milliseconds since 1970; `repository` the name it must have, where that is
    pinned too. A serial that was accepted under a key that is not `pinned` any more (None: all are) counts no
    more: whoever stole a key could make every later manifest look old with it.

    Raises:
        UntrustedError: another repository, or two of one serial.
        StaleError: an older one, or dated ahead: it may be this clock that is wrong.
    """
    where = f"manifest of {address}"
    if repository and manifest.repository != repository:
        raise UntrustedError(f"{where} is of repository {manifest.repository!r}, must be of {repository!r}")
    if manifest.timestamp > wall // 1000 + MAX_AHEAD:
        raise StaleError(
            f"{where} is dated {manifest.timestamp}, "
            f"must be at most {MAX_AHEAD} s ahead of this clock ({wall // 1000})"
        )
    before = tuple(before)
    for known in before:
        if known.address == address and known.manifest.repository != manifest.repository:
            raise UntrustedError(
                f"{where} is of repository {manifest.repository!r}, "
                f"must be of {known.manifest.repository!r} as before"
            )
    keys = None if pinned is None else set(pinned)
    for old in (*serials, *(Highest.of(known.manifest) for known in before)):
        if old.repository == manifest.repository and (keys is None or old.key in keys):
            _check_later(manifest, old, where)


def _check_later(manifest: Manifest, old: Highest, where: str) -> None:
    if manifest.serial < old.serial:
        raise StaleError(
            f"{where} has serial {manifest.serial}, "
            f"must have at least {old.serial}, which was accepted before"
        )
    if manifest.serial == old.serial and Highest.of(manifest).digest != old.digest:
        raise UntrustedError(f"{where}: another manifest with serial {old.serial} was accepted before")
    if manifest.timestamp < old.timestamp:
        raise StaleError(
            f"{where} is dated {manifest.timestamp}, "
            f"must not be before {old.timestamp}, which was accepted before"
        )


def check_unexpired(manifest: Manifest, address: str, wall: int) -> None:
    """Whether something new may be installed by a manifest that was accepted.

    Raises:
        StaleError: naming its date of expiry.
    """
    if manifest.expires is not None and manifest.expires <= wall // 1000:
        raise StaleError(
            f"manifest of {address} (serial {manifest.serial}) expired at {dated(manifest.expires)}, "
            f"now it is {dated(wall // 1000)}: nothing new is installed by it until it is signed again "
            "(zconnector repo sign)"
        )
