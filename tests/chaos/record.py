"""What clients, workers and the runner saw, with its time; judged at the end by the model of the simulation.

Whatever the system says of itself is not asked. Lines are written as they happen, also to a file; they may
come late (a worker's through its pipe), so the model is given them in the order of their times.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulation.model import Attempt, Model, Violation
from zconnector.cli.ledger import Ledger
from zconnector.cli.topology import TENANT
from zconnector.errors import Reason
from zconnector.messages.kinds import Outcome
from zconnector.messages.message import derived_uuid
from zconnector.settings import QueueSettings

OLD_HAND_OUTS = 1.5
"""Seconds after a thaw in which a worker may begin what was handed to it before."""


def node_of(name: str) -> str:
    """A connector as the model calls it."""
    return f"{TENANT}/{name}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the model found."""

    violations: tuple[Violation, ...]
    checked: dict[str, int]
    counts: dict[str, int]


class Record(Ledger):
    """The ledger of the demo, and beside it every line with its time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("w")
        self._lines: list[tuple[float, int, str, tuple[Any, ...]]] = []
        self._warm: set[str] = set()
        self.sent_at: dict[str, float] = {}
        self.receipted_at: dict[str, float] = {}

    def close(self) -> None:
        self._file.close()

    def _line(self, at: float, what: str, *facts: Any) -> int:
        number = len(self._lines)
        self._lines.append((at, number, what, facts))
        self._file.write(json.dumps([round(at, 4), what, *facts]) + "\n")
        return number

    # ---- senders

    def sending(self, at: float, source: str, uuid: str, body: str, timeout: float) -> int:
        """A client hands a command over (again); the number is for `outcome`."""
        return self._line(at, "sending", source, uuid, body, timeout)

    def outcome(self, at: float, attempt: int, outcome: str, uuid: str, stalled: float) -> None:
        """It hears how that ended; for `stalled` seconds of it the machine was not to be had."""
        self._line(at, "outcome", attempt, outcome, uuid, stalled)

    def reply_read(self, at: float, source: str, uuid: str, about: str, ok: bool) -> None:
        """The sender is given the reply; its payload says which command it is about."""
        self._line(at, "reply_read", source, uuid, about, ok)

    def publishing(self, at: float, source: str, uuid: str) -> None:
        self._line(at, "publishing", source, uuid)

    def event_taken(self, at: float, source: str, uuid: str, expected: frozenset[str]) -> None:
        """The client heard that its event is stored."""
        self._line(at, "published", source, uuid)
        self.published(uuid, expected)

    # ---- observers (clients that listen), and workers

    def observing(self, at: float, name: str, reader: str) -> None:
        self._line(at, "observing", name, reader)

    def observed(self, at: float, name: str, reader: str, uuid: str) -> None:
        """A client at `name` was shown a broadcast event."""
        if uuid not in self._warm:
            self._line(at, "observed", name, reader, uuid)
            self.saw(uuid, name)

    def observed_reply(self, at: float, name: str, uuid: str, reference: str, topic: str, event: str) -> None:
        """A client at `name` was shown a reply."""
        if reference not in self._warm:
            self._line(at, "observed_reply", name, uuid, reference, topic, event)
            if _completes(uuid, reference, event):
                self.final(reference, uuid)

    def worked(self, at: float, name: str, worker: str, uuid: str, body: str) -> None:
        """A worker began a command."""
        if uuid not in self._warm:
            self._line(at, "worked", name, worker, uuid, body)
            self.executed(uuid)

    def worker_heard(self, at: float, name: str, worker: str, uuid: str) -> None:
        """A worker was handed an event."""
        if uuid not in self._warm:
            self._line(at, "worker_heard", name, worker, uuid)

    @property
    def unheard(self) -> int:
        """Replies that a sender was given and the ear beside it was not shown so far."""
        return sum(entry.answered and not entry.finals for entry in self.commands.values())

    # ---- the runner

    def warm(self, uuid: str) -> None:
        """A message of the warming up: it does not count."""
        self._warm.add(uuid)

    def leases_may_end(self, at: float, name: str) -> None:
        """A worker, front end or connector there died or stood still."""
        self._line(at, "leases_may_end", name)

    def thawed(self, at: float, name: str) -> None:
        """A worker or front end there goes on, perhaps with what was handed to it long ago."""
        self._line(at, "thawed", name)

    def ended(self, at: float, name: str) -> None:
        """The process of a connector ended."""
        self._line(at, "ended", name)

    def trouble(self, at: float, name: str, begins: bool) -> None:
        """A connector (or what stands before it) is frozen, dead, or its disk is full."""
        self._line(at, "trouble", name, begins)

    # ---- the end

    def judge(self, at: float, connectors: Iterable[str]) -> Judgement:
        """Tell it all to the model."""
        settings = QueueSettings()
        model = Model(lease_limit=settings.lease_limit, dedupe_window=settings.dedupe_window)
        telling = _Telling(model)
        telling.all(sorted(self._lines, key=lambda line: line[:2]))
        for reader in telling.passing:
            model.unsubscribed(reader)
        model.finish(_us(at), [node_of(name) for name in connectors])
        return Judgement(
            tuple(model.violations),
            dict(sorted((+model.checked).items())),
            dict(sorted((+model.counts).items())),
        )


def _completes(uuid: str, reference: str, event: str) -> bool:
    """Whether a reply is a worker's, and not the FAIL of an earlier try that nobody receipted."""
    return event in (Outcome.SUCCESS, Outcome.FAIL) and uuid != derived_uuid(reference, Reason.UNRECEIPTED)


def _us(at: float) -> int:
    return round(at * 1e6)


def _payload(uuid: str, body: str) -> bytes:
    return json.dumps({"uuid": uuid, "body": body}).encode()


class _Telling:
    """Each sort of line as the model's events. A method for each."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._attempts: dict[int, Attempt] = {}
        self._completed: set[str] = set()
        self._thawed_at: dict[str, float] = {}
        self.passing: set[str] = set()
        """Readers that may die with what they were handed: workers."""

    def all(self, lines: list[tuple[float, int, str, tuple[Any, ...]]]) -> None:
        for at, number, what, facts in lines:
            if what == "sending":
                source, uuid, body, timeout = facts
                self._attempts[number] = self._model.sending(
                    _us(at), node_of(source), uuid, _payload(uuid, body), round(timeout * 1000)
                )
            else:
                getattr(self, f"_{what}")(at, *facts)

    def _outcome(self, at: float, attempt: int, outcome: str, uuid: str, stalled: float) -> None:
        self._model.outcome(_us(at - stalled), self._attempts[attempt], outcome, uuid)

    def _reply_read(self, at: float, source: str, uuid: str, about: str, ok: bool) -> None:
        outcome = Outcome.SUCCESS if ok else Outcome.FAIL
        self._model.reply_read(_us(at), node_of(source), uuid, about, outcome)

    def _publishing(self, at: float, source: str, uuid: str) -> None:
        self._model.publishing(_us(at), node_of(source), uuid)

    def _published(self, at: float, source: str, uuid: str) -> None:
        self._model.published(_us(at), node_of(source), uuid)
        self._stored(at, source, uuid)

    def _observing(self, at: float, name: str, reader: str) -> None:
        self._model.subscribed(_us(at), node_of(name), reader)

    def _observed(self, at: float, name: str, reader: str, uuid: str) -> None:
        self._stored(at, name, uuid)
        self._model.shown(_us(at), node_of(name), reader, uuid, b"{}")

    def _stored(self, at: float, name: str, uuid: str) -> None:
        meta = {"uuid": uuid, "reference": "", "topic": "", "event": "", "directed": False}
        self._model.event_stored(_us(at), node_of(name), meta)

    def _observed_reply(
        self, at: float, name: str, uuid: str, reference: str, topic: str, event: str
    ) -> None:
        if _completes(uuid, reference, event) and reference not in self._completed:
            self._completed.add(reference)
            # Its source has the reply, so that its completion was accepted before.
            self._model.completed(_us(at), node_of(name), reference)
        meta = {"uuid": uuid, "reference": reference, "topic": topic, "event": event}
        self._model.event_stored(_us(at), node_of(name), {**meta, "directed": True, "source": ""})

    def _worked(self, at: float, name: str, worker: str, uuid: str, body: str) -> None:
        node = node_of(name)
        if at - self._thawed_at.get(name, -OLD_HAND_OUTS) > OLD_HAND_OUTS:  # else nobody knows when it was
            self._model.handed(_us(at), node, uuid, _payload(uuid, body), worker, worker, {})
        self._model.executed(_us(at), node, uuid, worker)

    def _worker_heard(self, at: float, name: str, worker: str, uuid: str) -> None:
        reader = f"worker {worker}"
        self.passing.add(reader)
        self._model.subscribed(_us(at), node_of(name), reader)
        self._model.shown(_us(at), node_of(name), reader, uuid, b"{}")

    def _leases_may_end(self, at: float, name: str) -> None:
        self._model.lease_may_end(_us(at), node_of(name), "", "")

    def _thawed(self, at: float, name: str) -> None:
        self._thawed_at[name] = at

    def _ended(self, at: float, name: str) -> None:
        self._model.ended(_us(at), node_of(name))

    def _trouble(self, at: float, name: str, begins: bool) -> None:
        self._model.trouble(_us(at), node_of(name), begins)


def tally(violations: Iterable[Violation]) -> Counter[str]:
    """How many of each rule."""
    return Counter(violation.rule for violation in violations)
