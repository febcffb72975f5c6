"""Editions: what runs of a version, told apart by what it reads at its start and by its content. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from zconnector.configuration.pivot import Version
from zconnector.versions.wanted import Wanted, WorkerSettings, keys_of, product_of, worker_of

MARK = "~"


class Edition(NamedTuple):
    """A version with the values of that number; another number is another process on another socket."""

    major: int
    minor: int
    number: int = 0

    @property
    def version(self) -> Version:
        return Version(self.major, self.minor)

    def __str__(self) -> str:
        return (
            f"{self.major}.{self.minor}{MARK}{self.number}" if self.number else f"{self.major}.{self.minor}"
        )


Editions = tuple[Edition, ...]
"""In ascending order, each once; of what runs, one of each version."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a worker's process is started with."""

    keys: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Secrets among them."""
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    product: str = ""
    """Whose worker it is: of another product the same version has another content."""

    @classmethod
    def of(cls, wanted: Wanted) -> Values:
        return cls(wanted.keys, wanted.worker, wanted.product)

    def into(self, wanted: Wanted) -> Wanted:
        """A configuration with these in the place of its own."""
        return replace(wanted, keys=self.keys, worker=self.worker, product=self.product)

    def to_dict(self) -> dict[str, Any]:
        return {"keys": dict(self.keys), "worker": self.worker.to_dict(), "product": self.product}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Values:
        """Raises ConfigError."""
        return cls(keys_of(document), worker_of(document), product_of(document))


def read_edition(text: str) -> Edition:
    """From its text. Raises ValueError."""
    version, _, number = text.partition(MARK)
    major, minor = version.split(".")
    return Edition(int(major), int(minor), int(number or 0))


def ordered(editions: Iterable[Edition]) -> Editions:
    return tuple(sorted(set(editions)))


def versions_of(editions: Iterable[Edition]) -> tuple[Version, ...]:
    """Ascending, each once."""
    return tuple(sorted({edition.version for edition in editions}))


def edition_of(version: Version, editions: Editions) -> Edition | None:
    """The one of a version, of what runs."""
    return next((edition for edition in editions if edition.version == version), None)
