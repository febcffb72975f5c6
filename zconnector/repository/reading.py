"""Reading of a repository, in the order of docs/repository.md: nothing is used before it is verified."""

from __future__ import annotations

from zconnector.errors import AwayError, FetchError, OversizeError, RepositoryError, UntrustedError
from zconnector.repository.accepting import Accepted
from zconnector.repository.fetch import Fetcher
from zconnector.repository.layout import MANIFEST
from zconnector.repository.manifest import MAX_MANIFEST, File, Manifest, read_manifest
from zconnector.repository.source import Source


def read_verified(fetcher: Fetcher, source: Source, known: Accepted | None = None) -> tuple[Manifest, str]:
    """The manifest under a pinned key, and its ETag; `known` is what was accepted of this address before.

    Raises:
        AwayError: it did not come.
        RepositoryError, UntrustedError: it is too large or none, or not of a pinned key.
    """
    where = source.address.of(MANIFEST)
    try:
        fetched = fetcher.fetch(MANIFEST, MAX_MANIFEST, known.etag if known else "")
    except OversizeError:
        raise
    except FetchError as error:
        raise AwayError(str(error)) from None
    if fetched is not None:
        manifest, etag = read_manifest(fetched.content, where), fetched.etag
    elif known is not None:
        manifest, etag = known.manifest, known.etag
    else:
        raise RepositoryError(f"{where} is said not to have changed, but was not known")
    manifest.verify(source.keys, where)  # also what is known: the pins may be others today
    return manifest, etag


def read_file(fetcher: Fetcher, file: File, limit: int) -> bytes:
    """The bytes of a file that are what the verified manifest says.

    Raises:
        RepositoryError: by the manifest it has more than `limit` bytes.
        FetchError: it did not come.
        UntrustedError: it is another file.
    """
    where = fetcher.address.of(file.path)
    if file.size > limit:
        raise RepositoryError(f"{where} has {file.size} bytes by the manifest, must have at most {limit}")
    try:
        fetched = fetcher.fetch(file.path, file.size)
    except OversizeError:
        raise UntrustedError(f"{where} has more than the {file.size} bytes of the manifest") from None
    if fetched is None:
        raise RepositoryError(f"{where} is said not to have changed, but was not known")
    file.check(fetched.content, where)
    return fetched.content
