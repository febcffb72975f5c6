"""The promises that are watched, and what each part of the model knows of the world."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.simulation.scheduler import MS, SECOND

RULES: dict[str, str] = {
    "lost command": "a receipted command is executed, or is a dead letter; its sender has the reply",
    "unexpected execution": "what was refused for certain is not executed; nothing is at two connectors",
    "accepted twice": "a command has one accepted completion; a uuid stands for one body",
    "redelivery": "nothing is handed out again after its end: completed, or a dead letter",
    "overlapping leases": "a command is handed out again only after its lease has ended by a rule",
    "fencing": "only the token of the lease that lasts settles it, and that one does, over restarts too",
    "attempts": "attempts are counted, unseen ones are not, and there are no more than the policy says",
    "order key": "a command begins after all that came before it under its name and order key have ended",
    "priority": "of what is ready under one name the first by priority and arrival is handed out first",
    "delay": "nothing delayed or put off is handed out over 100 ms too early, or ready over 100 ms too late",
    "time to live": "nothing begins or is done after its time to live, and nothing expires before",
    "dead letters": "DEAD, its one letter and its FAIL are one commit, for a reason that there is",
    "replay": "a replayed letter is a command with a fresh uuid, and no letter any more",
    "pause": "nothing of a paused name is handed out, over restarts too",
    "wishes kept": "a command is stored with the wishes that its sender had",
    "subscription": "each event comes to each subscription, to one holder at a time, never after its ack",
    "unheard": "who awaits the reply to a command hears it when it is there",
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
    "version declares": "a command goes to a worker that registered its name, and to no other",
    "version gated": "a version that is held back has its canary and nothing else, a drained one nothing",
    "version routed": "each command goes to the version that pins, shares and age say, as it is handed out",
    "version table": "a version is active while one that registered it lives, is not held, not drained",
    "bad version": "a version that is bad from its start, or within its gate, has no ordinary traffic",
    "update twice": "where no worker and no router dies nothing is run twice, and nobody is ended too soon",
    "rollout state": "what a restart finds is what was kept: old before the shift, new after it",
    "edition kept": "what serves is started again from the same content and with the same values only",
    "disk kept": "what runs, and what a rollback or a crash loop goes back to, lies on the disk",
    "disk tidied": "of a former product nothing stays on the disk that nobody goes back to",
    "old or new": "whatever was killed when, one of the two sets of versions runs and serves",
    "admin answer": "an admin command has SUCCES only where the version really serves, or has stopped",
    "one process": "a version has one process at most, and none that should not run",
    "not drained": "when faults stop, everything comes to its end",
    "defect": "no core raises, no process ends by itself",
}
"""Each rule and the promise that it watches."""

_INFINITE = 1 << 62
MOST = 50
"""Violations of one rule that are told: many of one sort must not hide another."""


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


class Book:
    """What all parts of the model write in."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._told: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        """How often each rule was applied."""
        self.counts: Counter[str] = Counter()
        self._ends: dict[str, list[int]] = {}
        self._started: dict[str, int] = {}
        """When the last process of a connector began."""
        self._jumps: dict[str, list[int]] = {}
        """When its wall clock was set."""
        self._troubles: dict[str, list[list[int]]] = {}
        """By node: [begin, end] of the times when it was frozen or its disk was not well."""

        self.cancelled_by_hand: set[tuple[str, str]] = set()
        """Node and uuid of commands that somebody has asked to cancel: whoever runs one has it no more."""

    def _broken(self, at: int, rule: str, subject: str, text: str) -> None:
        self._told[rule] += 1
        if self._told[rule] <= MOST:
            self.violations.append(Violation(at, rule, subject, text))

    def broken(self, at: int, rule: str, subject: str, text: str) -> None:
        """What the world found by looking (queues, drops, leases)."""
        self._broken(at, rule, subject, text)

    def defect(self, at: int, node: str, what: str) -> None:
        """Something that must never happen, whatever the faults."""
        self._broken(at, "defect", node, f"{node}: {what}")

    # ---- the world

    def started(self, at: int, node: str) -> None:
        """A process of a connector begins, with what is on its disk."""
        self._started[node] = at

    def jumped(self, at: int, node: str) -> None:
        """A machine's wall clock was set."""
        self._jumps.setdefault(node, []).append(at)

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

    def _restarted(self, node: str, since: int, until: int) -> bool:
        """Whether a process of this connector ended in that time."""
        return any(since <= end <= until for end in self._ends.get(node, ()))

    def _misled(self, node: str, since: int, until: int) -> bool:
        """Whether it was restarted with a wall clock that was set since: stored times mean little then."""
        jumped = any(since - SECOND <= jump <= until for jump in self._jumps.get(node, ()))
        return jumped and self._restarted(node, since, until)


def tenant_of(node: str) -> str:
    return node.partition("/")[0]
