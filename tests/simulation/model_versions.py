"""What is promised of worker versions (docs/versions.md): routes, updates, admin commands. Pure.

Told what workers, processes and the admin worker's calls show from outside; times are virtual microseconds,
`node` is a connector, `worker` the name of a version's worker there.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from tests.simulation.repositories import SOUND, VERSIONS, Lying, Quality
from tests.simulation.rules import Book
from tests.simulation.scheduler import MS, SECOND
from zconnector.configuration.pivot import Version
from zconnector.versions.traffic import CANARY

LAST = 10
"""Commands that a worker began last, of which it may have one in hand."""
_NEVER = -(1 << 60)
HEARD = int(2.6 * SECOND)
"""Whoever was heard since is not silent, and whoever was not for `DEAF` is."""
DEAF = int(6.5 * SECOND)
LEASE = 44 * SECOND
RESTORED = 40 * SECOND
"""In which a router that is well has started what should run, and that has registered."""
DRAIN = 5
"""Seconds that a stopped version has for what it runs (`worker.drain` of the configurations)."""


@dataclass(slots=True)
class _Known:
    """A registration."""

    version: Version
    commands: frozenset[str]
    heard: int
    attended: bool = False
    """It has a stream, whose asking is as good as beats."""
    hung: bool = False


@dataclass(slots=True)
class _Asked:
    """An admin command."""

    name: str
    version: Version | None
    at: int


@dataclass(slots=True)
class _Connector:
    known: dict[str, _Known] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    drained: dict[str, int] = field(default_factory=dict)
    """Since when."""
    shares: dict[Version, int] = field(default_factory=dict)
    pins: dict[str, Version] = field(default_factory=dict)
    aims: dict[str, str] = field(default_factory=dict)
    """By application context: one worker."""
    beside: frozenset[str] = frozenset()
    """Held back workers whose version others are to serve."""
    quality: dict[str, Quality] = field(default_factory=dict)
    """How a worker behaves, as far as it was started."""
    made: dict[str, str] = field(default_factory=dict)
    """Of those that should run and have served: what they are made of."""
    starting: dict[str, str] = field(default_factory=dict)
    """What each was made of when it was last started."""
    processes: dict[str, int] = field(default_factory=dict)
    """By worker: how many live."""
    served: dict[str, int] = field(default_factory=dict)
    """When a worker last was seen to serve."""
    absent: dict[str, int] = field(default_factory=dict)
    """When a worker was last seen to have no process."""
    disturbed: dict[str, int] = field(default_factory=dict)
    """When it last died, hung, or a wait of its was cancelled."""
    ended_early: dict[str, int] = field(default_factory=dict)
    """When a worker last began a command that may end while it runs, by its time to live or lease."""
    restarted: int = -1
    kept_at: int = _NEVER
    """When what is to run was last kept."""
    shifted: bool = False
    """The rollout that goes on has come to its shift: those of old are ending, whatever becomes of it."""
    leaving: bool = False
    asked: dict[str, _Asked] = field(default_factory=dict)
    documents: list[Mapping[str, Any] | None] = field(default_factory=lambda: [None])
    """Kept for certain, then those that may be."""
    product: tuple[str, int] = ("", 0)
    """What the configuration names, and since when the admin worker knows."""
    last: Mapping[str, Any] | None = None
    """How the last rollout ended, by what was kept last."""
    named: dict[str, int] = field(default_factory=dict)
    """By product: when a document that was kept, or was to be, last named an edition of it."""
    tidied: int = _NEVER
    """When a rollout last was done, or a router began without one: what nobody goes back to is to leave."""
    ran: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    """By command: when it was last begun, by whom, and when that lease ends."""


class VersionRules:
    """Judges one world's versions."""

    def __init__(self, book: Book, name_of: Callable[[Version | str], str]) -> None:
        """`name_of`: the name of an edition's worker, by its text."""
        self._book = book
        self.name_of = name_of
        self._connectors: dict[str, _Connector] = {}

    def _of(self, node: str) -> _Connector:
        return self._connectors.setdefault(node, _Connector())

    def _broken(self, at: int, rule: str, node: str, subject: str, text: str) -> None:
        self._book.broken(at, rule, subject, f"{node}: {text}")

    # ---- the router

    def router_started(self, at: int, node: str) -> None:
        connector = self._of(node)
        connector.known.clear()
        connector.held, connector.drained = frozenset(), {}
        connector.shares, connector.pins, connector.aims = {}, {}, {}
        connector.restarted = at
        connector.leaving = False
        connector.disturbed = dict.fromkeys(connector.disturbed, at)

    def router_leaves(self, node: str) -> None:
        """It drains: what runs has as long as it has."""
        self._of(node).leaving = True

    def recalled(self, at: int, node: str, document: Mapping[str, Any] | None) -> None:
        """What a fresh admin worker finds on the disk."""
        connector = self._of(node)
        self._book.checked["rollout state"] += 1
        if document not in connector.documents:
            text = f"found {_short(document)}, kept was {_short(connector.documents[0])}"
            self._broken(at, "rollout state", node, node, text)
        connector.documents = [document]
        self._names(at, connector, document)
        if document is not None and document["plan"] is None:
            connector.tidied = at
        self._shifts(connector, document)
        if document is None or document["plan"] is None:
            return
        plan, step, running = document["plan"], document["step"], document["running"]
        if running not in (plan["old"], plan["new"]):
            self._broken(at, "rollout state", node, node, f"{running} at {step} of {plan}")
        if step in ("FETCHING", "STARTING", "GATING") and running != plan["old"]:
            self._broken(at, "rollout state", node, node, f"{running} at {step} of {plan}")
        if step == "DRAINING" and running != plan["new"]:
            self._broken(at, "rollout state", node, node, f"{running} at {step} of {plan}")

    def configured(self, at: int, node: str, values: Mapping[str, Any]) -> None:
        """The admin worker is told of a configuration."""
        connector, product = self._of(node), str(values.get("product", "")).lower()
        if product != connector.product[0]:
            connector.product = (product, at)

    def _names(self, at: int, connector: _Connector, document: Mapping[str, Any] | None) -> None:
        for product in products(document):
            connector.named[product] = at

    def keeping(self, node: str, document: Mapping[str, Any], at: int = 0) -> None:
        """The admin worker asks for a commit of this."""
        self._of(node).documents.append(document)
        self._names(at, self._of(node), document)

    def kept(self, at: int, node: str, document: Mapping[str, Any]) -> None:
        """It was told that it is durable."""
        connector = self._of(node)
        if document in connector.documents:
            which = connector.documents.index(document)
            connector.documents = connector.documents[which:]
            connector.kept_at = at
            before, last = connector.last, document.get("last")
            if last != before and last is not None and last["outcome"] == "DONE":
                connector.tidied = at
            connector.last = last
            self._shifts(connector, document)
            running = set(map(self.name_of, document["running"]))
            connector.made = {w: made for w, made in connector.made.items() if w in running}

    def _shifts(self, connector: _Connector, document: Mapping[str, Any] | None) -> None:
        if document is not None and document["step"] in ("FETCHING", "DRAINING"):
            connector.shifted = document["step"] == "DRAINING"

    def steered(self, at: int, node: str, told: Mapping[str, Any]) -> None:
        """What the router is told of traffic, as it takes it."""
        connector = self._of(node)
        connector.held = frozenset(told["held"])
        self._book.checked["rollout state"] += 1
        for version in self._kept_before_shift(node)[1]:
            worker = self.name_of(version)
            if worker in connector.known and worker not in connector.held:
                text = f"{worker} is to have traffic, and its shift is not kept"
                self._broken(at, "rollout state", node, node, text)
        connector.drained = {worker: connector.drained.get(worker, at) for worker in told["drained"]}
        connector.shares = {_version(text): share for text, share in told["shares"].items()}
        connector.pins = {context: _version(text) for context, text in told["pins"].items()}
        connector.aims = dict(told.get("aims", {}))
        connector.beside = frozenset(told.get("beside", ()))

    def _kept_before_shift(self, node: str) -> tuple[list[str], list[str]]:
        """The old and the added versions of a rollout that has not come to its shift, by what is kept."""
        document = self._of(node).documents[0]
        if document is None or document["plan"] is None or document["step"] == "DRAINING":
            return [], []
        old, new = document["plan"]["old"], document["plan"]["new"]
        if document["step"] == "ROLLING_BACK":
            return [] if self._of(node).shifted else old, []
        return old, [version for version in new if version not in old]

    # ---- workers

    def spawned(
        self, at: int, node: str, worker: str, quality: Quality | None = None, made: str = ""
    ) -> None:
        """`made`: of which content and with which values."""
        connector = self._of(node)
        if quality is not None:
            connector.quality[worker] = quality
        connector.starting[worker] = made
        self._book.checked["edition kept"] += 1
        if connector.made.get(worker, made) != made:
            text = f"{worker} served with {connector.made[worker]}, and is started with {made}"
            self._broken(at, "edition kept", node, worker, text)
        count = connector.processes[worker] = connector.processes.get(worker, 0) + 1
        self._book.checked["one process"] += 1
        self._book.counts["version processes"] += 1
        if count > 1:
            self._broken(at, "one process", node, worker, f"{worker} has {count} processes")

    def exited(self, at: int, node: str, worker: str, ongoing: int) -> None:
        connector = self._of(node)
        connector.processes[worker] -= 1
        connector.absent[worker] = at
        if worker in connector.known:
            connector.known[worker].attended = False
        if ongoing:
            connector.disturbed[worker] = at

    def terminated(self, at: int, node: str, worker: str, ongoing: int) -> None:
        """SIGTERM comes to a process that has so much in hand."""
        connector = self._of(node)
        self._book.checked["update twice"] += 1
        self._check_old(at, node, worker)
        if not ongoing:
            return
        known, since = connector.known.get(worker), connector.drained.get(worker)
        silent = known is None or at - known.heard > HEARD
        early = since is not None and at - since < (DRAIN - 1) * SECOND
        if worker not in connector.held and early and not silent and not self._troubled(node, at, 10):
            excused = max(connector.disturbed.get(worker, _NEVER), connector.ended_early.get(worker, _NEVER))
            if connector.leaving or at - excused < 20 * SECOND:
                return
            mine = [uuid for uuid, (_, who, _) in connector.ran.items() if who == worker]
            if any((node, uuid) in self._book.cancelled_by_hand for uuid in mine[-LAST:]):
                return
            text = f"{worker} is told to end after {(at - (since or 0)) / MS:.0f} ms with {ongoing} in hand"
            self._broken(at, "update twice", node, worker, text)

    def _check_old(self, at: int, node: str, worker: str) -> None:
        """Nobody ends a version that serves before the one that takes its place may have its traffic."""
        connector = self._of(node)
        if connector.leaving or worker not in map(self.name_of, self._kept_before_shift(node)[0]):
            return
        known, never = connector.known.get(worker), _NEVER
        if known is None or self._troubled(node, at, 15):
            return
        if at - known.heard > HEARD or at - connector.disturbed.get(worker, never) < 20 * SECOND:
            return
        self._book.checked["old or new"] += 1
        document = connector.documents[0]
        text = f"{worker} is told to end, and kept is {_short(document)}"
        self._broken(at, "old or new", node, node, text)

    def disturbed(self, at: int, node: str, worker: str) -> None:
        self._of(node).disturbed[worker] = at

    def hung(self, at: int, node: str, worker: str, until: int) -> None:
        """It stands still; with a stream nobody can say for how long that is not noticed."""
        self.disturbed(until, node, worker)
        known = self._of(node).known.get(worker)
        if known is not None:
            known.hung = known.attended

    def registered(self, at: int, node: str, worker: str, version: Version, commands: Sequence[str]) -> None:
        self._of(node).known[worker] = _Known(version, frozenset(commands), at)
        self._seen(at, node, worker)

    def beaten(self, at: int, node: str, worker: str) -> None:
        known = self._of(node).known.get(worker)
        if known is not None:
            known.heard = at
            self._seen(at, node, worker)

    def attended(self, at: int, node: str, worker: str, attended: bool) -> None:
        """A stream of it begins, or ends."""
        known = self._of(node).known.get(worker)
        if known is not None:
            known.attended, known.heard, known.hung = attended, at, False
            self._seen(at, node, worker)

    def forgotten(self, node: str, worker: str) -> None:
        """The router is told that its process has ended."""
        self._of(node).known.pop(worker, None)

    def _seen(self, at: int, node: str, worker: str) -> None:
        connector = self._of(node)
        if worker not in connector.held and worker not in connector.drained:
            connector.served[worker] = at
            connector.made[worker] = connector.starting.get(worker, "")

    # ---- commands

    def handed(self, at: int, node: str, worker: str, header: Mapping[str, Any]) -> None:
        """A command is handed to a version's worker."""
        connector = self._of(node)
        uuid, name = str(header["uuid"]), str(header["command"])
        context = str(header.get("context", ""))
        known = connector.known.get(worker)
        canary = self.name_of(context.removeprefix(CANARY)) == worker and context.startswith(CANARY)
        self._book.checked["version declares"] += 1
        if known is None or name not in known.commands:
            text = f"{worker} was handed {name} {uuid}, which it has not registered"
            self._broken(at, "version declares", node, uuid, text)
            return
        self._book.checked["version gated"] += 1
        self._book.counts["commands by version"] += 1
        if worker in connector.drained:
            self._broken(at, "version gated", node, uuid, f"{worker} is drained and was handed {name} {uuid}")
        if worker in connector.held and not canary:
            self._broken(at, "version gated", node, uuid, f"{worker} is held and was handed {name} {uuid}")
        self._book.checked["bad version"] += 1
        quality = connector.quality.get(worker, VERSIONS[known.version])
        if quality not in SOUND and not canary:
            text = f"{worker} ({quality}) was handed {name} {uuid}"
            self._broken(at, "bad version", node, uuid, text)
        self._check_route(at, node, known, worker, header)

    def _check_route(self, at: int, node: str, mine: _Known, worker: str, header: Mapping[str, Any]) -> None:
        connector = self._of(node)
        name, major = str(header["command"]), int(header.get("major", 0))
        context = str(header.get("context", ""))
        key = str(header.get("order_key") or header["uuid"])
        aimed = connector.aims.get(context)
        if aimed is not None or worker in connector.aims.values():
            self._book.counts["commands aimed"] += 1
            if aimed != worker:
                text = f"{worker} was handed {name} {header['uuid']} of {context!r}, aimed at {aimed}"
                self._broken(at, "version routed", node, str(header["uuid"]), text)
            return
        sure: set[Version] = set()
        perhaps: set[Version] = set()
        held: set[Version] = set()
        for of, known in connector.known.items():
            if of in connector.drained or name not in known.commands or major not in (0, known.version.major):
                continue
            if of in connector.beside:
                continue
            if of in connector.held:
                held.add(known.version)
            elif self._surely(at, node, known) is None:
                perhaps.add(known.version)
            elif self._surely(at, node, known):
                sure.add(known.version)
        self._book.checked["version routed"] += 1
        targets = {
            route(sure | set(more), held, context, key, connector.shares, connector.pins)
            for count in range(len(perhaps) + 1)
            for more in combinations(sorted(perhaps), count)
        }
        self._book.counts["commands routed by choice"] += len(sure | perhaps) > 1
        if mine.version not in targets:
            said = ", ".join(sorted(map(str, targets)))
            text = f"{worker} was handed {name} {header['uuid']} of {context!r}, which goes to {said}"
            self._broken(at, "version routed", node, str(header["uuid"]), text)

    def _surely(self, at: int, node: str, known: _Known) -> bool | None:
        """Whether it is active: None, where that cannot be seen from here."""
        if known.hung:
            return None
        if known.attended or at - known.heard < HEARD:
            return True
        if self._troubled(node, at, 15) or at - known.heard < DEAF:
            return None
        return False

    def _troubled(self, node: str, at: int, seconds: int) -> bool:
        return self._book._troubled(node, at - seconds * SECOND, at)

    def executed(self, at: int, node: str, uuid: str, worker: str, header: Mapping[str, Any]) -> None:
        """A version's worker begins to run a command."""
        connector = self._of(node)
        self._book.checked["update twice"] += 1
        before = connector.ran.get(uuid)
        if header.get("ttl") or header.get("lease", 0) not in (0, 45_000):
            connector.ended_early[worker] = at
        length = int(header.get("lease") or 0) * MS
        connector.ran[uuid] = (at, worker, at + (min(length, LEASE) or LEASE))
        if before is None:
            return
        began, who, ends = before
        never = _NEVER
        died = connector.disturbed.get(who, never) >= began - SECOND
        died = died or connector.disturbed.get(worker, never) >= at - 12 * SECOND  # it slept on it
        if died or connector.restarted >= began or at > ends - SECOND:
            return
        if self._book._troubled(node, began - SECOND, at):
            return
        text = f"{uuid} ran at {who}, and {(at - began) / MS:.0f} ms later at {worker}; neither died"
        self._broken(at, "update twice", node, uuid, text)

    # ---- admin commands

    def asked(self, at: int, node: str, uuid: str, name: str, version: Version | None) -> None:
        """An admin command is handed to the admin worker, perhaps again."""
        self._of(node).asked.setdefault(uuid, _Asked(name, version, at))

    def answered(self, at: int, node: str, uuid: str, ok: bool, result: Mapping[str, Any]) -> None:
        """The router takes its final answer."""
        connector = self._of(node)
        asked = connector.asked.get(uuid)
        self._book.checked["admin answer"] += 1
        self._book.counts[f"admin {'SUCCES' if ok else 'FAIL'}"] += 1
        if asked is None or not ok or "Major" not in result:
            return
        version = Version(result["Major"], result["Minor"])
        latest = asked.name == "ADMIN_GET_LAST_VERSION_WORKER"
        if asked.version is not None and version != asked.version and not latest:
            text = f"{asked.name} of {asked.version} was answered with {version}"
            self._broken(at, "admin answer", node, uuid, text)
        workers = self._workers_of(connector, version)
        self._book.counts[f"{asked.name} SUCCES"] += 1
        wrong = ""
        if asked.name in ("ADMIN_START_WORKER", "ADMIN_UPDATE"):
            served = max((self._last_served(at, node, worker) for worker in workers), default=_NEVER)
            late = served < asked.at - SECOND
            wrong = "it does not serve" if late and not self._troubled(node, at, 30) else ""
        elif asked.name == "ADMIN_STOP_WORKER":
            runs = [w for w in workers if connector.processes.get(w, 0)]
            wrong = "its process runs" if any(connector.absent.get(w, -1) < asked.at for w in runs) else ""
        if wrong:
            text = f"{asked.name} of {version} had SUCCES, and {wrong}"
            self._broken(at, "admin answer", node, uuid, text)

    def _workers_of(self, connector: _Connector, version: Version) -> list[str]:
        """All editions of a version that ever had a process."""
        name = self.name_of(version)
        return sorted(w for w in connector.processes if w == name or w.startswith(f"{name}~"))

    def _last_served(self, at: int, node: str, worker: str) -> int:
        connector = self._of(node)
        known = connector.known.get(worker)
        if known and worker not in connector.held and worker not in connector.drained:
            return at if self._surely(at, node, known) is not False else connector.served.get(worker, _NEVER)
        return connector.served.get(worker, _NEVER)

    # ---- looking

    def serving(self, node: str) -> list[Version]:
        """The versions that may have traffic."""
        known = self._of(node).known
        return sorted({known[worker].version for worker in self._serving(node)})

    def _serving(self, node: str) -> list[str]:
        """The workers that may have traffic."""
        connector = self._of(node)
        return [w for w in connector.known if w not in connector.held and w not in connector.drained]

    def table(self, at: int, node: str, active: Iterable[Version]) -> None:
        """The versions that the router takes for active now."""
        connector, found = self._of(node), set(active)
        self._book.checked["version table"] += 1
        verdicts: dict[Version, list[bool | None]] = {}
        for worker, known in sorted(connector.known.items()):
            barred = worker in connector.held or worker in connector.drained
            verdict = False if barred else self._surely(at, node, known)
            verdicts.setdefault(known.version, []).append(verdict)
        for version, several in sorted(verdicts.items()):
            sure = True if True in several else None if None in several else False
            if sure is not None and sure is not (version in found):
                what = "is not active, and should be" if sure else "is active, and should not be"
                self._broken(at, "version table", node, node, f"{version} {what}")
        for version in sorted(found):
            if version not in verdicts:
                self._broken(
                    at, "version table", node, node, f"{version} is active, and nobody registered it"
                )

        self._check_neither(at, node)

    def _check_neither(self, at: int, node: str) -> None:
        """A while after the last restart, with nothing wrong since, a good version that should run serves."""
        connector, since = self._of(node), at - RESTORED
        document = connector.documents[0]
        if document is None or connector.leaving or connector.restarted > since:
            return
        if connector.kept_at > since or self._troubled(node, at, 40):
            return
        for version in document["running"]:
            worker = self.name_of(version)
            upset = max(connector.disturbed.get(worker, since), connector.absent.get(worker, since)) > since
            if connector.quality.get(worker, VERSIONS[_version(version)]) is not Quality.GOOD or upset:
                continue
            self._book.checked["old or new"] += 1
            if worker not in self._serving(node):
                text = f"{version} should run since {connector.kept_at / 1e6:.0f} s, and does not serve"
                self._broken(at, "old or new", node, node, text)

    def lying(self, at: int, node: str, disk: Mapping[Lying, int]) -> None:
        """Nothing has gone wrong for long: what lies on a disk, and since when."""
        connector = self._of(node)
        configured, told = connector.product
        document = connector.documents[0]
        for text in sorted(going_back(document)):
            sha256 = "" if document is None else str(document.get("contents", {}).get(text, ""))
            if sha256:
                self._book.checked["disk kept"] += 1
                place = (product_of(document, text), sha256)
                if place not in {(of, f"{version}-{number}") for of, version, number in disk}:
                    self._broken(at, "disk kept", node, node, f"{text} ({sha256} of {place[0]}) is gone")
        kept = products(document)
        if not kept or connector.tidied < told or connector.tidied > at - RESTORED:
            return
        for (product, version, content), since in sorted(disk.items()):
            self._book.checked["disk tidied"] += 1
            left = connector.named.get(product, _NEVER) < connector.tidied
            if product not in (configured, *kept) and left and since < connector.tidied:
                text = f"{product} {version} ({content}) lies there since {since / 1e6:.0f} s"
                self._broken(at, "disk tidied", node, node, f"{text}; nobody goes back to that product")

    def settled(self, at: int, node: str, view: Mapping[str, Any]) -> None:
        """Nothing has gone wrong for long: a rollout has come to one of its ends, and that runs."""
        connector = self._of(node)
        wanted_rows = [row for row in view["versions"] if row["wanted"]]
        running = [_text(row) for row in wanted_rows]
        failed = [_text(row) for row in wanted_rows if row["state"] == "FAILED"]
        self._book.checked["old or new"] += 1
        if view["rollout"] is not None:
            if (
                connector.kept_at < at - RESTORED
            ):  # one that failed for a passing reason begins anew by itself
                self._broken(at, "old or new", node, node, f"a rollout still goes on: {view['rollout']}")
            return
        kept = connector.documents[0]
        if kept is not None and kept["plan"] is not None:
            self._broken(at, "old or new", node, node, f"nothing goes on, and kept is {_short(kept)}")
        last = view["last"]
        ends = None if last is None else last["new"] if last["outcome"] == "DONE" else last["old"]
        if ends is not None and running != ends:
            self._broken(at, "old or new", node, node, f"{running} should run after {last}")
        for version in running:
            worker = self.name_of(version)
            quality = connector.quality.get(worker, VERSIONS[_version(version)])
            if version in failed or quality is Quality.TIRED:
                continue
            if worker not in self._serving(node) and quality in SOUND:
                self._broken(at, "old or new", node, node, f"{version} should run, and does not serve")
        self._book.checked["one process"] += 1
        wanted = {self.name_of(version) for version in running}
        for worker, count in sorted(connector.processes.items()):
            if count and worker not in wanted:
                self._broken(at, "one process", node, worker, f"{worker} runs, and should not")


def route(
    active: set[Version],
    held: set[Version],
    context: str,
    key: str,
    shares: Mapping[Version, int],
    pins: Mapping[str, Version],
) -> Version | None:
    """Which version a command goes to, by the words of docs/versions.md; all given ones declare its name."""
    pinned = pins.get(context) if context else None
    if pinned in active or pinned in held:
        return pinned
    if not active:
        return None
    newest = sorted(active, reverse=True)
    named = [version for version in newest if version in shares]
    others = [version for version in newest if version not in shares]
    if not named:
        return newest[0]
    total = sum(shares[version] for version in named)
    whole = 100 if others and total <= 100 else total
    number, upto = zlib.crc32(key.encode()) % 100, 0
    for version in named:
        upto += shares[version]
        if number * whole < upto * 100:
            return version
    return others[0] if others else newest[0]


def going_back(document: Mapping[str, Any] | None) -> set[str]:
    """The editions that run by a document, or may by a rollback or after a crash loop."""
    if document is None:
        return set()
    trial = document.get("trial")
    old = () if trial is None else trial["plan"]["old"]
    return {*document["running"], *(document.get("previous") or ()), *old}


def product_of(document: Mapping[str, Any] | None, text: str) -> str:
    """Of an edition that a document names, as its folder is called; "": that is not known."""
    number = text.partition("~")[2] or "0"
    values = {} if document is None else document.get("values", {}).get(number, {})
    return str(values.get("product", "")).lower()


def products(document: Mapping[str, Any] | None) -> set[str]:
    """Those of all editions that a document names."""
    named = going_back(document)
    if document is not None and document["plan"] is not None:
        named |= {*document["plan"]["old"], *document["plan"]["new"]}
    return {product_of(document, text) for text in named} - {""}


def _text(row: Mapping[str, Any]) -> str:
    """Of an edition, as documents have it."""
    return f"{row['version']}~{row['edition']}" if row.get("edition") else str(row["version"])


def _version(text: str) -> Version:
    """Of an edition's text."""
    major, minor = text.partition("~")[0].split(".")
    return Version(int(major), int(minor))


def _short(document: Mapping[str, Any] | None) -> str:
    if document is None:
        return "nothing"
    plan = document["plan"]
    return f"{document['running']} at {document['step']} of {plan and (plan['old'], plan['new'])}"
