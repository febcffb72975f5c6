"""The port by which files of a repository come, and what is told of them; one implementation for each scheme.

An implementation gives bytes and nothing more: whether they are the right ones is for the manifest to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from zconnector.errors import FetchError, OversizeError
from zconnector.repository.disk import read_plain
from zconnector.repository.layout import Address

_PAGES = (b"<!doctype", b"<html")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole file."""

    content: bytes
    etag: str = ""
    """What to ask with next time; empty: none."""


class Fetcher(Protocol):
    """Files of one repository. A context manager: what it holds open ends with it."""

    address: Address

    def fetch(self, path: str, limit: int, etag: str = "") -> Fetched | None:
        """A file of at most `limit` bytes; None: it is still the one that had this ETag.

        Raises:
            FetchError: naming the file's address, the value and the rule (OversizeError: that of its size).
        """

    def __enter__(self) -> Fetcher: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FileFetcher:
    """Files of a folder of this machine."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._folder = Path(address.folder)

    def __enter__(self) -> FileFetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open."""

    def fetch(self, path: str, limit: int, etag: str = "") -> Fetched | None:
        where = self.address.of(path)
        try:
            content, found = read_plain(self._folder / path, limit)
        except OSError as error:
            raise FetchError(f"cannot read {where}: {error.strerror}") from None
        tag = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
        if tag == etag:
            return None
        check_content(content, limit, where)
        return Fetched(content, tag)


def check_content(content: bytes, limit: int, where: str) -> None:
    """What no file of a repository is. Raises FetchError."""
    if len(content) > limit:
        raise OversizeError(f"{where} has more than {limit} bytes, which is the limit")
    if content[:20].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        raise FetchError(f"{where} is an HTML page, must be a file of a worker repository")
