"""What the record can know of commands with wishes (zconnector.v1), judged at the end. Pure.

The model of the simulation sees disks, leases and tokens; here there is only what senders were told, when
workers began and ended, and what operators and faults did. Times are seconds. Whatever may have been between
two sights (a fault there, what a frozen worker held in its socket) excuses.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.model import Violation
from zconnector.errors import Reason
from zconnector.messages.kinds import Outcome

WISHED_RULES: dict[str, str] = {
    "end without cause": "each SUCCES, FAIL and dead letter of what had wishes has its cause",
    "refused and run": "what was refused whenever it was tried has not been taken",
    "second end": "sender, ear and replays agree on one end",
    "replay lost": "a replayed dead letter ends, and its source is told",
    "order key": "of one name and key, nothing begins before what arrived earlier has ended",
    "delay": "nothing begins before its delay, nor again before the pause that its worker asked for",
    "ttl": "nothing begins after its time to live",
    "paused": "nothing of a paused name is handed out",
    "two at once": "a command runs at two workers only when something happened to the first",
}
"""Each rule and the promise that it watches."""

OLD_HAND_OUTS = 1.5
"""Seconds after a thaw, a pause or an expiry in which a worker may begin what was handed to it before."""
MARGIN = 0.5
"""Seconds after a fault in which what it did may still show."""
EARLY = 0.01
"""Seconds: clocks of milliseconds are rounded."""
PERHAPS = frozenset({"ACCEPTED", "UNKNOWN", "LOST"})
"""Outcomes of what may have been taken."""
ATTEMPTS = 5
"""Of commands whose sender says nothing."""


@dataclass(slots=True)
class Run:
    """One worker's run of a command."""

    worker: str
    began: float
    attempt: int
    ended: float | None = None
    how: str = ""
    pause: float = 0.0


@dataclass(slots=True)
class Wished:
    """One command, or replayed dead letter."""

    uuid: str
    source: str
    target: str
    name: str
    after: float
    """It arrived at its target after that (when it was first sent)."""
    ttl: float = 0.0
    delay: float = 0.0
    order_key: str = ""
    attempts: int = ATTEMPTS
    replay_of: str = ""
    accepted: float | None = None
    """It had arrived by then (when its receipt was heard)."""
    tries: list[tuple[float, float, str]] = field(default_factory=list)
    """When it was handed over, when that was answered, and how."""
    runs: list[Run] = field(default_factory=list)
    read: tuple[float, bool, str] | None = None
    """What its sender was told: when, ok, reason."""
    finals: list[tuple[float, str]] = field(default_factory=list)
    """When its source had SUCCES or FAIL."""

    def before(self, at: float) -> list[tuple[float, float, str]]:
        """Tries that had been begun by then."""
        return [each for each in self.tries if each[0] <= at]

    @property
    def arrived(self) -> float:
        """It had arrived by then; infinite when nobody knows."""
        seen = [run.began for run in self.runs[:1]]
        return min([*seen, *([] if self.accepted is None else [self.accepted])], default=float("inf"))


class Promises:
    """Facts in any order, then `judge`."""

    def __init__(self) -> None:
        self.commands: dict[str, Wished] = {}
        self.checked: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._violations: list[Violation] = []
        self._thaws: dict[str, list[float]] = defaultdict(list)
        self._faults: dict[str, list[list[float]]] = defaultdict(list)
        """By connector: [begin, end]."""
        self._pauses: list[tuple[float, float, str, str]] = []
        self._began: list[tuple[float, str, str, str]] = []
        """(at, connector, name, uuid) of everything that began."""
        self._doubtful: set[str] = set()

    # ---- facts

    def wished(
        self, at: float, source: str, target: str, name: str, uuid: str, asked: Mapping[str, Any]
    ) -> None:
        """A command is about to be sent."""
        self.commands[uuid] = Wished(
            *(uuid, source, target, name, at, asked["ttl"], asked["delay"], asked["order_key"]),
            attempts=asked["attempts"] or ATTEMPTS,
        )

    def replayed(self, asked: float, answered: float | None, target: str, uuid: str, letter: str) -> None:
        """An operator made a command of a dead letter; `answered` None: all that is known is that it runs."""
        known = self.commands.get(uuid)
        if known is None and (first := self.commands.get(letter)) is not None:
            known = self.commands[uuid] = Wished(
                *(uuid, first.source, target, first.name, asked, first.ttl, 0.0, first.order_key),
                attempts=first.attempts,
                replay_of=first.replay_of or letter,
            )
            self.counts["dead letters replayed"] += 1
        if known is not None and answered is not None:
            known.after, known.accepted = asked, answered

    def replay_in_doubt(self, target: str) -> None:
        """An operator was not answered."""
        self._doubtful.add(target)

    def tried(self, begun: float, heard: float, uuid: str, outcome: str) -> None:
        """A sender handed it over (again), and was told."""
        if (known := self.commands.get(uuid)) is not None:
            known.tries.append((begun, heard, outcome))
            if outcome == "ACCEPTED" and known.accepted is None:
                known.accepted = heard

    def began(self, at: float, target: str, name: str, worker: str, uuid: str, attempt: int) -> None:
        self._began.append((at, target, name, uuid))
        if (known := self.commands.get(uuid)) is not None:
            bisect.insort(known.runs, Run(worker, at, attempt), key=lambda run: run.began)

    def ended(self, at: float, worker: str, uuid: str, how: str, pause: float) -> None:
        """A handler has ended: done, fail, retry. Nobody was told yet."""
        known = self.commands.get(uuid)
        for run in reversed(known.runs if known is not None else []):
            if run.worker == worker and run.ended is None and run.began <= at:
                run.ended, run.how, run.pause = at, how, pause
                return

    def final(self, at: float, uuid: str, event: str) -> None:
        """Its source has SUCCES or FAIL."""
        if (known := self.commands.get(uuid)) is not None:
            known.finals.append((at, event))

    def read(self, at: float, uuid: str, ok: bool, reason: str) -> None:
        """Its sender is told."""
        if (known := self.commands.get(uuid)) is not None:
            known.read = at, ok, reason

    def fault(self, at: float, target: str, begins: bool) -> None:
        """Something is done to a connector, its front end or its workers."""
        spans = self._faults[target]
        if begins:
            spans.append([at, float("inf")])
            return
        for span in spans:
            if span[1] == float("inf"):
                span[1] = at
                return
        spans.append([at, at])

    def thawed(self, at: float, target: str) -> None:
        self._thaws[target].append(at)

    def paused(self, since: float, until: float, target: str, name: str) -> None:
        """A name was certainly paused in between."""
        self._pauses.append((since, until, target, name))

    def may_be_a_replay(self) -> bool:
        """Whether an operator was not answered, so that there may be replays that nobody knows."""
        return bool(self._doubtful)

    # ---- judgement

    def judge(self) -> list[Violation]:
        for each in self.commands.values():
            self._judge_end(each)
            self._judge_runs(each)
        self._judge_replays()
        self._judge_order()
        self._judge_pauses()
        return self._violations

    def _broken(self, at: float, rule: str, uuid: str, text: str) -> None:
        self._violations.append(Violation(round(at * 1e6), rule, uuid, text))

    def _fault_in(self, target: str, since: float, until: float) -> bool:
        return any(begin <= until and end + MARGIN >= since for begin, end in self._faults[target])

    def _was_held(self, target: str, at: float) -> bool:
        """Whether what began then may have been handed out long before."""
        return any(0 <= at - thaw <= OLD_HAND_OUTS for thaw in self._thaws[target])

    def _judge_end(self, each: Wished) -> None:
        if each.read is None:
            return
        at, ok, reason = each.read
        self.counts[f"end {'SUCCES' if ok else reason or 'FAIL'}"] += 1
        self.checked["end without cause"] += 1
        if why := self._unfounded(each, at, ok, reason):
            self._broken(at, "end without cause", each.uuid, f"{each.uuid} ended {reason or ok}, and {why}")
        self.checked["second end"] += 1
        told = Outcome.SUCCESS if ok else Outcome.FAIL
        if any(event != told for _, event in each.finals) and reason != Reason.UNRECEIPTED:
            text = (
                f"the sender of {each.uuid} was told {told}, its ear {', '.join(e for _, e in each.finals)}"
            )
            self._broken(at, "second end", each.uuid, text)

    def _unfounded(self, each: Wished, at: float, ok: bool, reason: str) -> str:
        """Why a command cannot have ended so; "": it can."""
        ends = {run.how for run in each.runs if run.ended is not None and run.ended <= at}
        if ok:
            return "" if "done" in ends else "no worker had done it"
        if reason in ("", Reason.FAILED):
            return "" if "fail" in ends else "no worker had failed it"
        if reason == Reason.EXPIRED:
            due = each.after + each.ttl - EARLY
            return "" if each.ttl and at >= due else f"its time to live was {each.ttl:g} s"
        if reason == Reason.ATTEMPTS_EXHAUSTED:
            tried = max((run.attempt for run in each.runs), default=0)
            if tried >= each.attempts or self._fault_in(each.target, each.after, at):
                return ""
            return f"it had {tried} of {each.attempts} attempts"
        if reason == Reason.UNRECEIPTED:
            # A connector that was restarted in between knows of no receipt until the reply is there.
            lost = each.accepted is not None and self._fault_in(each.source, each.accepted, at)
            return "" if each.accepted is None or lost else "it was receipted"
        return "nobody asked for that"

    def _judge_runs(self, each: Wished) -> None:
        if not each.runs:
            return
        first = each.runs[0].began
        if not each.replay_of:
            self.checked["refused and run"] += 1
            if all(heard < first and outcome not in PERHAPS for begun, heard, outcome in each.before(first)):
                text = f"{each.uuid} began although all that its sender was told until then were refusals"
                self._broken(first, "refused and run", each.uuid, text)
        if each.delay:
            self.checked["delay"] += 1
            early = each.after + each.delay - first
            if early > EARLY:
                self._broken(first, "delay", each.uuid, f"{each.uuid} began {early:.3f} s before its delay")
        for run in each.runs:
            self._judge_ttl(each, run)
        for before, run in zip(each.runs, each.runs[1:], strict=False):
            excused = self._fault_in(each.target, before.began, run.began)
            self.checked["two at once"] += 1
            if (before.ended is None or before.ended > run.began) and not excused:
                text = f"{each.uuid} began at {run.worker} while {before.worker} ran it"
                self._broken(run.began, "two at once", each.uuid, text)
            if before.how == "retry" and before.ended is not None:
                self.checked["delay"] += 1
                early = before.ended + before.pause - run.began
                if early > EARLY and not excused:
                    text = f"{each.uuid} began again {early:.3f} s before the pause of its Retry was over"
                    self._broken(run.began, "delay", each.uuid, text)

    def _judge_ttl(self, each: Wished, run: Run) -> None:
        if not each.ttl or each.accepted is None:
            return
        self.checked["ttl"] += 1
        due = each.accepted + each.ttl
        late = run.began - due
        excused = self._was_held(each.target, run.began) or self._fault_in(each.target, due, run.began)
        if late > OLD_HAND_OUTS and not excused:
            self._broken(run.began, "ttl", each.uuid, f"{each.uuid} began {late:.3f} s after its ttl")

    def _judge_replays(self) -> None:
        again: dict[str, list[Wished]] = defaultdict(list)
        for each in self.commands.values():
            if each.replay_of:
                again[each.replay_of].append(each)
                self.checked["replay lost"] += 1
                if not each.finals:
                    text = f"{each.uuid}, the replay of {each.replay_of}, never ended at {each.source}"
                    self._broken(each.after, "replay lost", each.uuid, text)
        for letter, replays in again.items():
            self.checked["second end"] += 1
            ended = [each for each in (self.commands[letter], *replays) if _succeeded(each)]
            if len(ended) > 1:
                text = f"{letter} was done more than once: as {', '.join(each.uuid for each in ended)}"
                self._broken(ended[1].after, "second end", letter, text)

    def _judge_order(self) -> None:
        rows: dict[tuple[str, str, str], list[Wished]] = defaultdict(list)
        for each in self.commands.values():
            if each.order_key:
                rows[each.target, each.name, each.order_key].append(each)
        for row in rows.values():
            row.sort(key=lambda each: each.after)
            for later in row:
                for earlier in row:
                    if earlier.arrived < later.after:
                        self._judge_pair(earlier, later)

    def _judge_pair(self, earlier: Wished, later: Wished) -> None:
        begins = [run.began for run in later.runs if not self._was_held(later.target, run.began)]
        if not begins:
            return
        begun = begins[0]
        self.checked["order key"] += 1
        what = f"{later.uuid} began, which arrived after {earlier.uuid} with the same key {later.order_key}"
        for run in earlier.runs:
            if run.began > begun and not self._was_held(earlier.target, run.began):
                text = f"{what}, and that began {run.began - begun:.3f} s later"
                self._broken(begun, "order key", later.uuid, text)
                return
        ends = [run.ended for run in earlier.runs if run.how in ("done", "fail") and run.ended is not None]
        if earlier.read is None or _is_the_routers(earlier.read):
            return  # open, which is judged elsewhere; or ended by the router, nobody saw when
        if not any(ended <= begun for ended in ends):
            self._broken(begun, "order key", later.uuid, f"{what}, and had not ended")

    def _judge_pauses(self) -> None:
        self._began.sort()
        for since, until, target, name in self._pauses:
            self.checked["paused"] += 1
            for at, where, what, uuid in self._within(since + OLD_HAND_OUTS, until):
                if (where, what) == (target, name) and not self._was_held(target, at):
                    text = f"{uuid} began at {target} {at - since:.3f} s after {name} was paused"
                    self._broken(at, "paused", uuid, text)

    def _within(self, since: float, until: float) -> Iterator[tuple[float, str, str, str]]:
        for entry in self._began[bisect.bisect(self._began, (since,)) :]:
            if entry[0] > until:
                return
            yield entry


def _succeeded(each: Wished) -> bool:
    return any(event == Outcome.SUCCESS for _, event in each.finals)


def _is_the_routers(read: tuple[float, bool, str]) -> bool:
    return not read[1] and read[2] not in ("", Reason.FAILED)
