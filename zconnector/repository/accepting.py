"""Whether a verified manifest may follow what was accepted before: the answer to a rollback. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from zconnector.errors import RepositoryError, UntrustedError
from zconnector.repository.manifest import Manifest, read_manifest

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
    manifest: Manifest, address: str, before: Iterable[Accepted], wall: int, repository: str = ""
) -> None:
    """Whether a manifest, verified already, may be accepted now.

    `before` is all that was ever accepted into this root, of every address; `wall` milliseconds since 1970;
    `repository` the name it must have, where that is pinned too.

    Raises:
        UntrustedError: another repository, an older manifest, two of one serial, or dated ahead.
    """
    where = f"manifest of {address}"
    if repository and manifest.repository != repository:
        raise UntrustedError(f"{where} is of repository {manifest.repository!r}, must be of {repository!r}")
    if manifest.timestamp > wall // 1000 + MAX_AHEAD:
        raise UntrustedError(
            f"{where} is dated {manifest.timestamp}, "
            f"must be at most {MAX_AHEAD} s ahead of this clock ({wall // 1000})"
        )
    for known in before:
        old = known.manifest
        if known.address == address and old.repository != manifest.repository:
            raise UntrustedError(
                f"{where} is of repository {manifest.repository!r}, must be of {old.repository!r} as before"
            )
        if old.repository != manifest.repository:
            continue
        if manifest.serial < old.serial:
            raise UntrustedError(
                f"{where} has serial {manifest.serial}, "
                f"must have at least {old.serial}, which was accepted before"
            )
        if manifest.serial == old.serial and manifest.signed_bytes() != old.signed_bytes():
            raise UntrustedError(f"{where}: another manifest with serial {old.serial} was accepted before")
        if manifest.timestamp < old.timestamp:
            raise UntrustedError(
                f"{where} is dated {manifest.timestamp}, "
                f"must not be before {old.timestamp}, which was accepted before"
            )
