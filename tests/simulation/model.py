"""The model: what was seen from outside goes in, broken promises come out. Pure.

Clients, workers, disks and the world tell it what happens, in order; each method is one sort of event.
Times are virtual microseconds, `node` is a connector as `tenant/name`. It knows nothing of how the system
works, only what DESIGN section 3 and WIRE.md promise.

Here is what is said of commands from end to end; `model_rows.py` has what a connector's disk shows of them,
`model_leases.py` who has them, `model_events.py` and `model_subscriptions.py` the events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.model_leases import Held, LeaseRules
from tests.simulation.rules import RULES, Violation, tenant_of
from tests.simulation.scheduler import MS, SECOND
from zconnector.errors import Reason
from zconnector.messages.kinds import Outcome
from zconnector.messages.message import derived_uuid
from zconnector.messages.retry import RetryPolicy

__all__ = ["RULES", "Attempt", "Model", "Violation", "tenant_of"]

DEADLINE_SLACK = 100 * MS
FAILOVER_SLACK = 200 * MS


@dataclass(slots=True, eq=False)
class Attempt:
    """One try of a client to send a command."""

    node: str
    uuid: str
    payload: bytes
    at: int
    timeout: int
    """Microseconds."""
    wishes: Mapping[str, Any]
    outcome: str = ""
    ended: int = 0


@dataclass(slots=True)
class _Command:
    """All that is known of one (tenant, uuid)."""

    attempts: list[Attempt] = field(default_factory=list)
    executed_at: dict[str, int] = field(default_factory=dict)
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


class Model(LeaseRules):
    """Judges one run."""

    def __init__(
        self,
        *,
        lease_limit: float,
        dedupe_window: float,
        adopt_within: float = 15.0,
        policy: RetryPolicy | None = None,
        retries: Mapping[str, Mapping[str, Any]] | None = None,
        drops: bool = False,
    ) -> None:
        super().__init__(
            lease_limit=lease_limit,
            adopt_within=adopt_within,
            policy=policy or RetryPolicy(),
            retries=retries or {},
            drops=drops,
        )
        self._dedupe = int(dedupe_window * 0.95 * SECOND)
        self._commands: dict[tuple[str, str], _Command] = {}

    def _command(self, node: str, uuid: str) -> _Command:
        key = (tenant_of(node), uuid)
        command = self._commands.get(key)
        if command is None:
            command = self._commands[key] = _Command()
        return command

    # ---- senders

    def sending(
        self,
        at: int,
        node: str,
        uuid: str,
        payload: bytes,
        timeout_ms: int,
        wishes: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """A client hands a command over (again)."""
        attempt = Attempt(node, uuid, payload, at, timeout_ms * MS, wishes or {})
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
        """The queue hands a command to a worker's call; over zconnector.v1 through `iterator` "".

        `worker` is then the holder, as far as there is one.
        """
        self.counts["hand-outs"] += 1
        command = self._command(node, uuid)
        self._check_tenant(at, node, uuid, payload)
        self._check_body(at, node, uuid, payload, command, str(header.get("replay_of", "")))
        self.checked["redelivery"] += 1
        if command.completed >= 0 and at - command.completed < self._dedupe:
            text = (
                f"{uuid} was handed out at {node} {(at - command.completed) / MS:.0f} ms after its completion"
            )
            self._broken(at, "redelivery", uuid, text)
        if command.buried and command.hand_outs.get(node, 0) >= self._policy.attempts:
            self._broken(at, "redelivery", uuid, f"{uuid} was handed out at {node} as a dead letter")
        if iterator:
            length = int(header["lease"] * MS * 0.99) if header.get("lease") else self._lease_limit
            held = Held(at, 0, node, worker, iterator, at + length)
        else:
            self.counts["hand-outs of v1"] += 1
            held = self._with_token(at, node, worker, header)
        self._row_handed(at, node, uuid, held.attempt)
        self._lease_handed(at, node, uuid, held)
        command.hand_outs[node] = command.hand_outs.get(node, 0) + 1
        command.payloads.add(payload)

    def _with_token(self, at: int, node: str, holder: str, entry: Mapping[str, Any]) -> Held:
        token, length = str(entry["token"]), int(entry["lease"]) * MS
        return Held(
            at,
            0,
            node,
            holder or "a single call",
            f"token {token}",
            at + int(length * 0.99),
            token=token,
            length=length,
            holder=holder,
            attempt=int(entry["attempt"]),
        )

    def _check_body(
        self, at: int, node: str, uuid: str, payload: bytes, command: _Command, origin: str
    ) -> None:
        self.checked["wrong uuid"] += 1
        sent = {attempt.payload for attempt in command.attempts}
        seen: set[str] = set()
        while origin and origin not in seen:  # replayed, perhaps more than once
            seen.add(origin)
            sent |= {attempt.payload for attempt in self._command(node, origin).attempts}
            sent |= self._edits.get((node, origin), set())
            origin = self._replayed.get((node, origin), "")
        if payload not in sent:
            text = f"{uuid} was handed out at {node} with a body that nobody sent: {payload!r}"
            self._broken(at, "wrong uuid", uuid, text)

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
        """A worker is told that its SUCCES or FAIL (or ack) is taken."""
        command = self._command(node, uuid)
        if command.completed < 0:
            command.completed = at
            self.counts["completions"] += 1

    def _done_put(self, at: int, node: str, uuid: str) -> None:
        super()._done_put(at, node, uuid)
        command = self._command(node, uuid)
        if command.completed < 0:
            command.completed = at

    def _wishes_of(self, node: str, uuid: str) -> list[Mapping[str, Any]]:
        return [attempt.wishes for attempt in self._command(node, uuid).attempts]

    # ---- disks and processes

    def event_stored(self, at: int, node: str, meta: Mapping[str, Any]) -> None:
        """An event is durable at a connector."""
        uuid, reference = str(meta["uuid"]), str(meta["reference"])
        if meta["directed"]:
            mine = meta["source"] == node.partition("/")[2]
            self._reply_stored(at, node, uuid, reference, str(meta["event"]), mine=mine)
        elif meta["topic"] != "ERROR" and not reference:
            self._event_stored(at, node, uuid)

    def _reply_stored(self, at: int, node: str, uuid: str, reference: str, event: str, *, mine: bool) -> None:
        published = self._events.get((tenant_of(node), reference))
        if published is not None:
            if published.node != node and not mine:  # of its own replies to events it keeps a copy
                self._broken(at, "wrong uuid", reference, f"a reply to {reference} came to {node}")
            return
        command = self._command(node, reference)
        self.checked["wrong uuid"] += 1
        if all(attempt.node != node for attempt in command.attempts) and not self._is_replay_of(
            node, reference
        ):
            self._broken(
                at, "wrong uuid", reference, f"a reply to {reference} came to {node}, which never sent it"
            )
        if event not in (Outcome.SUCCESS, Outcome.FAIL):
            return
        if uuid == derived_uuid(reference, Reason.UNRECEIPTED):
            command.failed[node] = at
            self._check_failed(at, node, reference, command)
            self._reply_there(at, node, reference)
            return
        if uuid == derived_uuid(reference, Outcome.FAIL):
            self._check_buried(at, node, reference, command)
        replies = command.replies.setdefault(node, {})
        replies[uuid] = None
        self._reply_there(at, node, reference)
        self.checked["accepted twice"] += 1
        if len(replies) > 1 and at - command.completed < self._dedupe:
            text = f"{reference} has {len(replies)} final replies at {node}: {', '.join(replies)}"
            self._broken(at, "accepted twice", reference, text)

    def _is_replay_of(self, node: str, uuid: str) -> bool:
        """Whether a letter was replayed under this uuid that came from that connector."""
        tenant = tenant_of(node)
        return any(
            row.source == node and (of, uuid) in self._replayed
            for of in self._nodes_with(tenant)
            if (row := self._rows.get((of, uuid))) is not None
        )

    def _nodes_with(self, tenant: str) -> list[str]:
        return sorted({node for node, _ in self._replayed if tenant_of(node) == tenant})

    def _check_buried(self, at: int, node: str, uuid: str, command: _Command) -> None:
        """A FAIL of the queue itself: there is a letter, or it had all its attempts."""
        command.buried = True
        self.counts["dead letters"] += 1
        if any(tenant_of(of) == tenant_of(node) for of, letter in self._buried if letter == uuid):
            return
        self.checked["lost command"] += 1
        most = max(command.hand_outs.values(), default=0)
        if most < self._policy.attempts:
            text = f"{uuid} became a dead letter after {most} hand-outs of {self._policy.attempts}"
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

    def _has_reply(self, node: str, uuid: str) -> bool:
        command = self._command(node, uuid)
        if node in command.replies or node not in command.failed:
            return node in command.replies
        # What nobody knew is no answer for a later copy that was receipted: its reply is waited for.
        failed = command.failed[node]
        return not any(a.node == node and a.outcome == "ACCEPTED" and a.at > failed for a in command.attempts)

    def _is_accepted(self, node: str, uuid: str) -> bool:
        attempts = self._command(node, uuid).attempts
        return any(a.outcome == "ACCEPTED" and a.node == node for a in attempts)

    def started(self, at: int, node: str) -> None:
        """A process of a connector begins, with what is on its disk."""
        super().started(at, node)
        self._rows_restored(at, node)
        self._leases_restored(at, node)

    def ended(self, at: int, node: str) -> None:
        """A connector's process ended, in whatever way; another one will begin on its disk."""
        self._ends.setdefault(node, []).append(at)
        self._leases_ended(at, node)
        self._rows_unsure(node)
        self._subscriptions_ended(node)

    def trouble(self, at: int, node: str, begins: bool) -> None:
        """A connector is frozen, or its disk fails or is slow: its deadlines do not count meanwhile."""
        super().trouble(at, node, begins)
        self._rows_unsure(node)

    # ---- the end

    def finish(self, at: int, connectors: list[str]) -> None:
        """Everything should be over."""
        for (_, uuid), command in self._commands.items():
            self._finish_command(at, uuid, command)
        self._finish_events(at, connectors)
        self._finish_subscriptions(at)
        self._finish_awaiters(at)
        self._finish_rows(at)

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
