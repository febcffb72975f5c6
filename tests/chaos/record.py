"""What clients, workers and the runner saw, with its time; judged at the end by the model of the simulation.

Whatever the system says of itself is not asked. Lines are written as they happen, also to a file; they may
come late (a worker's through its pipe), so the model is given them in the order of their times.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.promises import Promises
from tests.chaos.telling import Line, Seen, Telling, completes, node_of, us
from tests.chaos.version_promises import VersionPromises
from tests.chaos.version_story import VersionStory
from tests.simulation.model import Violation
from zconnector.cli.ledger import Ledger
from zconnector.settings import QueueSettings


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the model found."""

    violations: tuple[Violation, ...]
    checked: dict[str, int]
    counts: dict[str, int]
    versions: VersionStory = field(default_factory=VersionStory)


def _unstalled(begin: float, end: float) -> float:
    return 0.0


class Record(Ledger):
    """The ledger of the demo, and beside it every line with its time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("w")
        self._lines: list[Line] = []
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
            if completes(uuid, reference, event):
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

    # ---- worker versions

    def version(self, at: float, what: str, *facts: Any) -> None:
        """A fact of `VersionPromises`."""
        self._line(at, "version", what, *facts)

    def version_did(self, entry: Mapping[str, Any], name: str) -> None:
        """A line that a version of this connector wrote into its ledger."""
        at, did, version, pid = entry["at"], entry["did"], entry["version"], entry["pid"]
        uuid = entry.get("uuid", "")
        if did == "process":
            self.version(at, did, version, pid, entry["place"])
        elif did == "crashed":
            self.version(at, did, pid)
            self.leases_may_end(at, name)
        elif uuid not in self._warm:
            if did == "done":
                self.version(at, did, version, pid)
                return
            self.version(at, did, version, pid, uuid, entry["canary"])
            if not entry["canary"]:
                self.worked(at, name, f"{version}-{pid}", uuid, entry["body"], command=entry["name"])

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

    def judge(
        self,
        at: float,
        connectors: Iterable[str],
        stalled: Callable[[float, float], float] = _unstalled,
    ) -> Judgement:
        """Tell it all to the model. `stalled`: seconds, of a span of time, that the machine took."""
        settings = QueueSettings()
        model = Seen(lease_limit=settings.lease_limit, dedupe_window=settings.dedupe_window)
        promises = Promises()
        versions = VersionPromises()
        telling = Telling(model, promises, versions)
        telling.all(sorted(self._lines, key=lambda line: line[:2]))
        for reader in telling.passing:
            model.unsubscribed(reader)
        model.finish(us(at), [node_of(name) for name in connectors])
        violations = [*model.violations, *promises.judge()[:50], *versions.judge(stalled)]
        checked = model.checked + promises.checked + versions.checked
        counts = model.counts + promises.counts
        return Judgement(
            tuple(sorted(violations, key=lambda violation: violation.at)),
            dict(sorted(checked.items())),
            dict(sorted(counts.items())),
            versions.story(),
        )


def tally(violations: Iterable[Violation]) -> Counter[str]:
    """How many of each rule."""
    return Counter(violation.rule for violation in violations)
