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

from tests.chaos.promises import OLD_HAND_OUTS, Promises
from tests.simulation.model import Attempt, Model, Violation
from zconnector.cli.ledger import Ledger
from zconnector.cli.topology import TENANT
from zconnector.errors import Reason
from zconnector.messages.kinds import Outcome
from zconnector.messages.message import derived_uuid
from zconnector.settings import QueueSettings

IN_DOUBT = 60.0
"""Seconds before a replay began in which its operator, who was not answered, asked for it."""


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
        self._replays: dict[str, bool] = {}
        """Dead letters that are commands again, by their new uuid."""
        self._finals: set[str] = set()
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
                self._finals.add(reference)

    def worked(
        self,
        at: float,
        name: str,
        worker: str,
        uuid: str,
        body: str,
        of: str = "",
        command: str = "",
        attempt: int = 1,
    ) -> None:
        """A worker began a command; `of`: the uuid under which it was sent, another one after a replay."""
        if uuid not in self._warm:
            self._line(at, "worked", name, worker, uuid, body, of or uuid, command, attempt)
            self.executed(uuid)
            if of not in ("", uuid):
                self._replays.setdefault(uuid, False)

    def worked_off(self, at: float, worker: str, uuid: str, how: str, pause: float) -> None:
        """Its handler has ended: done, fail, or retry after a pause. It is about to tell."""
        if uuid not in self._warm:
            self._line(at, "worked_off", worker, uuid, how, pause)

    def worker_heard(self, at: float, name: str, worker: str, uuid: str) -> None:
        """A worker was handed an event."""
        if uuid not in self._warm:
            self._line(at, "worker_heard", name, worker, uuid)

    @property
    def unheard(self) -> int:
        """Replies that a sender was given and the ear beside it was not shown so far."""
        return sum(entry.answered and not entry.finals for entry in self.commands.values())

    # ---- zconnector.v1

    def wished(
        self, at: float, source: str, target: str, name: str, uuid: str, asked: dict[str, Any]
    ) -> None:
        """A command with wishes is about to be sent; `asked`: ttl, delay, order_key, attempts."""
        self._line(at, "wished", source, target, name, uuid, asked)

    def ended_as(self, at: float, uuid: str, ok: bool, reason: str) -> None:
        """Its sender is told how it ended."""
        self._line(at, "ended_as", uuid, ok, reason)

    def delivered(
        self, at: float, name: str, subscription: str, member: str, uuid: str, attempt: int, ok: bool
    ) -> None:
        """A member of a named subscription was handed an event, and (ok) is done with it."""
        if uuid not in self._warm:
            self._line(at, "delivered", name, subscription, member, uuid, attempt, ok)
            if ok:
                self.saw(uuid, subscription)

    # ---- operators

    def paused(self, since: float, until: float, name: str, command: str) -> None:
        """A command name was certainly paused there in between."""
        self._line(since, "paused", until, name, command)

    def replayed(self, asked: float, answered: float, name: str, uuid: str, letter: str) -> None:
        """A dead letter is a command again."""
        self._line(asked, "replayed", answered, name, uuid, letter)
        self._replays[uuid] = True

    def replay_in_doubt(self, at: float, name: str) -> None:
        """That connector was asked to replay, and did not answer."""
        self._line(at, "replay_in_doubt", name)

    def refused_operator(self, at: float, name: str, verb: str, why: str) -> None:
        """An operator was refused."""
        self._line(at, "refused_operator", name, verb, why)

    @property
    def open_replays(self) -> int:
        """Replayed dead letters whose end the ear was not shown so far."""
        return sum(uuid not in self._finals for uuid in self._replays)

    # ---- the runner

    def fault(self, at: float, name: str, begins: bool) -> None:
        """Something is done to a connector, its front end or one of its workers."""
        self._line(at, "fault", name, begins)

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
        model = _Model(lease_limit=settings.lease_limit, dedupe_window=settings.dedupe_window)
        promises = Promises()
        telling = _Telling(model, promises)
        telling.all(sorted(self._lines, key=lambda line: line[:2]))
        for reader in telling.passing:
            model.unsubscribed(reader)
        model.finish(_us(at), [node_of(name) for name in connectors])
        violations = [*model.violations, *promises.judge()[:50]]
        checked, counts = model.checked + promises.checked, model.counts + promises.counts
        return Judgement(
            tuple(sorted(violations, key=lambda violation: violation.at)),
            dict(sorted(checked.items())),
            dict(sorted(counts.items())),
        )


def _completes(uuid: str, reference: str, event: str) -> bool:
    """Whether a reply is a worker's, and not the FAIL of an earlier try that nobody receipted."""
    return event in (Outcome.SUCCESS, Outcome.FAIL) and uuid != derived_uuid(reference, Reason.UNRECEIPTED)


def _us(at: float) -> int:
    return round(at * 1e6)


def _payload(uuid: str, body: str) -> bytes:
    return json.dumps({"uuid": uuid, "body": body}).encode()


class _Model(Model):
    """It sees no disk, so that it takes every dead letter for one whose attempts are used up. Those of
    commands with wishes have other reasons, too, which `Promises` judges."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.wished: set[str] = set()

    def _check_buried(self, at: int, *about: Any) -> None:
        if about[-2] not in self.wished:
            super()._check_buried(at, *about)
            return
        about[-1].buried = True
        self.counts["dead letters"] += 1


class _Telling:
    """Each sort of line as the model's events. A method for each."""

    def __init__(self, model: _Model, promises: Promises) -> None:
        self._model = model
        self._promises = promises
        self._uuids: dict[int, str] = {}
        """Of each attempt."""
        self._sent: set[str] = set()
        self._attempts: dict[int, Attempt] = {}
        self._completed: set[str] = set()
        self._thawed_at: dict[str, float] = {}
        self.passing: set[str] = set()
        """Readers that may die with what they were handed: workers."""

    def all(self, lines: list[tuple[float, int, str, tuple[Any, ...]]]) -> None:
        self._find_wished(lines)
        for at, number, what, facts in lines:
            if what == "sending":
                source, uuid, body, timeout = facts
                self._uuids[number] = uuid
                self._sent.add(uuid)
                self._attempts[number] = self._model.sending(
                    _us(at), node_of(source), uuid, _payload(uuid, body), round(timeout * 1000)
                )
            else:
                getattr(self, f"_{what}")(at, *facts)

    def _find_wished(self, lines: list[tuple[float, int, str, tuple[Any, ...]]]) -> None:
        """What an operator heard last, and a worker told late, must be known first."""
        for at, _, what, facts in lines:
            if what == "wished":
                self._promises.wished(at, *facts)
                self._model.wished.add(facts[3])
        for at, _, what, facts in lines:
            if what == "replayed":
                answered, name, uuid, letter = facts
                self._promises.replayed(at, answered, name, uuid, letter)
        for at, _, what, facts in lines:
            if what == "worked" and facts[2] != facts[4]:
                self._promises.replayed(at - IN_DOUBT, None, facts[0], facts[2], facts[4])
            elif what == "replay_in_doubt":
                self._promises.replay_in_doubt(facts[0])

    def _wished(self, *_: Any) -> None:
        """Known already; and so the next ones."""

    _replayed = _replay_in_doubt = _refused_operator = _delivered = _wished

    def _ended_as(self, at: float, uuid: str, ok: bool, reason: str) -> None:
        self._promises.read(at, uuid, ok, reason)

    def _paused(self, at: float, until: float, name: str, command: str) -> None:
        self._promises.paused(at, until, name, command)

    def _worked_off(self, at: float, worker: str, uuid: str, how: str, pause: float) -> None:
        self._promises.ended(at, worker, uuid, how, pause)

    def _fault(self, at: float, name: str, begins: bool) -> None:
        self._promises.fault(at, name, begins)

    def _outcome(self, at: float, attempt: int, outcome: str, uuid: str, stalled: float) -> None:
        if outcome == "ACCEPTED":
            self._promises.accepted(at, self._uuids[attempt])
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
        if _completes(uuid, reference, event):
            self._promises.final(at, reference, event)
        if self._is_a_replay(name, reference):
            return
        if _completes(uuid, reference, event) and reference not in self._completed:
            self._completed.add(reference)
            # Its source has the reply, so that its completion was accepted before.
            self._model.completed(_us(at), node_of(name), reference)
        meta = {"uuid": uuid, "reference": reference, "topic": topic, "event": event}
        self._model.event_stored(_us(at), node_of(name), {**meta, "directed": True, "source": ""})

    def _is_a_replay(self, name: str, uuid: str) -> bool:
        """The model knows of none: whether that is one, or may be one of which an operator did not hear."""
        known = self._promises.commands.get(uuid)
        if known is not None:
            return bool(known.replay_of) and known.source == name
        return uuid not in self._sent and self._promises.may_be_a_replay()

    def _worked(
        self, at: float, name: str, worker: str, uuid: str, body: str, of: str, command: str, attempt: int
    ) -> None:
        self._promises.began(at, name, command, worker, uuid, attempt)
        if uuid != of:
            return
        node = node_of(name)
        if uuid in self._promises.commands:
            self._model.executed(_us(at), node, uuid, worker)
            return
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
        self._promises.thawed(at, name)

    def _ended(self, at: float, name: str) -> None:
        self._model.ended(_us(at), node_of(name))

    def _trouble(self, at: float, name: str, begins: bool) -> None:
        self._model.trouble(_us(at), node_of(name), begins)


def tally(violations: Iterable[Violation]) -> Counter[str]:
    """How many of each rule."""
    return Counter(violation.rule for violation in violations)
