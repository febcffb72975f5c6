"""One hierarchy of errors, and the table of reasons that travel in messages.

Every error says whose fault it is (`fault`), whether the connection it came on survives
(`survives`), and maps to one gRPC status and one exit code. `Reason` is the same as
`protos/WIRE.md` section 10, to which a test holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Who has to change something."""

    SENDER = "sender"
    RECEIVER = "receiver"
    PEER = "peer"
    SYSTEM = "system"
    OPERATOR = "operator"


class Reason(StrEnum):
    """Why something was refused or failed; travels in the header field `reason`."""

    INVALID_PAYLOAD = "INVALID_PAYLOAD"
    UNKNOWN_COMMAND = "UNKNOWN_COMMAND"
    UNKNOWN_VERSION = "UNKNOWN_VERSION"
    NO_SUCH_TYPE = "NO_SUCH_TYPE"
    CONFLICT = "CONFLICT"
    EXPIRED = "EXPIRED"
    NOT_PERMITTED = "NOT_PERMITTED"
    TOO_LARGE = "TOO_LARGE"
    BAD_ARGUMENT = "BAD_ARGUMENT"
    QUEUE_FULL = "QUEUE_FULL"
    TARGET_AWAY = "TARGET_AWAY"
    NO_AGGREGATOR = "NO_AGGREGATOR"
    NO_CLUSTER = "NO_CLUSTER"
    BUSY = "BUSY"
    STORAGE_FAILED = "STORAGE_FAILED"
    DRAINING = "DRAINING"
    TIMED_OUT = "TIMED_OUT"
    UNRECEIPTED = "UNRECEIPTED"
    SOURCE_GONE = "SOURCE_GONE"
    WRONG_SECRET = "WRONG_SECRET"
    WRONG_KEY = "WRONG_KEY"
    WRONG_TENANT = "WRONG_TENANT"
    UNDECLARED = "UNDECLARED"
    REVOKED = "REVOKED"
    NO_SESSION = "NO_SESSION"
    NOT_VALIDATED = "NOT_VALIDATED"
    REPLACED = "REPLACED"
    BAD_FRAME = "BAD_FRAME"
    BAD_HEADER = "BAD_HEADER"
    UNSUPPORTED_VERSION = "UNSUPPORTED_VERSION"
    FENCED = "FENCED"
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    PURGED = "PURGED"
    DROPPED = "DROPPED"
    NOT_FOUND = "NOT_FOUND"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    NOT_SENT = "NOT_SENT"


@dataclass(frozen=True, slots=True)
class ReasonFacts:
    """What follows from a reason."""

    fault: Fault
    elsewhere: bool
    """Another route may still succeed; false: the answer is final."""
    grpc: str
    """Name of the one gRPC status it maps to."""
    exit_code: int
    """Exit status of a command line that ends with it (sysexits.h)."""


_USAGE, _DATA, _UNAVAILABLE, _SOFTWARE, _IO, _TEMPORARY, _PERMISSION, _CONFIG = (
    64,
    65,
    69,
    70,
    74,
    75,
    77,
    78,
)

_S, _R, _P, _Y = Fault.SENDER, Fault.RECEIVER, Fault.PEER, Fault.SYSTEM

REASONS: dict[Reason, ReasonFacts] = {
    Reason.INVALID_PAYLOAD: ReasonFacts(_S, False, "INVALID_ARGUMENT", _DATA),
    Reason.UNKNOWN_COMMAND: ReasonFacts(_S, False, "UNIMPLEMENTED", _DATA),
    Reason.UNKNOWN_VERSION: ReasonFacts(_S, False, "UNIMPLEMENTED", _DATA),
    Reason.NO_SUCH_TYPE: ReasonFacts(_S, False, "NOT_FOUND", _DATA),
    Reason.CONFLICT: ReasonFacts(_S, False, "ALREADY_EXISTS", _DATA),
    Reason.EXPIRED: ReasonFacts(_S, False, "DEADLINE_EXCEEDED", _DATA),
    Reason.NOT_PERMITTED: ReasonFacts(_S, False, "PERMISSION_DENIED", _PERMISSION),
    Reason.TOO_LARGE: ReasonFacts(_S, False, "INVALID_ARGUMENT", _DATA),
    Reason.BAD_ARGUMENT: ReasonFacts(_S, False, "INVALID_ARGUMENT", _USAGE),
    Reason.QUEUE_FULL: ReasonFacts(_R, False, "RESOURCE_EXHAUSTED", _TEMPORARY),
    Reason.TARGET_AWAY: ReasonFacts(_R, True, "UNAVAILABLE", _UNAVAILABLE),
    Reason.NO_AGGREGATOR: ReasonFacts(_Y, True, "UNAVAILABLE", _UNAVAILABLE),
    Reason.NO_CLUSTER: ReasonFacts(_Y, True, "UNAVAILABLE", _UNAVAILABLE),
    Reason.BUSY: ReasonFacts(_Y, True, "RESOURCE_EXHAUSTED", _TEMPORARY),
    Reason.STORAGE_FAILED: ReasonFacts(_Y, True, "UNAVAILABLE", _IO),
    Reason.DRAINING: ReasonFacts(_Y, True, "UNAVAILABLE", _TEMPORARY),
    Reason.TIMED_OUT: ReasonFacts(_Y, True, "DEADLINE_EXCEEDED", _TEMPORARY),
    Reason.UNRECEIPTED: ReasonFacts(_Y, False, "DEADLINE_EXCEEDED", _TEMPORARY),
    Reason.SOURCE_GONE: ReasonFacts(_Y, False, "UNAVAILABLE", _UNAVAILABLE),
    Reason.WRONG_SECRET: ReasonFacts(_P, False, "UNAUTHENTICATED", _PERMISSION),
    Reason.WRONG_KEY: ReasonFacts(_P, False, "UNAUTHENTICATED", _PERMISSION),
    Reason.WRONG_TENANT: ReasonFacts(_P, False, "PERMISSION_DENIED", _PERMISSION),
    Reason.UNDECLARED: ReasonFacts(_P, False, "UNAUTHENTICATED", _PERMISSION),
    Reason.REVOKED: ReasonFacts(_P, False, "UNAUTHENTICATED", _PERMISSION),
    Reason.NO_SESSION: ReasonFacts(_P, True, "FAILED_PRECONDITION", _SOFTWARE),
    Reason.NOT_VALIDATED: ReasonFacts(_P, True, "UNAUTHENTICATED", _PERMISSION),
    Reason.REPLACED: ReasonFacts(_P, False, "ABORTED", _TEMPORARY),
    Reason.BAD_FRAME: ReasonFacts(_P, False, "INVALID_ARGUMENT", _DATA),
    Reason.BAD_HEADER: ReasonFacts(_P, False, "INVALID_ARGUMENT", _DATA),
    Reason.UNSUPPORTED_VERSION: ReasonFacts(_P, False, "FAILED_PRECONDITION", _SOFTWARE),
    Reason.FENCED: ReasonFacts(_S, False, "FAILED_PRECONDITION", _DATA),
    Reason.ATTEMPTS_EXHAUSTED: ReasonFacts(_R, False, "ABORTED", _UNAVAILABLE),
    Reason.FAILED: ReasonFacts(_R, False, "ABORTED", _DATA),
    Reason.CANCELLED: ReasonFacts(Fault.OPERATOR, False, "ABORTED", _UNAVAILABLE),
    Reason.PURGED: ReasonFacts(Fault.OPERATOR, False, "ABORTED", _UNAVAILABLE),
    Reason.DROPPED: ReasonFacts(_R, False, "RESOURCE_EXHAUSTED", _TEMPORARY),
    Reason.NOT_FOUND: ReasonFacts(_S, False, "NOT_FOUND", _DATA),
    Reason.SHUTTING_DOWN: ReasonFacts(_Y, True, "UNAVAILABLE", _TEMPORARY),
    Reason.NOT_SENT: ReasonFacts(_Y, True, "UNAVAILABLE", _UNAVAILABLE),
}


class ZConnectorError(Exception):
    """Something went wrong in or with zconnector."""

    fault: Fault = Fault.SYSTEM
    survives: bool = True
    grpc: str = "INTERNAL"
    exit_code: int = _SOFTWARE


class Refusal(ZConnectorError):
    """A request that was refused with a reason of the table."""

    def __init__(self, reason: Reason, detail: str, uuid: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.uuid = uuid
        facts = REASONS[reason]
        self.fault = facts.fault
        self.grpc = facts.grpc
        self.exit_code = facts.exit_code


class WireError(Refusal):
    """What a peer sent breaks the wire protocol (WIRE.md section 11)."""

    def __init__(self, reason: Reason, detail: str, uuid: str = "") -> None:
        super().__init__(reason, detail, uuid)
        self.survives = reason is not Reason.UNSUPPORTED_VERSION


class StorageError(ZConnectorError):
    """The disk did not take a commit, or gave back what nobody wrote."""

    grpc = "UNAVAILABLE"
    exit_code = _IO


class DamagedError(StorageError):
    """What the disk gave back is not what was written: to read it again does not help."""


class StoreVersionError(StorageError):
    """A store was written by a newer zconnector."""

    fault = Fault.OPERATOR
    exit_code = _CONFIG


class ConfigError(ZConnectorError):
    """A setting, file or argument given by the operator breaks its rule."""

    fault = Fault.OPERATOR
    grpc = "INVALID_ARGUMENT"
    exit_code = _CONFIG


class RepositoryError(ZConnectorError):
    """What a worker repository holds breaks a rule of docs/repository.md."""

    fault = Fault.OPERATOR
    grpc = "FAILED_PRECONDITION"
    exit_code = _DATA


class ArchiveError(RepositoryError):
    """An archive of a worker breaks a rule: nothing of it was unpacked, or all of it was removed."""


class UntrustedError(RepositoryError):
    """What a repository gave is not what the holder of a pinned key signed, or not any more."""

    grpc = "PERMISSION_DENIED"
    exit_code = _PERMISSION


class StaleError(UntrustedError):
    """A manifest that a pinned key signed, but is not of now: replayed, not renewed, or dated ahead."""


class FetchError(RepositoryError):
    """A file of a repository did not come from its address."""

    fault = Fault.SYSTEM
    grpc = "UNAVAILABLE"
    exit_code = _UNAVAILABLE


class AwayError(FetchError):
    """The manifest of a repository did not come: nobody knows what it has now."""


class OversizeError(FetchError):
    """A file of a repository has more bytes than it may have; the rest of it was not fetched."""


class NotRunningError(ZConnectorError):
    """The component asked for does not run, or does not answer."""

    fault = Fault.OPERATOR
    grpc = "UNAVAILABLE"
    exit_code = _UNAVAILABLE
