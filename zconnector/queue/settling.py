"""What a holder says of its lease: ack, fail, nak, progress; and who else may take it up.

The token fences: only that of the lease that lasts has any effect, before and after a restart.
"""

from __future__ import annotations

import random
import uuid as uuids
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import orjson

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.messages import Kind, Message, Outcome, clipped, derived_uuid
from zconnector.messages.kinds import MAX_MESSAGE
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.burials import Burials
from zconnector.queue.commits import Commits
from zconnector.queue.endings import Endings
from zconnector.queue.finish import Finish, ask_again, describe
from zconnector.queue.leases import Command, Lease
from zconnector.queue.outcomes import Done
from zconnector.queue.register import Alarm, Register
from zconnector.queue.returns import Returns
from zconnector.queue.states import COMPLETING, LEASED, READY, State, Step
from zconnector.queue.store import COMMANDS, Put

_SUCCESS, _EVENT = Outcome.SUCCESS, Kind.EVENT
Verb = Literal["ack", "fail", "nak", "progress"]
_FITS = MAX_MESSAGE - 16_384
"""Bytes of a payload that fits into a reply whatever its header: none exceeds the difference."""
_BESIDE = 1_024
"""Bytes that its header has on the whole way beside its texts: uuids, times, names of fields, a reason."""


@dataclass(slots=True)
class Settlement:
    """One outcome, of one lease. Never changed. (Frozen it would take three times as long to make.)"""

    uuid: str
    token: str
    outcome: Verb
    delay: int | None = None
    """nak: milliseconds until the next attempt; None: as its policy says."""
    error: str = ""
    """fail, nak: what went wrong, for people."""
    event: str = ""
    """progress: an event of this name goes to the source; "": the lease is extended, no more."""
    extend: int = 0
    """progress: milliseconds that the lease lasts from now on; 0: as long as at first."""
    payload: bytes = b""
    """That of the reply."""


class Settling:
    """Settles leases of `take`, and moves them between holders."""

    def __init__(
        self,
        commits: Commits,
        register: Register,
        finish: Finish,
        endings: Endings,
        burials: Burials,
        returns: Returns,
        policy: RetryPolicy,
        rng: random.Random,
    ) -> None:
        self._commits = commits
        self._register = register
        self._finish = finish
        self._endings = endings
        self._burials = burials
        self._returns = returns
        self._policy = policy
        self._rng = rng
        self.fenced = 0

    def settle(self, settlement: Settlement, now: Instant, done: Done) -> Actions:
        """`done` hears None when it is committed; FENCED, QUEUE_FULL or STORAGE_FAILED."""
        command = self._register.find(settlement.uuid)
        if command is not None and command.state is COMPLETING:
            command.after += (lambda later: self.settle(settlement, later, done),)
            return []
        lease = self._lease(command, settlement.token)
        if command is None or lease is None:
            return self._fenced(command, settlement.uuid, now, done)
        if len(settlement.payload) > _FITS and (refusal := _too_large(command, lease, settlement)):
            return done(now, refusal)
        if settlement.outcome == "ack":
            uuid = derived_uuid(command.uuid, _SUCCESS)
            reply = _reply(command, lease, _SUCCESS, settlement.payload, uuid, now)
            return self._endings.end(command, reply, now, done)
        if settlement.outcome == "fail":
            command.error = clipped(settlement.error)
            payload = settlement.payload
            return self._burials.bury(
                command, Reason.FAILED, settlement.error, now, payload=payload, settled=True, done=done
            )
        if settlement.outcome == "nak":
            return self._nak(command, lease, settlement, now, done)
        return self._progress(command, lease, settlement, now, done)

    def adopt(self, uuid: str, token: str, holder: str, worker: str, client: bytes, now: Instant) -> bool:
        """Whether this lease lasts, and is the stream's from now on. The caller flushes."""
        command = self._register.find(uuid)
        lease = self._lease(command, token)
        if command is None or lease is None or lease.iterator:
            return False
        taken = replace(lease, holder=holder, worker=worker, client=client)
        self._register.renew(command, taken, now)
        if command.state is LEASED:
            self._commits.ride(Put(COMMANDS, command.key, command.as_meta(LEASED)))
        return True

    def give_back(
        self, leases: Sequence[tuple[str, str]], why: str, now: Instant, *, unseen: bool
    ) -> tuple[int, Actions]:
        """End these leases (uuid, token), as far as they last; how many that are."""
        held: list[Command] = []
        for uuid, token in leases:
            command = self._register.find(uuid)
            if command is not None and self._lease(command, token) is not None:
                held.append(command)
        return len(held), self._returns.give_back(held, why, now, unseen=unseen)

    @staticmethod
    def _lease(command: Command | None, token: str) -> Lease | None:
        """The lease that lasts, if that is its token."""
        lease = None if command is None else command.lease
        return lease if lease is not None and lease.token == token else None

    def _nak(
        self, command: Command, lease: Lease, settlement: Settlement, now: Instant, done: Done
    ) -> Actions:
        """It is to be tried again later; without attempts left it is a dead letter."""
        before = command.error
        command.error = clipped(settlement.error)
        if self._returns.is_used_up(command):
            detail = f"{command.attempt} attempts, the last: {settlement.error or 'nak'}"
            return self._burials.bury(
                command, Reason.ATTEMPTS_EXHAUSTED, detail, now, settled=True, done=done
            )
        delay = settlement.delay
        if delay is None:
            delay = (command.policy or self._policy).pause(command.attempt, self._rng)
        command.delay, command.due = delay, now.wall + delay
        put = Put(COMMANDS, command.key, command.as_meta(State.DELAYED))
        self._register.step(command, Step.NAK, now)

        def then(later: Instant) -> Actions:
            self._finish.let_go(command, later)
            self._register.step(command, Step.PUT_OFF, later)
            self._register.set_alarm(command, Alarm.DUE, now.mono + delay / 1000)
            return done(later, None) + ask_again(command, later)

        def failed(later: Instant, error: StorageError) -> Actions:
            command.error, command.delay, command.due = before, 0, 0
            refusal = Refusal(Reason.STORAGE_FAILED, str(error), command.uuid)
            actions = done(later, refusal) + self._finish.undo(command, None, later)
            return actions + (self._register.on_ready(command, later) if command.state is READY else [])

        return [self._commits.commit([put], then, failed)]

    def _progress(
        self, command: Command, lease: Lease, settlement: Settlement, now: Instant, done: Done
    ) -> Actions:
        """It goes on: the lease lasts longer. A length that is longer than before outlives a restart."""
        length = settlement.extend / 1000 or lease.length
        if length > lease.length:
            lease = replace(lease, length=length)
        self._register.renew(command, lease, now, length)
        if lease.length == length and settlement.extend:
            self._commits.ride(Put(COMMANDS, command.key, command.as_meta(LEASED)))
        if not settlement.event:
            return self._stored(command, lease.token, now, done)
        uuid = str(uuids.UUID(int=self._rng.getrandbits(128), version=4))
        reply = _reply(command, lease, settlement.event, settlement.payload, uuid, now)

        def told(later: Instant, refusal: Refusal | None) -> Actions:
            if refusal is not None:
                return done(later, refusal)
            return self._stored(command, lease.token, later, done)

        return self._endings.tell(command, reply, now, told)

    def _fenced(self, command: Command | None, uuid: str, now: Instant, done: Done) -> Actions:
        self.fenced += 1
        return done(now, Refusal(Reason.FENCED, describe(command), uuid))

    def _stored(self, command: Command, token: str, now: Instant, done: Done) -> Actions:
        """`done` as soon as the lease is on the disk as it is, for a hand-out did not wait for that.

        FENCED if it is somebody else's to have before. Where the worker itself has ended it meanwhile,
        nothing is left to wait for.
        """
        if self._lease(command, token) is None:
            if command.state in (READY, LEASED):
                return self._fenced(command, command.uuid, now, done)
            return done(now, None)
        if self._commits.is_settled(COMMANDS, command.key):
            return done(now, None)

        def failed(later: Instant, error: StorageError) -> Actions:
            return done(later, Refusal(Reason.STORAGE_FAILED, str(error), command.uuid))

        # It follows whatever of the row is under way, and takes along what rides. What it followed may have
        # failed, though, and rides now: then it has only shown that the disk takes a commit of nothing.
        return [self._commits.commit((), lambda later: self._stored(command, token, later, done), failed)]


def _too_large(command: Command, lease: Lease, settlement: Settlement) -> Refusal | None:
    """Why a reply could not be carried to its source. Stored, it would be tried for a day, and each session
    that it is tried over would end with it."""
    size = len(settlement.payload)
    texts = (command.name, command.source, command.tenant, lease.worker, settlement.event)
    size += len(orjson.dumps([*texts, clipped(settlement.error)])) + _BESIDE
    if size <= MAX_MESSAGE:
        return None
    detail = f"a reply of {size} bytes with its fields, limit {MAX_MESSAGE}"
    return Refusal(Reason.TOO_LARGE, detail, settlement.uuid)


def _reply(command: Command, lease: Lease, event: str, payload: bytes, uuid: str, now: Instant) -> Message:
    """The reply, `addressed`."""
    header: dict[str, Any] = {
        "uuid": uuid,
        "topic": command.name,
        "event": event,
        "reference": command.uuid,
        "timestamp": now.wall,
    }
    if lease.worker:
        header["worker"] = lease.worker
    if command.source:
        header["recipient"] = command.source
    if command.tenant:
        header["tenant"] = command.tenant
    return Message(_EVENT, header, payload)


Settled = Callable[[Instant, list[Refusal | None]], Actions]


def all_of(count: int, done: Settled) -> list[Done]:
    """Collects so many outcomes, in any order, and tells them together, each in its place."""
    outcomes: list[Refusal | None] = [None] * count
    left = count

    def tell(index: int, now: Instant, refusal: Refusal | None) -> Actions:
        nonlocal left
        outcomes[index] = refusal
        left -= 1
        return done(now, outcomes) if left == 0 else []

    return [partial(tell, index) for index in range(count)]
