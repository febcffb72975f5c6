"""The manifest of a repository: what each of its files is, and who says so. Pure.

Invariant: what is signed is what was understood. `signed_bytes` are made from the parsed manifest, never
taken from the text, so nothing of a text that was not parsed is trusted.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from zconnector.errors import ConfigError, RepositoryError, UntrustedError
from zconnector.repository.layout import check_name, place_of
from zconnector.repository.signing import SIGNATURE_BYTES, PublicKey, SecretKey, decode, encode

FORMAT = 1
MAX_MANIFEST = 4 << 20
MAX_FILES = 10_000
MAX_SIZE = 1 << 40
"""Of what a manifest says a file has; how much is fetched has limits of its own."""
WARNING = 7.0
"""Days before a manifest expires in which that is warned of, where nobody says otherwise."""
_MAX_NUMBER = 1 << 53
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FIELDS = ("files", "format", "key", "repository", "serial", "signature", "timestamp")
_OPTIONAL = ("expires",)
_FILE_FIELDS = ("path", "sha256", "signature", "size")


def dated(seconds: int) -> str:
    """A time of a manifest (seconds since 1970), for people."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # after the year 9999
        return f"second {seconds}"


def expiring(expires: int | None, wall: int, days: float) -> bool:
    """Whether a manifest's date of expiry has come, or comes within so many days; `wall`: now, in ms."""
    return expires is not None and expires - days * 86_400 <= wall / 1000


@dataclass(frozen=True, slots=True)
class File:
    """One file of a repository."""

    path: str
    """A path of the layout: says also what the file is, and of which worker and version."""
    size: int
    """Bytes."""
    sha256: str
    """In lower-case hex."""
    signature: bytes = b""

    @classmethod
    def of(cls, path: str, content: bytes) -> File:
        """What is to be signed of a file."""
        return cls(path, len(content), hashlib.sha256(content).hexdigest())

    def signed_bytes(self, repository: str) -> bytes:
        lines = ("zconnector-repository-file-1", repository, self.path, str(self.size), self.sha256)
        return "".join(f"{line}\n" for line in lines).encode("ascii")

    def check(self, content: bytes, where: str) -> None:
        """Whether these are the bytes that were signed.

        Raises:
            UntrustedError: naming the address, what it has and what it must have.
        """
        if len(content) != self.size:
            raise UntrustedError(f"{where} has {len(content)} bytes, must have {self.size} by the manifest")
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise UntrustedError(f"{where} has SHA-256 {found}, must have {self.sha256} by the manifest")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a repository holds at one serial."""

    repository: str
    serial: int
    timestamp: int
    """Seconds since 1970."""
    key: PublicKey
    """Who says to have signed; only a pinned key is believed."""
    files: tuple[File, ...] = ()
    """By path, each once."""
    signature: bytes = b""
    expires: int | None = None
    """Seconds since 1970, from which on nothing new is installed by it; None: never."""

    def file(self, path: str) -> File | None:
        return next((file for file in self.files if file.path == path), None)

    def signed_bytes(self) -> bytes:
        document = self._document()
        del document["signature"]
        return b"zconnector-repository-manifest-1\n" + orjson.dumps(document, option=orjson.OPT_SORT_KEYS)

    def render(self) -> bytes:
        """The text of `manifest.json`."""
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self._document(), option=options)

    def _document(self) -> dict[str, Any]:
        expires = {} if self.expires is None else {"expires": self.expires}
        return {
            "format": FORMAT,
            "repository": self.repository,
            "serial": self.serial,
            "timestamp": self.timestamp,
            **expires,
            "key": str(self.key),
            "files": [
                {
                    "path": file.path,
                    "size": file.size,
                    "sha256": file.sha256,
                    "signature": encode(file.signature),
                }
                for file in self.files
            ],
            "signature": encode(self.signature),
        }

    def verify(self, pinned: Iterable[PublicKey], where: str) -> None:
        """Whether the holder of a pinned key signed all of this.

        Raises:
            UntrustedError: another key, or a signature that does not hold.
        """
        keys = tuple(pinned)
        if self.key not in keys:
            known = " or ".join(str(key) for key in keys) or "none"
            raise UntrustedError(f"{where} is signed by {self.key}, must be by a pinned key: {known}")
        if not self.key.verifies(self.signature, self.signed_bytes()):
            raise UntrustedError(f"{where}: its signature is not one by {self.key} of this content")
        for file in self.files:
            if not self.key.verifies(file.signature, file.signed_bytes(self.repository)):
                raise UntrustedError(
                    f"{where}: the signature of {file.path} is not one by {self.key} "
                    "of its path, size and SHA-256"
                )


def sign(manifest: Manifest, key: SecretKey) -> Manifest:
    """The manifest signed, and each of its files; files by path. Same input, same signatures."""
    files = tuple(
        replace(file, signature=key.sign(file.signed_bytes(manifest.repository)))
        for file in sorted(manifest.files, key=lambda file: file.path)
    )
    unsigned = replace(manifest, key=key.public, files=files, signature=b"")
    return replace(unsigned, signature=key.sign(unsigned.signed_bytes()))


def read_manifest(content: bytes, where: str) -> Manifest:
    """A manifest from its text; nothing is verified yet.

    Raises:
        RepositoryError: naming the address, the value and the rule.
    """
    if len(content) > MAX_MANIFEST:
        raise RepositoryError(f"{where} has {len(content)} bytes, must have at most {MAX_MANIFEST}")
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RepositoryError(f"{where} is no JSON: {error}") from None
    found = _object(document, _FIELDS, where, _OPTIONAL)
    if type(found["format"]) is not int or found["format"] != FORMAT:
        raise RepositoryError(
            f"{where}: format must be {FORMAT} for this zconnector (got {found['format']!r:.60})"
        )
    files = found["files"]
    if not isinstance(files, list) or len(files) > MAX_FILES:
        raise RepositoryError(f"{where}: files must be a list of at most {MAX_FILES}")
    read = tuple(_file(item, f"{where}: files[{index}]") for index, item in enumerate(files))
    for first, second in itertools.pairwise(read):
        if first.path >= second.path:
            raise RepositoryError(
                f"{where}: files must be by path, each once (got {second.path!r} after {first.path!r})"
            )
    try:
        name = check_name(_text(found, "repository", where), "name of a repository")
        key = PublicKey.from_text(_text(found, "key", where))
    except ConfigError as error:
        raise RepositoryError(f"{where}: {error}") from None
    timestamp = _integer(found, "timestamp", 0, _MAX_NUMBER, where)
    return Manifest(
        repository=name,
        serial=_integer(found, "serial", 1, _MAX_NUMBER, where),
        timestamp=timestamp,
        key=key,
        files=read,
        signature=_signature(found, where),
        expires=_integer(found, "expires", timestamp + 1, _MAX_NUMBER, where) if "expires" in found else None,
    )


def _file(item: object, where: str) -> File:
    found = _object(item, _FILE_FIELDS, where)
    path, digest = _text(found, "path", where), _text(found, "sha256", where)
    if place_of(path) is None:
        raise RepositoryError(f"{where}: path must be one of the layout (got {path!r:.200})")
    if not _SHA256.fullmatch(digest):
        raise RepositoryError(f"{where}: sha256 must be 64 lower-case hex digits (got {digest!r:.100})")
    return File(path, _integer(found, "size", 0, MAX_SIZE, where), digest, _signature(found, where))


def _object(
    value: object, fields: tuple[str, ...], where: str, optional: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RepositoryError(f"{where} must be a JSON object (got {type(value).__name__})")
    missing = [field for field in fields if field not in value]
    unknown = [field for field in value if field not in (*fields, *optional)]
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {unknown[0]!r:.80}"
        may = f", may have {', '.join(optional)}," if optional else ""
        raise RepositoryError(
            f"{where} must have the fields {', '.join(fields)}{may} and no other: it {wrong}"
        )
    return value


def _text(found: Mapping[str, Any], field: str, where: str) -> str:
    value = found[field]
    if not isinstance(value, str):
        raise RepositoryError(f"{where}: {field} must be a text (got {value!r:.60})")
    return value


def _integer(found: Mapping[str, Any], field: str, least: int, most: int, where: str) -> int:
    value = found[field]
    if type(value) is not int or not least <= value <= most:
        raise RepositoryError(
            f"{where}: {field} must be an integer from {least} to {most} (got {value!r:.60})"
        )
    return value


def _signature(found: Mapping[str, Any], where: str) -> bytes:
    raw = decode(found["signature"], SIGNATURE_BYTES)
    if raw is None:
        raise RepositoryError(
            f"{where}: signature must be base64 of {SIGNATURE_BYTES} bytes (got {found['signature']!r:.100})"
        )
    return raw
