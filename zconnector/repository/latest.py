"""The manifest that a repository has now, accepted or refused, and the versions it names. Blocking."""

from __future__ import annotations

from pathlib import Path

from zconnector.clock import Clock, SystemClock
from zconnector.configuration.pivot import Version
from zconnector.repository.accepting import Accepted, check_follows
from zconnector.repository.fetch import Fetcher
from zconnector.repository.layout import Kind, WorkerName, place_of
from zconnector.repository.manifest import Manifest
from zconnector.repository.reading import read_verified
from zconnector.repository.root import Root
from zconnector.repository.source import Source


def available(
    source: Source,
    root: Path,
    worker: WorkerName,
    *,
    clock: Clock | None = None,
    fetcher: Fetcher | None = None,
) -> list[Version]:
    """The versions of a worker whose archives the repository has, ascending; none: an empty list.

    The manifest is accepted as `install` does it, so that neither sees an older one afterwards.

    Raises:
        ConfigError: the source breaks its rule.
        FetchError: the manifest did not come.
        RepositoryError: what came is none.
        UntrustedError: it is not what a pinned key signed, or older than what was accepted.
        Refusal: BUSY, an install has the root.
        StorageError: the disk refused, or what was remembered is damaged.
    """
    with Root(root) as held, fetcher or source.open() as opened:
        manifest = accept(source, held, opened, clock or SystemClock())
    places = [place_of(file.path) for file in manifest.files]
    return sorted(
        place.version
        for place in places
        if place is not None
        and place.kind is Kind.ARCHIVE
        and (place.type, place.product) == (worker.type, worker.product)
        and place.version is not None
    )


def accept(source: Source, root: Root, fetcher: Fetcher, clock: Clock) -> Manifest:
    """The repository's manifest, verified, not older than what was accepted before, and remembered.

    `root` is held. Raises FetchError, RepositoryError, UntrustedError, StorageError.
    """
    before = root.accepted_before()
    address = str(source.address)
    known = next((accepted for accepted in before if accepted.address == address), None)
    manifest, etag = read_verified(fetcher, source, known)
    check_follows(manifest, address, before, clock.now().wall, source.repository)
    accepted = Accepted(address, manifest, etag)
    if accepted != known:
        root.remember(accepted)
    return manifest
