"""Who changes worker versions: an operator of the logical configuration, and a sender of admin commands."""

from __future__ import annotations

from typing import Any

import orjson

from tests.simulation.agent import Agent, Args
from tests.simulation.clients import Client, Job, Manners
from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode
from tests.simulation.repositories import (
    ADDRESS,
    ALWAYS,
    BAD,
    GOOD,
    KEY,
    NEWER,
    PRODUCT,
    PRODUCTS,
    TYPE,
    VERSIONS,
)
from tests.simulation.scheduler import SECOND
from tests.simulation.version_host import AdminHost
from zconnector.configuration.pivot import Version
from zconnector.errors import Refusal
from zconnector.shoset.identity import fresh_uuid

CONTEXTS = ("red", "green", "blue")
PINS = {"red": 0.7, "green": 0.4}
"""How likely a context is pinned."""


class Chief(Agent):
    """Sets the configuration, each change until the cluster has taken it; rolls back now and then."""

    def __init__(self, host: AdminHost, member: Any) -> None:
        super().__init__(host.node, f"chief {host.node.name}")
        self._host = host
        self._member = member
        self.quiet = False
        canary = host.repository.canary = self.rng.random() < 0.7
        gate: dict[str, Any] = {"seconds": 4.0}
        if canary:
            gate["canary"] = {"command": "PULL", "payload": {"n": 0}, "timeout": 4.0}
        self._values: dict[str, Any] = {
            "product": PRODUCT,
            "repository": ADDRESS,
            "repository_keys": [KEY],
            "versions": ["1.0"],
            "gate": gate,
            "keys": {"token": "none"},
            "worker": {"drain": 5, "start": 8, "hang": 6},
        }
        self._number = 0
        self._moves = host.node.around.rng(f"product {host.node.name}")
        self.pause = self.rng.choice((6.0, 12.0, 25.0))

    def start(self) -> None:
        self._set()
        self.after(self.some(8 * SECOND, 20 * SECOND), self._next)

    def _next(self) -> None:
        if self.quiet:
            return
        self.after(self.some(0, int(2 * self.pause * SECOND)), self._next)
        rng = self.rng
        what = rng.random()
        if what < 0.33:
            self._values["versions"] = [str(version) for version in self._some_versions()]
        elif what < 0.43:
            self._values["shares"] = {
                str(version): rng.choice((0, 10, 50, 90)) for version in GOOD if rng.random() < 0.3
            }
        elif what < 0.53:
            self._values["pins"] = {
                context: str(rng.choice(GOOD)) for context, share in PINS.items() if rng.random() < share
            }
        elif what < 0.58:
            auto = rng.random() < 0.6
            self._values["update"] = {"mode": "auto", "interval": 15} if auto else {"mode": "manual"}
        elif what < 0.66:
            self._values["keys"] = {"token": f"secret {rng.randrange(99)}"}
            self._values["product"] = self._moves.choice(PRODUCTS)
        elif what < 0.72:
            self._values["keys"] = {"token": f"{BAD} {rng.randrange(9) * 'x'}"}
        elif what < 0.75:
            self._values["worker"] = {**self._values["worker"], "timeout": rng.randrange(1_000, 9_000)}
        elif what < 0.82:
            self._publish_again()
            return
        elif what < 0.91:
            self.publish()
            return
        else:
            self._operate(rng.choice(("worker.rollback", "worker.rollback", "worker.ls")))
            return
        self._set()

    def _publish_again(self) -> None:
        """A version that runs, mostly; somebody may fetch that, or update to it."""
        rng, again, admin = self.rng, self._host.repository.republished, self._host.admin
        rows = admin.view()["versions"] if admin is not None else []
        good = [version for version in GOOD if str(version) in {row["version"] for row in rows}]
        version = rng.choice(good or GOOD)
        again[version] = again.get(version, 0) + 1
        verb = rng.choice(("worker.get", "worker.get", "worker.update", ""))
        if verb:
            self._operate(verb, version=str(version))

    def says(self, **values: Any) -> None:
        """One change, beside those of its own."""
        self._values |= values
        self._set()

    def publish(self) -> None:
        """The repository gets another version, or loses one."""
        self._host.repository.newest = self.rng.choice(self._host.repository.has())

    def _some_versions(self) -> list[Version]:
        rng = self.rng
        versions = {rng.choice(GOOD if rng.random() < 0.6 else self._host.repository.has())}
        if rng.random() < 0.4:
            versions.add(rng.choice(GOOD))
        return sorted(versions)

    def _operate(self, verb: str, **args: Any) -> None:
        def answered(_: Args, __: bytes, ___: Refusal | None) -> None:
            return

        self.call("operate", {"verb": verb, **args}, answered)

    def _set(self) -> None:
        self._number += 1
        self._try(self._number)

    def _try(self, number: int) -> None:
        if number != self._number:
            return  # a later word takes its place
        process = self._member.process
        spec = self.node.spec

        def replied(reply: Any) -> None:
            if isinstance(reply, Refusal):
                self.after(self.some(SECOND // 2, 2 * SECOND), self._try, number)

        if process is None or not process.alive:
            self.after(self.some(SECOND // 2, 2 * SECOND), self._try, number)
            return
        args = {"tenant": spec.tenant, "name": spec.name, "values": dict(self._values)}
        process.control("config_set", args, replied)
        # A reply that never comes (the member was killed): once more.
        self.after(5 * SECOND, self._again, number, process)

    def _again(self, number: int, process: Any) -> None:
        if not process.alive:
            self._try(number)

    def rest(self) -> None:
        """No more changes, and none by itself."""
        self.quiet = True
        self._values["update"] = {"mode": "manual"}
        self._set()

    def rescue(self) -> None:
        """Where nothing good was left to run, something good."""
        admin = self._host.admin
        running: list[str] = []
        if admin is not None:
            running = [row["version"] for row in admin.view()["versions"] if row["state"] == "RUNNING"]
        if "1.1" in running or "1.0" in running or "1.3" in running:
            return
        before = self._values["versions"]
        # Without a canary: a clock that was an hour wrong has it refused (EXPIRED) for as long.
        self._values["gate"] = {"seconds": 4.0}
        self._values["keys"] = {"token": "rescue"}
        self._host.repository.republished.clear()
        self._values["versions"] = ["1.3"] if before == ["1.1"] else ["1.1"]
        self._set()


class VersionClient(Client):
    """Sends to the type with versions: contexts, majors, newer names; and admin commands."""

    def __init__(self, node: ConnectorNode, model: Model, used: list[str], *, pause: float) -> None:
        super().__init__(node, model, Manners(admin=0), [TYPE], used, [], pause=pause)
        self.name = f"versions {self.name}"
        self.rng = node.around.rng(f"agent {self.name}")

    def _next(self) -> None:
        if self.quiet:
            return
        self.after(self.some(0, int(2 * self._pause * SECOND)), self._next)
        self.send(self.rng.random() < 0.08)

    def send(self, admin: bool) -> None:
        rng = self.rng
        self._number += 1
        job = Job(fresh_uuid(rng), TYPE, rng.choice(ALWAYS), self._body(), 10_000, self.now)
        if admin:
            job.admin = True
            job.command = rng.choice(
                (
                    "ADMIN_GET_WORKER",
                    "ADMIN_GET_LAST_VERSION_WORKER",
                    *("ADMIN_UPDATE",) * 4,
                    *("ADMIN_START_WORKER", "ADMIN_STOP_WORKER") * 2,
                )
            )
            version = rng.choice(list(VERSIONS))
            if rng.random() < 0.5:
                version = rng.choice(GOOD)
            job.payload = orjson.dumps({"Major": version.major, "Minor": version.minor})
            if job.command == "ADMIN_UPDATE" and rng.random() < 0.3:
                job.payload = b""
        else:
            if rng.random() < 0.6:
                job.more["context"] = rng.choice(CONTEXTS)
            if rng.random() < 0.3:
                job.wishes = {"order_key": rng.choice(("a", "b", "c", "d"))}
            draw = rng.random()
            if draw < 0.15:
                job.wishes = {**job.wishes, "ttl": 15_000}
                job.more["major"] = rng.choice((1, 2))
            elif draw < 0.25:
                job.command = NEWER
                job.wishes = {**job.wishes, "ttl": 15_000}
        self.open[job] = None
        self._send(job)
