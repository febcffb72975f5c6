"""The manifest that a repository has now, accepted or refused, and the versions it names. Blocking."""

from __future__ import annotations

from pathlib import Path

from zconnector.clock import Clock, SystemClock
from zconnector.configuration.pivot import Version
from zconnector.errors import DamagedError, StorageError
from zconnector.repository.accepting import (
    Accepted,
    Highest,
    check_follows,
    check_unexpired,
    highest,
    read_accepted,
    record_name,
)
from zconnector.repository.disk import read_plain
from zconnector.repository.fetch import Fetcher
from zconnector.repository.layout import Kind, WorkerName, place_of
from zconnector.repository.manifest import Manifest
from zconnector.repository.reading import read_verified
from zconnector.repository.root import MAX_RECORD, Root
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
        UntrustedError: it is not what a pinned key signed (StaleError: older than what was accepted,
            expired, or dated ahead).
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


def accepted(root: Path, address: str) -> Manifest | None:
    """The manifest that was last accepted of an address, out of date or not; None: none was. Asks nobody.

    Raises:
        StorageError: the record cannot be read.
        DamagedError: it is damaged (who accepts the next one says so too).
    """
    path = root / "accepted" / record_name(address)
    try:
        known = read_accepted(read_plain(path, MAX_RECORD)[0])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    if known is None or known.address != address:
        raise DamagedError(f"{path} is damaged")
    return known.manifest


def accept(source: Source, root: Root, fetcher: Fetcher, clock: Clock) -> Manifest:
    """The repository's manifest, verified, not older than what was accepted before, remembered, not expired.

    An expired one is remembered too: that no older one may follow does not depend on this machine's clock.
    `root` is held. Raises FetchError, RepositoryError, UntrustedError, StorageError.
    """
    before = root.accepted_before()
    address = str(source.address)
    known = next((one for one in before if one.address == address), None)
    manifest, etag = read_verified(fetcher, source, known)
    serials, wall = root.serials(), clock.now().wall
    check_follows(manifest, address, before, wall, source.repository, serials=serials, pinned=source.keys)
    now = Accepted(address, manifest, etag)
    # First the serials, also those of records that this one takes the place of.
    of_records = [Highest.of(each.manifest) for each in (*before, now)]
    for one in highest((*serials, *of_records)).values():
        if one not in serials:
            root.remember_serial(one)
    if now != known:
        root.remember(now)
    check_unexpired(manifest, address, wall)
    return manifest
