"""Looking through a whole repository, for its keeper: what is wrong with which file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zconnector.errors import RepositoryError
from zconnector.repository.archive import inspect
from zconnector.repository.checking import check_configuration
from zconnector.repository.fetch import Fetcher
from zconnector.repository.layout import Kind, place_of
from zconnector.repository.manifest import File, Manifest
from zconnector.repository.reading import read_file
from zconnector.repository.source import MAX_CONFIGURATION, Source


@dataclass(frozen=True, slots=True)
class Finding:
    """One file of the manifest, and what is wrong with it."""

    file: File
    error: RepositoryError | None
    """None: it is as it was signed, and keeps every rule."""


def judge(fetcher: Fetcher, source: Source, manifest: Manifest) -> Iterator[Finding]:
    """Every file of a verified manifest, by path."""
    for file in manifest.files:
        try:
            _check(fetcher, source, file)
        except RepositoryError as error:
            yield Finding(file, error)
        else:
            yield Finding(file, None)


def _check(fetcher: Fetcher, source: Source, file: File) -> None:
    place, where = place_of(file.path), source.address.of(file.path)
    if place is None:
        raise RepositoryError(f"{where} is not of the layout")
    if place.kind is Kind.ARCHIVE:
        inspect(read_file(fetcher, file, source.limits.archive), where, source.limits)
    else:
        check_configuration(place, read_file(fetcher, file, MAX_CONFIGURATION), where)
