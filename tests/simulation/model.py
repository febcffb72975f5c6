"""The model: what was seen from outside goes in, broken promises come out. Pure.

Clients, workers, disks and the world tell it what happens, in order; each method is one sort of event.
Times are virtual microseconds, `node` is a connector as `tenant/name`. It knows nothing of how the system
works, only what DESIGN section 3 promises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.simulation.scheduler import MS, SECOND
from zconnector.errors import Reason
from zconnector.messages.kinds import Outcome
from zconnector.messages.message import derived_uuid

RULES: dict[str, str] = {
    "lost command": "a receipted command is executed, or had all its attempts; its sender has the reply",
    "unexpected execution": "what was refused for certain is not executed; nothing is at two connectors",
    "accepted twice": "a command has one accepted completion; a uuid stands for one body",
    "redelivery": "nothing is handed out again after its completion was accepted",
    "overlapping leases": "a command is handed out again only after its lease has ended by a rule",
    "wrong uuid": "every answer and reply is about what was asked, and goes to who asked",
    "missed event": "every connector of the tenant has every published event, every iterator shows it",
    "event twice": "an iterator shows an event once",
    "unanswered": "a sender hears within its timeout + 100 ms",
    "unknown for ever": "an UNKNOWN command ends in a receipt, a reply or a FAIL",
    "slow failover": "with one of three instances silent a receipt comes within T/n + 200 ms",
    "unbounded": "every queue keeps its bound, and is empty once all is quiet",
    "lease kept": "a lease does not outlive its holder",
    "not journalled": "what a connector sent to itself is in the journal afterwards",
    "cross-tenant": "nothing of a tenant is seen in another",
    "stale configuration": "a pivot put while all runs reaches every connector of its type",
    "silent drop": "whatever a socket does not take is told to the core",
    "not drained": "when faults stop, everything comes to its end",
    "defect": "no core raises, no process ends by itself",
}
"""Each rule and the promise that it watches."""

DEADLINE_SLACK = 100 * MS
FAILOVER_SLACK = 200 * MS
SHOWN_AGAIN = 2 * SECOND
"""What was handed over so shortly before a crash may be shown again: its position was not durable yet."""
_INFINITE = 1 << 62


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    at: int
    rule: str
    subject: str
    """Uuid (or node) that the transcript is about."""
    text: str

    def __str__(self) -> str:
        return f"{self.at / 1e6:.3f} s  {self.rule}: {self.text}"


@dataclass(slots=True, eq=False)
class Attempt:
    """One try of a client to send a command."""

    node: str
    uuid: str
    payload: bytes
    at: int
    timeout: int
    """Microseconds."""
    outcome: str = ""
    ended: int = 0


@dataclass(slots=True)
class _Handed:
    at: int
    order: int
    node: str
    worker: str
    iterator: str


@dataclass(slots=True)
class _Command:
    """All that is known of one (tenant, uuid)."""

    attempts: list[Attempt] = field(default_factory=list)
    executed_at: dict[str, int] = field(default_factory=dict)
    handed: _Handed | None = None
    hand_outs: dict[str, int] = field(default_factory=dict)
    """By connector."""
    buried: bool = False
    """Its source was told that it became a dead letter."""
    payloads: set[bytes] = field(default_factory=set)
    """Bodies that were handed out."""
    completed: int = -1
    """When a completion was accepted."""
    replies: dict[str, dict[str, None]] = field(default_factory=dict)
    """By connector: the final replies that are stored there."""
    failed: dict[str, int] = field(default_factory=dict)
    """By connector: when it made the FAIL of a command that was never receipted."""


@dataclass(slots=True)
class _Event:
    """One broadcast event."""

    node: str
    at: int
    published: bool = False
    stored: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Reader:
    """One iterator of a subscriber."""

    node: str
    since: int
    shown: dict[str, int] = field(default_factory=dict)


class Model:
    """Judges one run."""

    def __init__(self, *, lease_limit: float, dedupe_window: float, attempts: int = 5) -> None:
        self.violations: list[Violation] = []
        self.checked: Counter[str] = Counter()
        """How often each rule was applied."""
        self.counts: Counter[str] = Counter()
        self._lease_limit = int(lease_limit * 0.99 * SECOND)
        self._attempts = attempts
        self._dedupe = int(dedupe_window * 0.95 * SECOND)
        self._order = 0
        self._commands: dict[tuple[str, str], _Command] = {}
        self._events: dict[tuple[str, str], _Event] = {}
        self._readers: dict[str, _Reader] = {}
        self._asked: dict[str, set[str]] = {}
        """By subscription: events that a holder said it is done with, whatever it heard of that."""
        self._acknowledged: set[tuple[str, str]] = set()
        """(subscription, uuid) of those that it was told are stored as such."""
        self._may_end: dict[tuple[str, str, str], int] = {}
        """(node, worker, iterator) -> order of the last thing by which such leases end."""
        self._ends: dict[str, list[int]] = {}
        self._troubles: dict[str, list[list[int]]] = {}
        """By node: [begin, end] of the times when it was frozen or its disk was not well."""

    def _broken(self, at: int, rule: str, subject: str, text: str) -> None:
        if len(self.violations) < 50:
            self.violations.append(Violation(at, rule, subject, text))

    def _command(self, node: str, uuid: str) -> _Command:
        key = (tenant_of(node), uuid)
        command = self._commands.get(key)
        if command is None:
            command = self._commands[key] = _Command()
        return command

    # ---- senders

    def sending(self, at: int, node: str, uuid: str, payload: bytes, timeout_ms: int) -> Attempt:
        """A client hands a command over (again)."""
        attempt = Attempt(node, uuid, payload, at, timeout_ms * MS)
        self._command(node, uuid).attempts.append(attempt)
        self.counts["commands sent"] += 1
        return attempt

    def outcome(self, at: int, attempt: Attempt, outcome: str, uuid: str) -> None:
        """It hears ACCEPTED, UNKNOWN, LOST (its connector died) or the reason of a refusal, about `uuid`."""
        attempt.outcome, attempt.ended = outcome, at
        self.counts[f"outcome {outcome}"] += 1
        if outcome != "LOST":
            self._check_uuid(at, attempt, uuid)
            self._check_deadline(at, attempt)
        if outcome != "ACCEPTED":
            return
        for other in self._command(attempt.node, attempt.uuid).attempts:
            self.checked["accepted twice"] += 1
            if other.outcome == "ACCEPTED" and other.payload != attempt.payload:
                text = f"{attempt.uuid} was accepted with two bodies: {other.payload!r}, {attempt.payload!r}"
                self._broken(at, "accepted twice", attempt.uuid, text)

    def _check_uuid(self, at: int, attempt: Attempt, uuid: str) -> None:
        self.checked["wrong uuid"] += 1
        if uuid not in (attempt.uuid, ""):
            text = f"the answer to {attempt.uuid} at {attempt.node} names {uuid}"
            self._broken(at, "wrong uuid", attempt.uuid, text)

    def _check_deadline(self, at: int, attempt: Attempt) -> None:
        if self._troubled(attempt.node, attempt.at, at):
            return
        self.checked["unanswered"] += 1
        late = at - attempt.at - attempt.timeout - DEADLINE_SLACK
        if late > 0:
            text = f"{attempt.uuid} was answered {late / MS:.0f} ms too late: {attempt.outcome}"
            self._broken(at, "unanswered", attempt.uuid, text)

    def one_silent(self, begin: int, end: int, nodes: list[str], instances: int) -> None:
        """One of so many instances was silent for these connectors, and nothing else was wrong."""
        for command in self._commands.values():
            for attempt in command.attempts:
                if attempt.node in nodes and begin <= attempt.at and attempt.outcome and attempt.ended <= end:
                    self._check_failover(attempt, instances)

    def _check_failover(self, attempt: Attempt, instances: int) -> None:
        self.checked["slow failover"] += 1
        limit = attempt.timeout // instances + FAILOVER_SLACK
        took = attempt.ended - attempt.at
        if attempt.outcome == "UNKNOWN" or (attempt.outcome == "ACCEPTED" and took > limit):
            text = (
                f"{attempt.uuid} was {attempt.outcome} after {took / MS:.0f} ms of {attempt.timeout / MS:.0f}"
                f" with one of {instances} instances silent"
            )
            self._broken(attempt.ended, "slow failover", attempt.uuid, text)

    def reply_read(self, at: int, node: str, uuid: str, reference: str, event: str) -> None:
        """A client that waits for replies to `uuid` is given an event about `reference`."""
        self.counts["replies read"] += event in (Outcome.SUCCESS, Outcome.FAIL)
        self.checked["wrong uuid"] += 1
        if reference != uuid:
            self._broken(at, "wrong uuid", uuid, f"a wait for replies to {uuid} was given one to {reference}")

    # ---- workers

    def handed(
        self,
        at: int,
        node: str,
        uuid: str,
        payload: bytes,
        worker: str,
        iterator: str,
        header: Mapping[str, Any],
    ) -> None:
        """The queue hands a command to a worker's call."""
        self._order += 1
        self.counts["hand-outs"] += 1
        command = self._command(node, uuid)
        self._check_tenant(at, node, uuid, payload)
        self.checked["wrong uuid"] += 1
        if not any(attempt.payload == payload for attempt in command.attempts):
            text = f"{uuid} was handed out at {node} with a body that nobody sent: {payload!r}"
            self._broken(at, "wrong uuid", uuid, text)
        self.checked["redelivery"] += 1
        if command.completed >= 0 and at - command.completed < self._dedupe:
            text = (
                f"{uuid} was handed out at {node} {(at - command.completed) / MS:.0f} ms after its completion"
            )
            self._broken(at, "redelivery", uuid, text)
        self._check_lease(at, node, uuid, command)
        if command.buried and command.hand_outs.get(node, 0) >= self._attempts:
            self._broken(at, "redelivery", uuid, f"{uuid} was handed out at {node} as a dead letter")
        command.handed = _Handed(at, self._order, node, worker, iterator)
        command.hand_outs[node] = command.hand_outs.get(node, 0) + 1
        command.payloads.add(payload)

    def _check_lease(self, at: int, node: str, uuid: str, command: _Command) -> None:
        before = command.handed
        if before is None or before.node != node or at - before.at >= self._lease_limit:
            return
        self.checked["overlapping leases"] += 1
        ends = (
            (node, before.worker, ""),
            (node, "", before.iterator),
            (node, "", ""),
        )
        if not any(self._may_end.get(end, -1) > before.order for end in ends):
            text = (
                f"{uuid} was handed out at {node} again, {(at - before.at) / MS:.0f} ms after {before.worker}"
            )
            self._broken(at, "overlapping leases", uuid, text)

    def lease_may_end(self, at: int, node: str, worker: str, iterator: str) -> None:
        """A worker died or fell silent, or a wait of its iterator was cancelled; "" and "": all of them."""
        self._order += 1
        self._may_end[node, worker, iterator] = self._order

    def executed(self, at: int, node: str, uuid: str, worker: str) -> None:
        """A worker begins to run a command."""
        command = self._command(node, uuid)
        self.counts["executions"] += 1
        self.counts["executions again"] += bool(command.executed_at)
        command.executed_at[node] = at
        self.checked["unexpected execution"] += 1
        if len(command.executed_at) > 1:
            text = f"{uuid} was executed at {', '.join(command.executed_at)}"
            self._broken(at, "unexpected execution", uuid, text)

    def completed(self, at: int, node: str, uuid: str) -> None:
        """A worker is told that its SUCCES or FAIL is taken."""
        command = self._command(node, uuid)
        if command.completed < 0:
            command.completed = at
            self.counts["completions"] += 1

    # ---- events

    def publishing(self, at: int, node: str, uuid: str) -> None:
        """A client hands an event over (again)."""
        key = (tenant_of(node), uuid)
        if key not in self._events:
            self._events[key] = _Event(node, at)

    def published(self, at: int, node: str, uuid: str) -> None:
        """The client is told that it is stored."""
        self._events[tenant_of(node), uuid].published = True
        self.counts["events published"] += 1

    def subscribed(self, at: int, node: str, iterator: str) -> None:
        """A wait of a subscriber's iterator stands; its first one decides where it begins."""
        if iterator not in self._readers:
            self._readers[iterator] = _Reader(node, at)

    def unsubscribed(self, iterator: str) -> None:
        """Its reader has gone: what it was never shown does not count."""
        self._readers.pop(iterator, None)

    def shown(self, at: int, node: str, iterator: str, uuid: str, payload: bytes) -> None:
        """An event is handed to a wait on an iterator."""
        self.counts["events shown"] += 1
        self._check_tenant(at, node, uuid, payload)
        reader = self._readers.get(iterator)
        if reader is None:
            reader = self._readers[iterator] = _Reader(node, at)
        self.checked["event twice"] += 1
        before = reader.shown.get(uuid)
        if before is not None and not self._may_be_shown_again(node, before):
            self._broken(at, "event twice", uuid, f"iterator {iterator} of {node} was shown {uuid} twice")
        reader.shown[uuid] = at

    def seen(self, at: int, node: str, iterator: str, uuid: str, payload: bytes) -> None:
        """A reader that says with each wait what it has is given an event: never again, whatever crashed."""
        self.counts["events shown"] += 1
        self._check_tenant(at, node, uuid, payload)
        reader = self._readers.setdefault(iterator, _Reader(node, at))
        self.checked["event twice"] += 1
        if uuid in reader.shown:
            self._broken(at, "event twice", uuid, f"iterator {iterator} of {node} had {uuid} already")
        reader.shown[uuid] = at

    def delivered(self, at: int, node: str, key: str, uuid: str, payload: bytes) -> None:
        """A subscription hands an event out: at least once, and not after it was told as acknowledged."""
        self.counts["events delivered"] += 1
        self._check_tenant(at, node, uuid, payload)
        reader = self._readers.setdefault(key, _Reader(node, at))
        self.checked["event twice"] += 1
        if (key, uuid) in self._acknowledged:
            self._broken(at, "event twice", uuid, f"{key}: {uuid} came again after its acknowledgement")
        reader.shown.setdefault(uuid, at)
        self._asked.setdefault(key, set())

    def acknowledging(self, key: str, uuid: str) -> None:
        """A holder says that it is done with an event: until then the subscription has to show it again."""
        self._asked[key].add(uuid)

    def acknowledged(self, at: int, key: str, uuid: str) -> None:
        """A holder is told that its acknowledgement is stored."""
        self.counts["events acknowledged"] += 1
        self._acknowledged.add((key, uuid))

    def _may_be_shown_again(self, node: str, before: int) -> bool:
        """Whether a crash may have taken the position of a hand-over with it."""
        for end in self._ends.get(node, ()):
            if end >= before and (
                end - before <= SHOWN_AGAIN or self._troubled(node, before, before + SHOWN_AGAIN)
            ):
                return True
        return False

    def taken_back(self, at: int, node: str, iterator: str, uuid: str) -> None:
        """The hand-over of an event was cancelled before the reader had it: it is to be shown again."""
        reader = self._readers.get(iterator)
        if reader is not None:
            reader.shown.pop(uuid, None)

    # ---- disks and processes

    def event_stored(self, at: int, node: str, meta: Mapping[str, Any]) -> None:
        """An event is durable at a connector."""
        uuid, reference = str(meta["uuid"]), str(meta["reference"])
        if meta["directed"]:
            mine = meta["source"] == node.partition("/")[2]
            self._reply_stored(at, node, uuid, reference, str(meta["event"]), mine=mine)
            return
        if meta["topic"] == "ERROR" or reference:
            return
        event = self._events.get((tenant_of(node), uuid))
        self.checked["cross-tenant"] += 1
        if event is None:
            self._broken(
                at, "cross-tenant", uuid, f"{node} stored {uuid}, which nobody of its tenant published"
            )
            return
        event.stored.setdefault(node, at)

    def _reply_stored(self, at: int, node: str, uuid: str, reference: str, event: str, *, mine: bool) -> None:
        published = self._events.get((tenant_of(node), reference))
        if published is not None:
            if published.node != node and not mine:  # of its own replies to events it keeps a copy
                self._broken(at, "wrong uuid", reference, f"a reply to {reference} came to {node}")
            return
        command = self._command(node, reference)
        self.checked["wrong uuid"] += 1
        if all(attempt.node != node for attempt in command.attempts):
            self._broken(
                at, "wrong uuid", reference, f"a reply to {reference} came to {node}, which never sent it"
            )
        if event not in (Outcome.SUCCESS, Outcome.FAIL):
            return
        if uuid == derived_uuid(reference, Reason.UNRECEIPTED):
            command.failed[node] = at
            self._check_failed(at, node, reference, command)
            return
        if uuid == derived_uuid(reference, Outcome.FAIL):
            self._check_buried(at, reference, command)
        replies = command.replies.setdefault(node, {})
        replies[uuid] = None
        self.checked["accepted twice"] += 1
        if len(replies) > 1 and at - command.completed < self._dedupe:
            text = f"{reference} has {len(replies)} final replies at {node}: {', '.join(replies)}"
            self._broken(at, "accepted twice", reference, text)

    def _check_buried(self, at: int, uuid: str, command: _Command) -> None:
        """ATTEMPTS_EXHAUSTED is an end only for what was handed out that often."""
        command.buried = True
        self.counts["dead letters"] += 1
        self.checked["lost command"] += 1
        most = max(command.hand_outs.values(), default=0)
        if most < self._attempts:
            text = f"{uuid} became a dead letter after {most} hand-outs of {self._attempts}"
            self._broken(at, "lost command", uuid, text)

    def _check_failed(self, at: int, node: str, uuid: str, command: _Command) -> None:
        """A FAIL for want of a receipt must not follow a receipt."""
        for attempt in command.attempts:
            if attempt.node == node and attempt.outcome == "ACCEPTED":
                crashed = any(end >= attempt.ended for end in self._ends.get(node, ()))
                if not crashed and not self._troubled(node, attempt.ended, at):
                    self._broken(
                        at, "wrong uuid", uuid, f"{uuid} was receipted, and then FAILed as unreceipted"
                    )

    def ended(self, at: int, node: str) -> None:
        """A connector's process ended, in whatever way; another one will begin on its disk."""
        self._ends.setdefault(node, []).append(at)
        self.lease_may_end(at, node, "", "")

    def trouble(self, at: int, node: str, begins: bool) -> None:
        """A connector is frozen, or its disk fails or is slow: its deadlines do not count meanwhile."""
        spans = self._troubles.setdefault(node, [])
        if begins:
            spans.append([at, _INFINITE])
            return
        for span in spans:
            if span[1] == _INFINITE:
                span[1] = at
                break

    def _troubled(self, node: str, since: int, until: int) -> bool:
        margin = 500 * MS
        return any(begin <= until and end >= since - margin for begin, end in self._troubles.get(node, ()))

    def defect(self, at: int, node: str, what: str) -> None:
        """Something that must never happen, whatever the faults."""
        self._broken(at, "defect", node, f"{node}: {what}")

    def broken(self, at: int, rule: str, subject: str, text: str) -> None:
        """What the world found by looking (queues, drops, leases)."""
        self._broken(at, rule, subject, text)

    def _check_tenant(self, at: int, node: str, uuid: str, payload: bytes) -> None:
        self.checked["cross-tenant"] += 1
        tenant = orjson.loads(payload).get("tenant", tenant_of(node))
        if tenant != tenant_of(node):
            self._broken(at, "cross-tenant", uuid, f"{uuid} of {tenant} was seen at {node}")

    # ---- the end

    def finish(self, at: int, connectors: list[str]) -> None:
        """Everything should be over."""
        for (_, uuid), command in self._commands.items():
            self._finish_command(at, uuid, command)
        for (tenant, uuid), event in self._events.items():
            for node in connectors:
                if event.published and tenant_of(node) == tenant:
                    self.checked["missed event"] += 1
                    if node not in event.stored:
                        self._broken(at, "missed event", uuid, f"{node} never stored {uuid} of {event.node}")
        for iterator, reader in self._readers.items():
            self._finish_reader(at, iterator, reader)

    def _finish_command(self, at: int, uuid: str, command: _Command) -> None:
        outcomes = {attempt.outcome for attempt in command.attempts}
        for attempt in command.attempts:
            self._finish_attempt(at, command, attempt)
        if "ACCEPTED" in outcomes:
            self.checked["lost command"] += 1
            if not command.executed_at and not command.buried:
                self._broken(at, "lost command", uuid, f"{uuid} was receipted and never executed")
            senders = {a.node for a in command.attempts if a.outcome == "ACCEPTED"}
            for node in sorted(senders - command.replies.keys()):
                self._broken(
                    at, "lost command", uuid, f"{uuid} was receipted, and {node} never got the reply"
                )
        self.checked["unexpected execution"] += 1
        for payload in sorted(command.payloads):
            same = {attempt.outcome for attempt in command.attempts if attempt.payload == payload}
            if same and not same & {"ACCEPTED", "UNKNOWN", "LOST", ""}:
                text = f"{uuid} was executed although it was refused: {', '.join(sorted(same))}"
                self._broken(at, "unexpected execution", uuid, text)

    def _finish_attempt(self, at: int, command: _Command, attempt: Attempt) -> None:
        uuid, node = attempt.uuid, attempt.node
        if not attempt.outcome:
            self._broken(
                at, "unanswered", uuid, f"{uuid} sent at {attempt.at / 1e6:.3f} s was never answered"
            )
        if attempt.outcome == "UNKNOWN" and not self._forgotten(attempt):
            self.checked["unknown for ever"] += 1
            later = any(a.outcome == "ACCEPTED" and a.node == node for a in command.attempts)
            if not later and node not in command.replies and node not in command.failed:
                self._broken(at, "unknown for ever", uuid, f"{uuid} ended UNKNOWN, and nothing followed")

    def _forgotten(self, attempt: Attempt) -> bool:
        """Told, but not yet durable: its connector's disk took nothing, and then its process ended."""
        ended = any(end >= attempt.ended for end in self._ends.get(attempt.node, ()))
        return ended and self._troubled(attempt.node, attempt.at, attempt.ended)

    def hopeless(self, node: str, uuid: str) -> bool:
        """Whether whoever sent this there waits for something that nobody can know of any more."""
        attempts = [attempt for attempt in self._command(node, uuid).attempts if attempt.node == node]
        return bool(attempts) and all(a.outcome == "UNKNOWN" and self._forgotten(a) for a in attempts)

    def _finish_reader(self, at: int, iterator: str, reader: _Reader) -> None:
        for (_, uuid), event in self._events.items():
            if event.at > reader.since and reader.node in event.stored:
                self.checked["missed event"] += 1
                if uuid not in reader.shown:
                    text = f"iterator {iterator} of {reader.node} was never shown {uuid} of {event.node}"
                    self._broken(at, "missed event", uuid, text)
                elif uuid not in self._asked.get(iterator, reader.shown):
                    text = (
                        f"{iterator} was shown {uuid} of {event.node}, and never again till somebody had it"
                    )
                    self._broken(at, "missed event", uuid, text)


def tenant_of(node: str) -> str:
    return node.partition("/")[0]
