"""What a worker or client of the SDK may hear instead of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from zconnector.errors import REASONS, Fault, Reason, ZConnectorError


class WorkerError(ZConnectorError):
    """Something went wrong between this process and its connector, or beyond."""


class CallFailed(WorkerError):
    """One gRPC call failed. `reason` is "" when it was not the worker service that said so."""

    def __init__(self, code: str, details: str, reason: str = "", detail: str = "", uuid: str = "") -> None:
        super().__init__(f"{code}: {details}")
        self.code = code
        self.reason = reason
        self.detail = detail or details
        self.uuid = uuid
        self.missing = ""
        """Of a refused registration: JSON list of the commands that the worker lacks."""
        self.grpc = code
        if reason in REASONS:
            self.exit_code = REASONS[Reason(reason)].exit_code
        elif self.away:
            self.exit_code = REASONS[Reason.NOT_SENT].exit_code

    @property
    def away(self) -> bool:
        """The connector was not reached, or is stopping: the same call may succeed later."""
        if self.reason:
            return self.reason in (Reason.SHUTTING_DOWN, Reason.DRAINING)
        return self.code == "UNAVAILABLE"

    @property
    def absent(self) -> bool:
        """The connector does not serve the API that was asked for."""
        return not self.reason and self.code == "UNIMPLEMENTED"

    @property
    def passing(self) -> bool:
        """Whether the same call, made again, may succeed."""
        if self.reason in REASONS:
            return REASONS[Reason(self.reason)].elsewhere
        return self.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED")


class SendError(WorkerError):
    """A command that has no receipt."""

    def __init__(self, text: str, uuid: str, reason: str, detail: str) -> None:
        super().__init__(text)
        self.uuid = uuid
        self.reason = reason
        self.detail = detail


class NotSent(SendError):
    """The command was certainly not taken by anybody; it may be sent again."""

    grpc = "UNAVAILABLE"

    def __init__(self, uuid: str, reason: str, detail: str) -> None:
        super().__init__(f"not sent ({reason}): {detail}", uuid, reason, detail)
        self.exit_code = REASONS[Reason(reason if reason in REASONS else Reason.NOT_SENT)].exit_code


class Rejected(SendError):
    """The command was refused for good, and will not run."""

    fault = Fault.SENDER

    def __init__(self, uuid: str, reason: str, detail: str) -> None:
        super().__init__(f"rejected ({reason}): {detail}", uuid, reason, detail)
        if reason in REASONS:
            facts = REASONS[Reason(reason)]
            self.fault, self.grpc, self.exit_code = facts.fault, facts.grpc, facts.exit_code


class OutcomeUnknown(SendError):
    """The command may have been taken. A reply may come, or a FAIL if nobody ever receipts it.

    Sent again with the same uuid, it will not run twice.
    """

    grpc = "DEADLINE_EXCEEDED"
    exit_code = REASONS[Reason.TIMED_OUT].exit_code

    def __init__(self, uuid: str, detail: str) -> None:
        super().__init__(f"outcome unknown of {uuid}: {detail}", uuid, str(Reason.TIMED_OUT), detail)


class NoReply(WorkerError):
    """No reply came in the time given; it may still come."""

    grpc = "DEADLINE_EXCEEDED"
    exit_code = REASONS[Reason.TIMED_OUT].exit_code

    def __init__(self, uuid: str, seconds: float) -> None:
        super().__init__(f"no reply to {uuid} within {seconds:g} s")
        self.uuid = uuid


class RegistrationRefused(WorkerError):
    """The connector does not take this worker with its commands."""

    fault = Fault.OPERATOR
    exit_code = 78

    def __init__(self, missing: Sequence[str], detail: str) -> None:
        text = f"commands without a handler here: {', '.join(missing)}" if missing else detail
        super().__init__(f"the connector refuses this worker: {text or 'no reason given'}")
        self.missing = list(missing)


class Fail(Exception):  # it is no error of the program: it is an answer
    """Raised in a handler: answer FAIL with this payload."""

    def __init__(self, payload: object = "") -> None:
        super().__init__(str(payload))
        self.payload = payload


class Retry(Exception):  # nor is this
    """Raised in a handler: try this command again, in `delay` seconds (None: by its own backoff).

    When its attempts are used up it ends as FAIL. On the Gandalf API, which has no such answer, this same
    worker runs the handler again (see `zconnector.worker.slots`).
    """

    def __init__(self, delay: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "try again")
        if delay is not None and not 0 <= delay <= 30 * 86_400:
            raise ValueError(f"delay must be from 0 to {30 * 86_400} seconds (got {delay})")
        self.delay = delay
        self.reason = reason


class Unsupported(WorkerError):
    """The connector serves no zconnector.v1, and the Gandalf API cannot do this."""

    fault = Fault.OPERATOR
    grpc = "UNIMPLEMENTED"
    exit_code = 78

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs zconnector.v1, which this connector does not serve")
