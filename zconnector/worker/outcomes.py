"""What a v1 worker has to tell of its commands, until the connector has taken it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from zconnector.errors import REASONS, Reason
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.worker.connection import Backoff
from zconnector.worker.context import Hold
from zconnector.worker.handlers import Ending, Result

FRAME = 1_000_000
"""Bytes of outcomes in one frame, unless a single one is larger."""
MAX_ERROR = 1_000
"""Characters of an outcome's error; the rest of a long one is in the payload."""

_KINDS = {Ending.DONE: pb.Outcome.ACK, Ending.FAILED: pb.Outcome.FAIL, Ending.AGAIN: pb.Outcome.NAK}

_log = structlog.get_logger("zconnector.worker")


@dataclass(slots=True)
class Unsettled:
    """How a command ended, not yet taken by the connector."""

    outcome: Any
    command: str
    hold: Hold
    sent: bool = False


class Outcomes:
    """Invariant: a token is in `unsettled` from its handler's end until the connector has its outcome."""

    def __init__(self, rng: random.Random, wake: Callable[[], None]) -> None:
        self.unsettled: dict[str, Unsettled] = {}
        self._outbox: list[Any] = []
        self._order: dict[tuple[str, int], deque[str]] = {}
        """Tokens by uuid and kind in the order sent: an answer names no token."""
        self._progress: dict[str, deque[tuple[asyncio.Future[None], Hold]]] = {}
        self._wake = wake
        self._backoff = Backoff(rng)
        self._timers: set[asyncio.TimerHandle] = set()

    def ended(self, uuid: str, token: str, command: str, hold: Hold, result: Result) -> None:
        """A handler has ended."""
        outcome = pb.Outcome(
            uuid=uuid,
            token=token,
            kind=_KINDS[result.ending],
            payload=result.payload,
            error=result.error[:MAX_ERROR],
        )
        if result.delay is not None:
            outcome.delay_ms = round(result.delay * 1000)
        self.unsettled[token] = Unsettled(outcome, command, hold)
        self._outbox.append(outcome)
        self._wake()

    def progress(self, uuid: str, token: str, hold: Hold, event: str, payload: bytes) -> asyncio.Future[None]:
        """A handler says that it is at it; done when the connector has heard it, or is away."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._progress.setdefault(uuid, deque()).append((told, hold))
        self._outbox.append(
            pb.Outcome(uuid=uuid, token=token, kind=pb.Outcome.PROGRESS, event=event, payload=payload)
        )
        self._wake()
        return told

    def connected(self) -> None:
        """A new stream: what was not answered on the last one is said again."""
        self._let_go()
        self._order.clear()
        self._outbox = [each.outcome for each in self.unsettled.values()]

    def close(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for waiting in self._progress.values():
            for told, _ in waiting:
                if not told.done():
                    told.set_result(None)
        self._progress.clear()

    def fill(self, frame: Any) -> None:
        """Put what is to be said into a frame; what does not fit stays."""
        size = taken = 0
        for outcome in self._outbox:
            size += len(outcome.payload) + 150
            if taken and size > FRAME:
                break
            taken += 1
            frame.outcomes.append(outcome)
            if outcome.kind != pb.Outcome.PROGRESS:
                self._order.setdefault((outcome.uuid, outcome.kind), deque()).append(outcome.token)
                known = self.unsettled.get(outcome.token)
                if known is not None:
                    known.sent = True
        del self._outbox[:taken]

    def __bool__(self) -> bool:
        """Whether there is something to send."""
        return bool(self._outbox)

    def settled(self, settled: Any) -> None:
        """The connector has answered an outcome."""
        reason = settled.refusal.reason if settled.HasField("refusal") else ""
        if settled.kind == pb.Outcome.PROGRESS:
            self._progressed(settled.uuid, reason)
            return
        order = self._order.get((settled.uuid, settled.kind))
        if not order:
            return
        token = order.popleft()
        if not order:
            del self._order[settled.uuid, settled.kind]
        known = self.unsettled.get(token)
        if known is None:
            return
        if not reason:
            del self.unsettled[token]
            self._backoff.reset()
        elif reason in REASONS and (REASONS[Reason(reason)].elsewhere or reason == Reason.QUEUE_FULL):
            self._again(known)
        elif reason == Reason.FENCED:
            del self.unsettled[token]
            if not known.hold.gone.is_set():
                _log.warning("worker.result_too_late", uuid=settled.uuid, detail=settled.refusal.detail)
        else:
            self._refused(token, known, settled.refusal.detail)

    def _progressed(self, uuid: str, reason: str) -> None:
        waiting = self._progress.get(uuid)
        if not waiting:
            return
        told, hold = waiting.popleft()
        if not waiting:
            del self._progress[uuid]
        if reason == Reason.FENCED:
            hold.lose(reason)
        elif reason:
            _log.warning("worker.progress_refused", uuid=uuid, reason=reason)
        if not told.done():
            told.set_result(None)

    def _again(self, known: Unsettled) -> None:
        """The connector could not store it now: again in a while."""

        def say() -> None:
            self._timers.discard(timer)
            self._outbox.append(known.outcome)
            self._wake()

        timer = asyncio.get_running_loop().call_later(self._backoff.next(), say)
        self._timers.add(timer)

    def _refused(self, token: str, known: Unsettled, detail: str) -> None:
        """It cannot be carried: the sender must hear that the command has ended."""
        outcome = known.outcome
        _log.error("worker.reply_refused", uuid=outcome.uuid, detail=detail)
        if outcome.kind == pb.Outcome.FAIL and not outcome.payload:
            del self.unsettled[token]  # nothing smaller can be said; the lease will end
            return
        error = f"the result could not be sent: {detail}"[:MAX_ERROR]
        payload = error.encode() if outcome.kind == pb.Outcome.ACK else b""
        known.outcome = pb.Outcome(
            uuid=outcome.uuid, token=token, kind=pb.Outcome.FAIL, payload=payload, error=error
        )
        self._outbox.append(known.outcome)
        self._wake()
