"""One hierarchy: every error says whose fault it is, whether the connection survives, and what it maps to."""

from __future__ import annotations

import grpc
import pytest

from zconnector import errors
from zconnector.errors import (
    REASONS,
    ConfigError,
    Fault,
    NotRunningError,
    Reason,
    Refusal,
    StorageError,
    StoreVersionError,
    WireError,
    ZConnectorError,
)

_SYSEXITS = range(64, 79)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_maps_to_one_grpc_status_and_one_exit_code(reason: Reason) -> None:
    facts = REASONS[reason]
    assert facts.grpc in grpc.StatusCode.__members__
    assert facts.grpc not in ("OK", "CANCELLED", "UNKNOWN", "INTERNAL")
    assert facts.exit_code in _SYSEXITS


@pytest.mark.parametrize("reason", list(Reason))
def test_a_refusal_is_what_its_reason_says(reason: Reason) -> None:
    refusal = Refusal(reason, "why", "u1")
    facts = REASONS[reason]
    assert (refusal.reason, refusal.detail, refusal.uuid) == (reason, "why", "u1")
    assert (refusal.fault, refusal.grpc, refusal.exit_code) == (facts.fault, facts.grpc, facts.exit_code)
    assert str(refusal) == f"{reason}: why"
    assert refusal.survives


@pytest.mark.parametrize("reason", list(Reason))
def test_only_another_version_costs_the_connection(reason: Reason) -> None:
    assert WireError(reason, "").survives is (reason is not Reason.UNSUPPORTED_VERSION)


def test_what_the_sender_did_wrong_is_not_retried_elsewhere() -> None:
    """A sender's fault stays one on every route; trying it elsewhere would only delay the answer."""
    assert [r for r, facts in REASONS.items() if facts.fault is Fault.SENDER and facts.elsewhere] == []


def test_what_may_be_tried_elsewhere_is_temporary_for_a_client() -> None:
    retried = {facts.grpc for facts in REASONS.values() if facts.elsewhere}
    assert retried <= {
        "UNAVAILABLE",
        "RESOURCE_EXHAUSTED",
        "DEADLINE_EXCEEDED",
        "FAILED_PRECONDITION",
        "UNAUTHENTICATED",
    }


def hierarchy() -> list[type[ZConnectorError]]:
    return [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, ZConnectorError)]


def test_all_errors_are_of_one_hierarchy() -> None:
    raised = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert raised == hierarchy()
    assert len(raised) == 15


@pytest.mark.parametrize("error", hierarchy())
def test_every_error_maps(error: type[ZConnectorError]) -> None:
    assert error.grpc in grpc.StatusCode.__members__
    assert error.exit_code in _SYSEXITS
    assert isinstance(error.fault, Fault)
    assert error.__doc__


def test_kinds_of_errors() -> None:
    assert issubclass(WireError, Refusal)
    assert issubclass(StoreVersionError, StorageError)
    assert StoreVersionError.fault is ConfigError.fault is NotRunningError.fault is Fault.OPERATOR
