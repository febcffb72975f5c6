"""A world for the admin worker's core: processes, a repository and a disk that do at once what they are told.

What it asks for waits until a test performs it, so that a crash can come between any two.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import orjson

from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.supervision.states import State
from zconnector.versions.actions import (
    Action,
    Answer,
    Canary,
    Clean,
    Consult,
    Install,
    Keep,
    Look,
    Start,
    Steer,
    Stop,
)
from zconnector.versions.asks import Verb
from zconnector.versions.editions import Edition
from zconnector.versions.expiry import Signed
from zconnector.versions.manager import Manager
from zconnector.versions.stock import Stock
from zconnector.versions.wanted import Wanted

V10, V11, V12, V20 = Edition(1, 0), Edition(1, 1), Edition(1, 2), Edition(2, 0)


class World:
    """`broken`: by version, what is wrong with it: fetch, crash, hang, refuse, canary, crash_later, never."""

    def __init__(self, values: dict[str, Any], repository: list[Edition] | None = None) -> None:
        self.mono, self.wall = 1_000.0, 1_700_000_000_000
        self.values = {"product": "jenkins", "gate": {"seconds": 3}, **values}
        if repository is not None:
            self.values |= {"repository": "file:///r", "repository_keys": [KEY]}
        self.repository = repository or []
        self.contents: dict[Edition, str] = {}
        """What the repository has of a version, where it was published again."""
        self.on_disk: dict[str, Version] = {}
        """By SHA-256."""
        self.products: dict[str, str] = {}
        """By SHA-256: under which product's name it lies on the disk."""
        self.stocks: list[Stock] = []
        """What had to stay, at each removal of what need not."""
        self.installs: list[Install] = []
        self.broken: dict[Edition, str] = {}
        self.signed: Signed | None = None
        """What the manifest says that the repository has."""
        self.accepted: Signed | None = None
        """The one that was accepted last."""
        self.looks = 0
        self.passing = False
        self.away = False
        """Whether the repository does not answer; what is on the disk is there all the same."""
        self.disk: bytes | None = None
        self.disk_fails = False
        self.running: dict[Edition, str] = {}
        """Processes: "up", "silent"."""
        self.said: list[Action] = []
        self.answers: dict[str, Answer] = {}
        self.asked: deque[Action] = deque()
        self.asks = 0
        self.steps: list[str] = []
        self.serving: list[tuple[Edition, ...]] = []
        """What got traffic, after each thing that happened."""
        self.begin()

    # ---- the process of the router

    def begin(self) -> None:
        """The router starts, on what the disk has; all processes of before are gone."""
        self.running.clear()
        self.state: dict[Edition, State] = {}
        self.asked.clear()
        self.manager = Manager()
        self._take(self.manager.configured(Wanted.from_values(self.values), self.now))
        document = None if self.disk is None else orjson.loads(self.disk)
        self._take(self.manager.restore(document, self.now))

    @property
    def now(self) -> Instant:
        return Instant(self.mono, self.wall)

    def configure(self, **values: Any) -> None:
        self.values |= values
        self._take(self.manager.configured(Wanted.from_values(self.values), self.now))

    def ask(self, verb: Verb, version: Edition | None = None, uuid: str = "") -> str:
        self.asks += 1
        ask = str(self.asks)
        self._take(self.manager.ask(ask, verb, version.version if version else None, uuid, self.now))
        return ask

    def _take(self, actions: list[Action]) -> None:
        self.asked.extend(actions)
        self.said.extend(actions)
        self.serving.append(self.traffic())

    def traffic(self) -> tuple[Edition, ...]:
        """Which versions get commands now."""
        kept_back = {*self.manager.held, *self.manager.drained}
        return tuple(v for v in sorted(self.running) if v not in kept_back)

    # ---- what it asks for is done

    def step(self) -> bool:
        """Perform the first thing that was asked for; False: there is none."""
        if not self.asked:
            return False
        self._perform(self.asked.popleft())
        return True

    def _perform(self, action: Action) -> None:
        match action:
            case Keep(number, document):
                if not self.disk_fails:
                    self.disk = orjson.dumps(document)
                    self.steps.append(str(document["step"]))
                self._take(self.manager.kept(number, not self.disk_fails, self.now))
            case Install(version, attempt, content):
                self.installs.append(action)
                error, of = "", version._replace(number=0)
                away = self.away and content not in self.on_disk
                if away:
                    error = "repository away"
                elif self.broken.get(version) == "fetch" or (of not in self.repository and not content):
                    error = f"cannot fetch {version}"
                wanted = self.manager.wanted_for(version)
                product = wanted.product.lower() if wanted else ""
                sha256 = content or self.contents.get(of, f"sha of {of}")
                if not error:
                    self.on_disk[sha256] = of.version
                    self.products[sha256] = product
                passing = self.passing or away
                self._take(
                    self.manager.installed(
                        version, attempt, {} if error else {"sha256": sha256}, error, passing, self.now, away
                    )
                )
            case Clean():
                stock = self.manager.stock()
                self.stocks.append(stock)
                left = {
                    sha: v
                    for sha, v in self.on_disk.items()
                    if not stock.unwanted(self.products[sha], v, sha)
                }
                gone = self.on_disk.keys() - left.keys()
                assert not any(self.manager.content(v) in gone for v in self.running), "it runs"
                self.on_disk = left
            case Look(number):
                self.looks += 1
                found = tuple(of.version for of in self.repository)
                if self.away:
                    self._take(self.manager.found(number, None, "repository away", self.now))
                else:
                    self.accepted = self.signed
                    self._take(self.manager.found(number, found, "", self.now))
            case Consult():
                self._take(self.manager.consulted(self.accepted, self.now))
            case Start(version):
                self._start(version)
            case Stop(version):
                if version in self.running:
                    self._move(version, State.DRAINING)
                    del self.running[version]
                    self._move(version, State.STOPPED)
                elif self.state.get(version) in (State.BACKOFF, State.FAILED, State.STARTING):
                    self._move(version, State.STOPPED)
            case Canary(version, attempt):
                error = "FAIL" if self.broken.get(version) == "canary" else ""
                self._take(self.manager.canaried(version, attempt, error, False, self.now))
            case Answer():
                assert action.ask not in self.answers
                self.answers[action.ask] = action
            case Steer():
                self.serving.append(self.traffic())

    def _start(self, version: Edition) -> None:
        if version in self.running:
            return
        self._move(version, State.STARTING)
        wrong = self.broken.get(version)
        if wrong == "never":
            return
        if wrong == "crash":
            self._move(version, State.BACKOFF, "ended with status 1")
            self._move(version, State.FAILED, "ended with status 1")
            return
        if wrong == "refuse":
            self._take(self.manager.refused(version, f"version {version} lacks CLEAN", self.now))
            self._move(version, State.BACKOFF, "ended with status 0")
            self._move(version, State.FAILED, "ended with status 0")
            return
        self.running[version] = "silent" if wrong == "hang" else "up"
        self._move(version, State.RUNNING)
        if wrong == "crash_later":
            self.crash(version)

    def crash(self, version: Edition) -> None:
        del self.running[version]
        self._move(version, State.BACKOFF, "killed by SIGSEGV")

    def fail(self, version: Edition) -> None:
        """It has crashed too often."""
        self.running.pop(version, None)
        self._move(version, State.FAILED, "crash loop")

    def _move(self, version: Edition, state: State, reason: str = "") -> None:
        self.state[version] = state
        self._take(self.manager.moved(version, state, reason, self.now))

    # ---- time

    def second(self) -> None:
        """One second: beats, and what is due."""
        self.mono += 1
        self.wall += 1000
        for version, how in list(self.running.items()):
            if how == "up":
                self._take(self.manager.beat(version, self.now))
        due = self.manager.deadline()
        if due is not None and due <= self.mono:
            self._take(self.manager.tick(self.now))
            again = self.manager.deadline()
            assert again is None or again > self.mono or self.asked, "it would ring for ever"

    def later(self, seconds: float, wall: float | None = None) -> None:
        """So much time passes at once, or another time on the wall, and what is due then is done."""
        self.mono += seconds
        self.wall += round(1000 * (seconds if wall is None else wall))
        due = self.manager.deadline()
        if due is not None and due <= self.mono:
            self._take(self.manager.tick(self.now))
        while self.step():
            pass

    def settle(self, seconds: int = 60) -> None:
        """Everything that is asked for is done, and so much time passes."""
        for _ in range(seconds):
            while self.step():
                pass
            self.second()
        while self.step():
            pass


KEY = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
