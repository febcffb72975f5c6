"""Config and configuration requests to the cluster (WIRE.md section 9), pure.

Sent like commands, by a serial try over the live aggregator instances; answered by ANSWER. At most one
request of each name is under way; one that fails is asked again after a backoff, or as soon as a session
comes up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from zconnector.actions import Actions, Note
from zconnector.agenda import Agenda
from zconnector.clock import Instant, earliest
from zconnector.errors import REASONS, Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.dispatch import Verdict
from zconnector.shoset.dispatches import Dispatch, Dispatches, Ending
from zconnector.shoset.identity import fresh_uuid
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset

_BUDGET = 5.0
_BACKOFF_FIRST, _BACKOFF_LIMIT = 0.5, 10.0

Answered = Callable[[Message | Refusal, Instant], Actions]


@dataclass(slots=True)
class Request:
    """Something the connector wants from the cluster until it has it."""

    name: str
    kind: Kind
    command: str
    payload: bytes
    answered: Answered
    refusable: bool
    """A definite refusal ends it and is handed to `answered`; else it is asked again until it is answered."""
    tries: int = 0
    due: float | None = None
    """When to ask again; None while a try is under way."""


class Requests:
    """All requests that have no answer yet."""

    def __init__(self, shoset: Shoset, rng: random.Random, agenda: Agenda) -> None:
        """`agenda` is told when to ask again."""
        self._agenda = agenda
        self._shoset = shoset
        self._rng = rng
        self._waiting: dict[str, Request] = {}
        self._tries: Dispatches[Request] = Dispatches(1_000, rng, shoset.send, self._ended, agenda=agenda)

    def ask(
        self,
        name: str,
        kind: Kind,
        command: str,
        payload: bytes,
        answered: Answered,
        now: Instant,
        *,
        refusable: bool = False,
    ) -> Actions:
        """Begin a request; one of the same name that is under way already goes on instead."""
        if name in self._waiting:
            return []
        request = Request(name, kind, command, payload, answered, refusable)
        self._waiting[name] = request
        return self._try(request, now)

    def session_up(self, now: Instant) -> Actions:
        """Ask at once whatever waits for its backoff."""
        due = [request for request in self._waiting.values() if request.due is not None]
        return [action for request in due for action in self._try(request, now)]

    def session_down(self, peer: Peer, now: Instant) -> Actions:
        return self._tries.lost(peer, now)

    def answer(self, message: Message, peer: Peer, now: Instant) -> Actions:
        """An ANSWER to one of the requests; others are late and have no effect."""
        reason = message.text("reason")
        if reason and reason in Reason.__members__ and REASONS[Reason(reason)].elsewhere:
            return self._tries.decline(message.reference, peer, Reason(reason), message.text("detail"), now)
        verdict = Verdict.REJECTED if reason else Verdict.ACCEPTED
        return self._tries.settle(message.reference, verdict, message, now)

    def tick(self, now: Instant) -> Actions:
        actions = self._tries.tick(now)
        for request in list(self._waiting.values()):
            if request.due is not None and request.due <= now.mono:
                actions += self._try(request, now)
        return actions

    def deadline(self) -> float | None:
        if not self._waiting:
            return self._tries.deadline()
        return earliest(self._tries.deadline(), *(request.due for request in self._waiting.values()))

    def waiting(self) -> list[str]:
        """Names of the requests without an answer."""
        return list(self._waiting)

    def _try(self, request: Request, now: Instant) -> Actions:
        request.due = None
        request.tries += 1
        uuid = fresh_uuid(self._rng)
        header = {"uuid": uuid, "command": request.command, "timestamp": now.wall}
        message = Message(request.kind, header, request.payload)
        routes = self._shoset.above()
        return self._tries.start(
            uuid, message, routes, _BUDGET, request, now, without_routes=Reason.NO_AGGREGATOR
        )

    def _ended(self, dispatch: Dispatch[Request], ending: Ending, now: Instant) -> Actions:
        request = dispatch.context
        if ending.answer is not None and ending.verdict is Verdict.ACCEPTED:
            self._waiting.pop(request.name, None)
            return request.answered(ending.answer, now)
        if ending.answer is not None:
            refusal = Refusal(_known(ending.answer.text("reason")), ending.answer.text("detail"))
        else:
            refusal = Refusal(ending.reason, ending.detail)
        note = Note(
            "warning" if ending.answer is not None else "info",
            "request failed",
            {"request": request.name, "reason": str(refusal.reason), "detail": refusal.detail},
        )
        if request.refusable and ending.verdict is Verdict.REJECTED:
            self._waiting.pop(request.name, None)
            return [note, *request.answered(refusal, now)]
        ceiling = min(_BACKOFF_LIMIT, _BACKOFF_FIRST * 2.0 ** min(request.tries - 1, 10))
        request.due = now.mono + self._rng.uniform(ceiling / 2, ceiling)
        self._agenda.by(request.due)
        return [note]


def _known(reason: str) -> Reason:
    return Reason(reason) if reason in Reason.__members__ else Reason.TIMED_OUT
