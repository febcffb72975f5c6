"""What is promised of worker versions, as far as it is seen from outside; judged at the end. Pure.

Told what versions wrote into their ledger, what the operator asked and heard, which faults hit whom, and what
the kernel showed of processes. The names of the rules are the simulation's (`model_versions.py`) where it is
the same promise. Times are seconds.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.releases import SERVE
from tests.chaos.version_story import FAIL, SILENT, VersionStory
from tests.simulation.model import Violation
from tests.simulation.model_versions import route
from tests.simulation.rules import MOST
from zconnector.configuration.pivot import Version

VERSION_RULES: dict[str, str] = {
    "bad version": "a version that is bad from its start, or within its gate, has its canary only",
    "update twice": "where no process was killed or stood still nothing is run twice",
    "version routed": "in the calm after the end each command goes to the version that pins and shares say",
    "old or new": "whatever was killed when, an old or a new version serves, within a bound",
    "admin answer": "SUCCES names the version asked for, and that has run (or has no process any more)",
    "admin answered": "whoever asks hears how it ended, unless the router died meanwhile",
    "one process": "an edition of a version has one process at most",
    "orphan": "no process of a version outlives its router's SIGKILL",
}

SERVES_WITHIN = 25.0
"""Seconds, without faults and stalls, in which some version has to begin a command: there are always some."""
STOPPED_BY_FAULTS = 2
"""Faults at a version, within `WINDOW` seconds, that may make up most of a crash loop."""
WINDOW = 150.0
STALLED = 5.0
"""Seconds of stalls within `WINDOW` after which a version may have been given up for the machine's sake."""
MARGIN = 1.0
"""Seconds after a fault in which what it did may still show."""
RUNS = frozenset({"publish", "back", "newest", "beside"})
"""Acts after whose SUCCES the version serves."""
MAY_EMPTY = frozenset({"stop", "rollback", "want"})
"""Acts after which nothing may be left that should run."""


def _unstalled(begin: float, end: float) -> float:
    return 0.0


@dataclass(slots=True)
class _Ask:
    at: float
    kind: str
    way: str
    version: str


@dataclass(slots=True)
class _Run:
    at: float
    who: str
    pid: int


class VersionPromises:
    """Facts in the order of their times, then `judge`."""

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        self._violations: list[Violation] = []
        self._told: Counter[str] = Counter()
        self._qualities: dict[str, str] = {}
        self._latest: dict[str, int] = {}
        """Process that began last at each place: two editions of a version may run side by side."""
        self._places: dict[int, str] = {}
        self._ran: set[str] = set()
        """Versions of which any edition began."""
        self._began: dict[int, float] = {}
        self._asks: dict[int, _Ask] = {}
        self._acts: dict[str, Counter[str]] = defaultdict(Counter)
        self._runs: dict[str, list[_Run]] = defaultdict(list)
        self._times: list[float] = []
        """When any version began an ordinary command."""
        self._done: list[tuple[float, int]] = []
        self._crashed: dict[int, float] = {}
        self._faults: list[list[float]] = []
        self._hits: list[tuple[float, str]] = []
        """Faults at a version's process: when, and at which version."""
        self._flow: list[float] = []
        self._kills: list[float] = []
        self._emptied: list[tuple[float, list[str]]] = []
        self._empty: list[list[float]] = []
        self._by_quality: Counter[str] = Counter()
        self._killed_at: Counter[str] = Counter()
        self._killed_with = 0

    def _broken(self, at: float, rule: str, subject: str, text: str) -> None:
        self._told[rule] += 1
        if self._told[rule] <= MOST:
            self._violations.append(Violation(round(at * 1e6), rule, subject, text))

    # ---- facts: versions

    def published(self, at: float, version: str, quality: str) -> None:
        self._qualities[version] = quality

    def process(self, at: float, version: str, pid: int, place: str) -> None:
        """A process of it says that it begins; `place`: the socket, which is its edition's own."""
        self.checked["one process"] += 1
        self._latest[place] = pid
        self._places[pid] = place
        self._ran.add(version)
        self._began[pid] = at

    def ran(self, at: float, version: str, pid: int, uuid: str, canary: bool) -> None:
        """It begins a command."""
        self._alone(at, version, pid)
        if canary:
            self._by_quality["canaries"] += 1
            return
        quality = self._qualities.get(version, "unknown")
        self.checked["bad version"] += 1
        self._by_quality[quality] += 1
        if quality not in SERVE:
            self._broken(at, "bad version", uuid, f"{version} ({quality}) was handed {uuid}")
        self._times.append(at)
        self._runs[uuid].append(_Run(at, version, pid))

    def done(self, at: float, version: str, pid: int) -> None:
        self._alone(at, version, pid)
        self._done.append((at, pid))

    def crashed(self, at: float, pid: int) -> None:
        """It says that it crashes, or stands still, now."""
        self._crashed[pid] = at

    def _alone(self, at: float, version: str, pid: int) -> None:
        place = self._places.get(pid, "")
        if self._latest.get(place, pid) != pid:
            text = f"process {pid} of {version} works, and {self._latest[place]} has begun after it"
            self._broken(at, "one process", version, text)

    # ---- facts: the operator

    def asked(self, at: float, number: int, kind: str, way: str, version: str) -> None:
        self._asks[number] = _Ask(at, kind, way, version)
        self._acts[kind][way] += 1

    def answered(
        self, at: float, number: int, outcome: str, about: str, why: str, alive: Sequence[int]
    ) -> None:
        """`about`: the version that SUCCES names; `alive`: processes of the one that was to stop."""
        ask = self._asks[number]
        self._acts[ask.kind][outcome] += 1
        self.checked["admin answered"] += 1
        what = f"{ask.kind} {ask.version or 'of what there was'} by {ask.way}"
        if outcome == SILENT:
            if ask.way == "admin" or not self._fault_in(ask.at, at):
                text = f"{what} was not answered in {at - ask.at:.1f} s: {why}"
                self._broken(at, "admin answered", ask.version, text)
            return
        if outcome == FAIL:
            return
        self.checked["admin answer"] += 1
        if ask.version and about and about != ask.version and ask.kind != "latest":
            self._broken(at, "admin answer", ask.version, f"{what} was answered with {about}")
        version = about or ask.version
        if ask.kind in RUNS and (wrong := self._wrong(version)):
            self._broken(at, "admin answer", version, f"{what} had SUCCES, and {version} {wrong}")
        if alive:
            text = f"{what} had SUCCES, and {', '.join(map(str, alive))} runs"
            self._broken(at, "admin answer", version, text)

    def _wrong(self, version: str) -> str:
        """Why it cannot serve; "": it can."""
        quality = self._qualities.get(version, "")
        if quality not in SERVE:
            return f"is {quality or 'not there'}"
        return "" if version in self._ran else "never began"

    def emptied(self, at: float, wanted: Sequence[str]) -> None:
        """Nothing runs, or is about to: these should, and were given up."""
        self._emptied.append((at, list(wanted)))
        self._empty.append([at, float("inf")])

    def rescued(self, at: float) -> None:
        """Something good was started."""
        if self._empty:
            self._empty[-1][1] = at

    def flowing(self, at: float, begins: bool) -> None:
        """Commands are sent from now on, or no more."""
        self._flow.append(at)

    def rested(self, at: float, serves: bool, looks: str) -> None:
        """After the end of all: whether a version serves and no rollout goes on."""
        self.checked["old or new"] += 1
        if not serves:
            self._broken(at, "old or new", "", f"at the end: {looks}")

    def routed(
        self,
        at: float,
        uuid: str,
        context: str,
        version: str,
        running: Sequence[str],
        shares: Mapping[str, int],
        pins: Mapping[str, str],
    ) -> None:
        """In a calm in which these served, with these shares and pins, a command went to that version."""
        self.checked["version routed"] += 1
        expected = route(
            {_version(each) for each in running},
            set(),
            context,
            uuid,
            {_version(each): share for each, share in shares.items()},
            {name: _version(each) for name, each in pins.items()},
        )
        if _version(version) != expected:
            text = f"{uuid} of {context!r} went to {version}, and goes to {expected}"
            self._broken(at, "version routed", uuid, text)

    # ---- facts: faults

    def fault(self, at: float, begins: bool) -> None:
        """The router, or a version's process, is tormented, or no more."""
        if begins:
            self._faults.append([at, float("inf")])
            return
        for span in self._faults:
            if span[1] == float("inf"):
                span[1] = at
                return

    def hit(self, at: float, version: str) -> None:
        """That fault is at a process of this version."""
        self._hits.append((at, version))

    def router_killed(self, at: float, step: str, had: int, left: Sequence[str]) -> None:
        """In that step of a rollout, with so many processes below it, of which these did not end."""
        self.checked["orphan"] += 1
        self._kills.append(at)
        self._killed_at[step or "no rollout"] += 1
        self._killed_with += had
        if left:
            self._broken(at, "orphan", "", f"outlived their router: {', '.join(left)}")

    def left(self, at: float, processes: Sequence[str]) -> None:
        """Processes of versions that are there after the end of everything."""
        self.checked["orphan"] += 1
        if processes:
            self._broken(at, "orphan", "", f"left at the end: {', '.join(processes)}")

    def _fault_in(self, since: float, until: float) -> bool:
        return any(begin <= until and end + MARGIN >= since for begin, end in self._faults)

    # ---- judgement

    def judge(self, stalled: Callable[[float, float], float] = _unstalled) -> list[Violation]:
        """`stalled`: seconds in which the machine was not to be had, of a span of time."""
        for uuid, runs in self._runs.items():
            for before, run in pairwise(runs):
                self._judge_again(uuid, before, run, stalled)
        self._judge_gaps(stalled)
        for at, wanted in self._emptied:
            self._judge_emptied(at, wanted, stalled)
        return self._violations

    def _judge_again(
        self, uuid: str, before: _Run, run: _Run, stalled: Callable[[float, float], float]
    ) -> None:
        self.checked["update twice"] += 1
        died = before.at <= self._crashed.get(before.pid, 0.0) <= run.at
        if died or self._fault_in(before.at, run.at) or stalled(before.at, run.at) > MARGIN:
            return
        text = f"{uuid} ran at {before.who}, and {run.at - before.at:.3f} s later at {run.who}; nobody died"
        self._broken(run.at, "update twice", uuid, text)

    def _judge_gaps(self, stalled: Callable[[float, float], float]) -> None:
        if not self._flow:
            return
        begin, end = self._flow[0], self._flow[-1]
        excused = sorted([*self._faults, *self._empty])
        times = [begin, *(at for at in sorted(self._times) if begin < at < end), end]
        for since, until in pairwise(times):
            self.checked["old or new"] += 1
            gap = until - since
            if gap <= SERVES_WITHIN:
                continue
            # From the last thing that went wrong on: each of them may have ended what was coming up.
            since = max([since, *(min(e, until) for b, e in excused if b < until and e > since)])
            gap = until - since - stalled(since, until)
            if gap > SERVES_WITHIN:
                text = f"no version began a command for {gap:.1f} s, although all was well"
                self._broken(until, "old or new", "", text)

    def _judge_emptied(
        self, at: float, wanted: Sequence[str], stalled: Callable[[float, float], float]
    ) -> None:
        self.checked["old or new"] += 1
        if not wanted:
            if not any(ask.at < at and ask.kind in MAY_EMPTY for ask in self._asks.values()):
                self._broken(at, "old or new", "", "nothing should run, and nobody stopped anything")
            return
        for version in wanted:
            hits = sum(at - WINDOW < hit <= at and whose == version for hit, whose in self._hits)
            excused = self._qualities.get(version) == "tired" or hits >= STOPPED_BY_FAULTS
            if not excused and stalled(at - WINDOW, at) < STALLED:
                text = f"{version} was given up after {hits} faults"
                self._broken(at, "old or new", version, text)

    def story(self) -> VersionStory:
        done = sorted(self._done)
        recoveries: list[float] = []
        for kill in self._kills:
            later = done[bisect(done, (kill, 0)) :]
            fresh = next((at for at, pid in later if self._began.get(pid, 0.0) > kill), None)
            if fresh is not None:
                recoveries.append(round(fresh - kill, 3))
        return VersionStory(
            dict(sorted(self._acts.items())),
            dict(sorted(self._by_quality.items())),
            len(self._qualities),
            len(self._began),
            dict(sorted(self._killed_at.items())),
            self._killed_with,
            tuple(recoveries),
            len(self._emptied),
        )


def _version(text: str) -> Version:
    major, _, minor = text.partition(".")
    return Version(int(major), int(minor))
