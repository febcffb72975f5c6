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

_PROGRESS = pb.Outcome.PROGRESS
_KINDS = {Ending.DONE: pb.Outcome.ACK, Ending.FAILED: pb.Outcome.FAIL, Ending.AGAIN: pb.Outcome.NAK}

_log = structlog.get_logger("zconnector.worker")


@dataclass(slots=True)
class Said:
    """What is told of a command: how it ended, or that it is still worked at (PROGRESS)."""

    uuid: str
    token: str
    kind: Any
    payload: bytes
    error: str = ""
    delay: float | None = None
    """NAK: seconds until the next attempt; None: the command's backoff."""
    event: str = ""
    """PROGRESS: what the sender is told."""
    command: str = ""
    hold: Hold | None = None


class Outcomes:
    """Invariant: a token is in `unsettled` from its handler's end until the connector has its outcome."""

    def __init__(self, rng: random.Random, wake: Callable[[], None]) -> None:
        self.unsettled: dict[str, Said] = {}
        self._outbox: list[Said] = []
        self._order: dict[tuple[str, int], deque[str]] = {}
        """Tokens by uuid and kind in the order sent: an answer names no token."""
        self._progress: dict[str, deque[tuple[asyncio.Future[None], Hold]]] = {}
        self._wake = wake
        self._backoff = Backoff(rng)
        self._timers: set[asyncio.TimerHandle] = set()

    def ended(self, uuid: str, token: str, command: str, hold: Hold, result: Result) -> None:
        """A handler has ended."""
        said = Said(
            uuid,
            token,
            _KINDS[result.ending],
            result.payload,
            result.error[:MAX_ERROR],
            result.delay,
            command=command,
            hold=hold,
        )
        self.unsettled[token] = said
        self._outbox.append(said)
        self._wake()

    def progress(self, uuid: str, token: str, hold: Hold, event: str, payload: bytes) -> asyncio.Future[None]:
        """A handler says that it is at it; done when the connector has heard it, or is away."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._progress.setdefault(uuid, deque()).append((told, hold))
        self._outbox.append(Said(uuid, token, _PROGRESS, payload, event=event))
        self._wake()
        return told

    def connected(self) -> None:
        """A new stream: what was not answered on the last one is said again."""
        self._let_go()
        self._order.clear()
        self._outbox = list(self.unsettled.values())

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
        add, order = frame.outcomes.add, self._order
        for said in self._outbox:
            size += len(said.payload) + 150
            if taken and size > FRAME:
                break
            taken += 1
            _fill(add(), said)
            if said.kind != _PROGRESS:
                key = (said.uuid, said.kind)
                if key in order:
                    order[key].append(said.token)
                else:
                    order[key] = deque((said.token,))
        del self._outbox[:taken]

    def __bool__(self) -> bool:
        """Whether there is something to send."""
        return bool(self._outbox)

    def settled(self, settled: Any) -> None:
        """The connector has answered an outcome."""
        reason = settled.refusal.reason if settled.HasField("refusal") else ""
        if settled.kind == _PROGRESS:
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
            if known.hold is not None and not known.hold.lost:
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

    def _again(self, known: Said) -> None:
        """The connector could not store it now: again in a while."""

        def say() -> None:
            self._timers.discard(timer)
            self._outbox.append(known)
            self._wake()

        timer = asyncio.get_running_loop().call_later(self._backoff.next(), say)
        self._timers.add(timer)

    def _refused(self, token: str, known: Said, detail: str) -> None:
        """It cannot be carried: the sender must hear that the command has ended."""
        _log.error("worker.reply_refused", uuid=known.uuid, detail=detail)
        if known.kind == pb.Outcome.FAIL and not known.payload:
            del self.unsettled[token]  # nothing smaller can be said; the lease will end
            return
        error = f"the result could not be sent: {detail}"[:MAX_ERROR]
        known.payload = error.encode() if known.kind == pb.Outcome.ACK else b""
        known.kind, known.error, known.delay = pb.Outcome.FAIL, error, None
        self._outbox.append(known)
        self._wake()


def _fill(outcome: Any, said: Said) -> None:
    """An Outcome, field by field in its frame: half of what one of its own would cost, copied."""
    outcome.uuid = said.uuid
    outcome.token = said.token
    outcome.kind = said.kind
    if said.payload:
        outcome.payload = said.payload
    if said.error:
        outcome.error = said.error
    if said.delay is not None:
        outcome.delay_ms = round(said.delay * 1000)
    if said.event:
        outcome.event = said.event
