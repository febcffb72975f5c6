"""Lines of the record as events of the simulation's model, and as facts for `Promises`. Pure."""

from __future__ import annotations

import json
from typing import Any

from tests.chaos.promises import OLD_HAND_OUTS, Promises
from tests.chaos.version_promises import VersionPromises
from tests.chaos.version_schedule import ROUTER
from tests.simulation.model import Attempt, Model
from zconnector.cli.topology import TENANT
from zconnector.errors import Reason
from zconnector.messages.kinds import Outcome
from zconnector.messages.message import derived_uuid

Line = tuple[float, int, str, tuple[Any, ...]]
"""Time, number, what, facts."""
IN_DOUBT = 60.0
"""Seconds before a replay began in which its operator, who was not answered, asked for it."""


def node_of(name: str) -> str:
    """A connector as the model calls it."""
    return f"{TENANT}/{name}"


def completes(uuid: str, reference: str, event: str) -> bool:
    """Whether a reply is a worker's, and not the FAIL of an earlier try that nobody receipted."""
    return event in (Outcome.SUCCESS, Outcome.FAIL) and uuid != derived_uuid(reference, Reason.UNRECEIPTED)


def us(at: float) -> int:
    return round(at * 1e6)


def _payload(uuid: str, body: str) -> bytes:
    return json.dumps({"uuid": uuid, "body": body}).encode()


class Seen(Model):
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


class Telling:
    """Each sort of line as the model's events. A method for each."""

    def __init__(self, model: Seen, promises: Promises, versions: VersionPromises) -> None:
        self._model = model
        self._promises = promises
        self._versions = versions
        self._tries: dict[int, tuple[float, str]] = {}
        """When each attempt was begun, and its uuid."""
        self._sent: set[str] = set()
        self._attempts: dict[int, Attempt] = {}
        self._completed: set[str] = set()
        self._thawed_at: dict[str, float] = {}
        self.passing: set[str] = set()
        """Readers that may die with what they were handed: workers."""

    def all(self, lines: list[Line]) -> None:
        self._find_wished(lines)
        for at, number, what, facts in lines:
            if what == "sending":
                source, uuid, body, timeout = facts
                self._tries[number] = at, uuid
                self._sent.add(uuid)
                self._attempts[number] = self._model.sending(
                    us(at), node_of(source), uuid, _payload(uuid, body), round(timeout * 1000)
                )
            else:
                getattr(self, f"_{what}")(at, *facts)

    def _find_wished(self, lines: list[Line]) -> None:
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
        if name == ROUTER:
            self._versions.fault(at, begins)

    def _version(self, at: float, what: str, *facts: Any) -> None:
        getattr(self._versions, what)(at, *facts)

    def _outcome(self, at: float, attempt: int, outcome: str, uuid: str, stalled: float) -> None:
        begun, tried = self._tries[attempt]
        self._promises.tried(begun, at, tried, outcome)
        self._model.outcome(us(at - stalled), self._attempts[attempt], outcome, uuid)

    def _reply_read(self, at: float, source: str, uuid: str, about: str, ok: bool) -> None:
        outcome = Outcome.SUCCESS if ok else Outcome.FAIL
        self._model.reply_read(us(at), node_of(source), uuid, about, outcome)

    def _publishing(self, at: float, source: str, uuid: str) -> None:
        self._model.publishing(us(at), node_of(source), uuid)

    def _published(self, at: float, source: str, uuid: str) -> None:
        self._model.published(us(at), node_of(source), uuid)
        self._stored(at, source, uuid)

    def _observing(self, at: float, name: str, reader: str) -> None:
        self._model.subscribed(us(at), node_of(name), reader)

    def _observed(self, at: float, name: str, reader: str, uuid: str) -> None:
        self._stored(at, name, uuid)
        self._model.shown(us(at), node_of(name), reader, uuid, b"{}")

    def _stored(self, at: float, name: str, uuid: str) -> None:
        meta = {"uuid": uuid, "reference": "", "topic": "", "event": "", "directed": False}
        self._model.event_stored(us(at), node_of(name), meta)

    def _observed_reply(
        self, at: float, name: str, uuid: str, reference: str, topic: str, event: str
    ) -> None:
        if completes(uuid, reference, event):
            self._promises.final(at, reference, event)
        if self._is_a_replay(name, reference):
            return
        if completes(uuid, reference, event) and reference not in self._completed:
            self._completed.add(reference)
            # Its source has the reply, so that its completion was accepted before.
            self._model.completed(us(at), node_of(name), reference)
        meta = {"uuid": uuid, "reference": reference, "topic": topic, "event": event}
        self._model.event_stored(us(at), node_of(name), {**meta, "directed": True, "source": ""})

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
            self._model.executed(us(at), node, uuid, worker)
            return
        if at - self._thawed_at.get(name, -OLD_HAND_OUTS) > OLD_HAND_OUTS:  # else nobody knows when it was
            self._model.handed(us(at), node, uuid, _payload(uuid, body), worker, worker, {})
        self._model.executed(us(at), node, uuid, worker)

    def _worker_heard(self, at: float, name: str, worker: str, uuid: str) -> None:
        reader = f"worker {worker}"
        self.passing.add(reader)
        self._model.subscribed(us(at), node_of(name), reader)
        self._model.shown(us(at), node_of(name), reader, uuid, b"{}")

    def _leases_may_end(self, at: float, name: str) -> None:
        self._model.lease_may_end(us(at), node_of(name), "", "")

    def _thawed(self, at: float, name: str) -> None:
        self._thawed_at[name] = at
        self._promises.thawed(at, name)

    def _ended(self, at: float, name: str) -> None:
        self._model.ended(us(at), node_of(name))

    def _trouble(self, at: float, name: str, begins: bool) -> None:
        self._model.trouble(us(at), node_of(name), begins)
