"""What a failure of readying a version means for a rollout. Pure."""

from __future__ import annotations

from zconnector.errors import (
    AwayError,
    FetchError,
    Reason,
    Refusal,
    StaleError,
    StorageError,
    ZConnectorError,
)


def said(error: ZConnectorError | OSError) -> str:
    """What an error says, for a reason."""
    return error.detail if isinstance(error, Refusal) else str(error)


def is_away(error: ZConnectorError | OSError) -> bool:
    """Whether repository or cluster could not be asked."""
    if isinstance(error, Refusal):
        return error.reason in (Reason.NO_AGGREGATOR, Reason.NO_CLUSTER)
    return isinstance(error, AwayError)


def may_pass(error: ZConnectorError | OSError) -> bool:
    """Whether another try may succeed as it is.

    A manifest that is not of now says nothing against a version: it may be a proxy that gives an old one, or
    a clock that is not set yet.
    """
    if isinstance(error, Refusal):
        return error.reason in (Reason.BUSY, Reason.NO_AGGREGATOR, Reason.NO_CLUSTER, Reason.STORAGE_FAILED)
    return isinstance(error, FetchError | StaleError | StorageError | OSError)
