"""What a repository is known by, and how it is opened: address, pins, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from zconnector.repository.archive import Limits
from zconnector.repository.fetch import Fetcher, FileFetcher
from zconnector.repository.layout import Address
from zconnector.repository.signing import PublicKey

MAX_CONFIGURATION = 1 << 20
"""Bytes of a pivot, a product connector, a list of versions."""


@dataclass(frozen=True, slots=True)
class Source:
    """A repository that an operator trusts."""

    address: Address
    keys: tuple[PublicKey, ...]
    """Pinned; a signature by any of them counts."""
    repository: str = ""
    """The name that it must have; empty: the one that it has when it is first used."""
    ca_file: Path | None = None
    """Authority that signed the server's certificate; None: those of the system."""
    limits: Limits = field(default_factory=Limits)

    def open(self) -> Fetcher:
        """What fetches its files. Raises ConfigError."""
        if self.address.scheme == "file":
            return FileFetcher(self.address)
        from zconnector.repository.fetch_http import HttpFetcher  # httpx is heavy

        return HttpFetcher(self.address, ca_file=self.ca_file)
