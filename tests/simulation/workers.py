"""Workers over the Gandalf operations of the door: register, beat, one iterator a name, waits in parallel.

Their faults: to die at any moment, to hang (silent, then going on as if nothing had been), to cancel a
wait, to complete late or twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulation.agent import Agent, Args, Pending, is_gone
from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode
from tests.simulation.scheduler import MS, SECOND
from tests.simulation.topology import COMMANDS
from zconnector.configuration.pivot import Version
from zconnector.connector.incoming import ADMIN_COMMANDS
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Outcome
from zconnector.queue.lines import ADMIN_WORKER

BEAT = SECOND
VERSION = Version(1, 0)


@dataclass(slots=True)
class Habits:
    """How a worker behaves; shares of its commands."""

    slow: float = 0.03
    """Run for up to SLOW."""
    progress: float = 0.1
    """Send an event in between."""
    twice: float = 0.03
    """Completed a second time, with another end."""
    fails: float = 0.1


SLOW = 12 * SECOND
USUAL = 1_000 * MS


class Worker(Agent):
    """One worker process, restarted by its supervisor whenever it ends."""

    def __init__(self, node: ConnectorNode, name: str, model: Model, *, named: bool, habits: Habits) -> None:
        super().__init__(node, name)
        self._model = model
        self._named = named
        self._habits = habits
        self._waits: dict[str, Pending | None] = {}
        self._iterators: dict[str, str] = {}
        self._hung_until = 0
        self._leaving = False
        self.version = VERSION
        self.commands = COMMANDS[node.spec.type]
        self.ongoing = 0
        self.ended: dict[str, int] = {}
        """When each of its former processes that named itself ended."""

    @property
    def identity(self) -> str:
        """What our SDK would say in its metadata: fresh for each process. "" for a Gandalf worker."""
        return f"{self.name}-{self.life}" if self._named else ""

    @property
    def source(self) -> str:
        return self.identity or self.name

    # ---- life

    def start(self) -> None:
        self.life += 1
        self._waits.clear()
        self._iterators.clear()
        self._leaving = False
        self.ongoing = 0
        args = {
            "worker": self.identity,
            "major": self.version.major,
            "minor": self.version.minor,
            "commands": list(self.commands),
        }
        self.call("register", args, self._registered)

    def _registered(self, result: Args, _: bytes, error: Refusal | None) -> None:
        if error is not None or not result["valid"]:
            self._again()
            return
        self.after(self.some(0, BEAT), self._beat)
        for name in self.commands:
            self._iterate(name)

    def _again(self) -> None:
        """It exits, and its supervisor starts it again."""
        self._end()
        self.after(self.some(300 * MS, 2 * SECOND), self.start)

    def die(self) -> None:
        """SIGKILL: the kernel closes its connections, so its pending waits are cancelled."""
        waits = list(self._waits.values())
        self._end()
        for wait in waits:
            self.cancel(wait)
        self.after(self.some(200 * MS, 6 * SECOND), self.start)

    def _end(self) -> None:
        self._model.lease_may_end(self.now, self.node.name, self.source, "")
        if self._named:
            self.ended[self.identity] = self.now
        self.life += 1
        self._waits.clear()

    def hang(self, duration: int) -> None:
        """It stands still: its connections stay, it says nothing, and goes on later."""
        self._hung_until = self.now + duration
        self._model.lease_may_end(self.now, self.node.name, self.source, "")

    @property
    def _hung(self) -> bool:
        return self.now < self._hung_until

    def _awake(self, call: Callable[..., None], *args: Any) -> bool:
        """Whether it is awake; else `call` follows when it is."""
        if not self._hung:
            return True
        self.scheduler.at(self._hung_until, self._still, self.life, call, args)
        return False

    def _beat(self) -> None:
        if not self._awake(self._beat):
            return
        args = {"worker": self.identity, "major": self.version.major, "minor": self.version.minor}
        self.call("beat", args, self._beaten)

    def _beaten(self, result: Args, _: bytes, error: Refusal | None) -> None:
        if error is None and result["valid"]:
            self.after(BEAT, self._beat)
            return
        # Told to leave, or nobody there: finish what is ongoing, then exit.
        self._leaving = True
        waits, self._waits = list(self._waits.values()), {}
        for wait in waits:
            self.cancel(wait)
        self._model.lease_may_end(self.now, self.node.name, self.source, "")
        self._leave_when_done()

    def _leave_when_done(self) -> None:
        if self.ongoing:
            self.after(200 * MS, self._leave_when_done)
        else:
            self._again()

    # ---- waits

    def _iterate(self, name: str) -> None:
        def made(result: Args, _: bytes, error: Refusal | None) -> None:
            if error is None:
                self._iterators[name] = str(result["iterator"])
                self._wait(name)
            elif not is_gone(error):
                self.after(500 * MS, self._iterate, name)

        self.call("create_iterator", {"kind": "command"}, made)

    def _wait(self, name: str) -> None:
        if self._leaving or not self._awake(self._wait, name):
            return
        iterator = self._iterators[name]
        args = {"iterator": iterator, "command": name, "major": self.version.major, "worker": self.source}
        if self._named:  # our SDK tells it: one command at a time, so what was handed before is lost
            args["seen"] = ""

        def given(header: Args, payload: bytes) -> None:
            self._model.handed(
                self.now, self.node.name, str(header["uuid"]), payload, self.source, iterator, header
            )
            if self._hung:
                self._model.lease_may_end(self.now, self.node.name, self.source, "")

        def answered(header: Args, payload: bytes, error: Refusal | None) -> None:
            self._waits.pop(name, None)
            if error is None:
                self._run(name, header)
            elif error.reason is Reason.NOT_FOUND:
                self._iterate(name)
            # else the connector has gone, and the next beat says so

        self._waits[name] = self.call("wait_command", args, answered, given=given)

    def cancel_waits(self) -> None:
        """It takes its waits back (also one that is just being answered) and waits anew."""
        if self._hung or self._leaving:
            return
        waits, self._waits = self._waits, {}
        for name, wait in waits.items():
            if wait is None:
                continue
            self._model.lease_may_end(self.now, self.node.name, "", self._iterators[name])
            self.cancel(wait)
            self.after(self.some(0, 300 * MS), self._wait, name)

    # ---- commands

    def _run(self, name: str, header: Args) -> None:
        if not self._awake(self._run, name, header):
            return
        uuid = str(header["uuid"])
        self.ongoing += 1
        self._model.executed(self.now, self.node.name, uuid, self.source)
        slow = self.rng.random() < self._habits.slow
        if self.rng.random() < self._habits.progress:
            self._reply(name, uuid, "PROGRESS", _ignored)
        self.after(self.some(2 * MS, SLOW if slow else USUAL), self._finish, name, uuid)

    def _finish(self, name: str, uuid: str) -> None:
        if not self._awake(self._finish, name, uuid):
            return
        fails = self.rng.random() < self._habits.fails
        self._complete(name, uuid, Outcome.FAIL if fails else Outcome.SUCCESS, 40)

    def _complete(self, name: str, uuid: str, event: str, tries: int) -> None:
        def taken(_: Args, __: bytes, error: Refusal | None) -> None:
            if error is not None and tries > 0:
                self.after(self.some(200 * MS, SECOND), self._complete, name, uuid, event, tries - 1)
                return
            self.ongoing -= 1
            if error is None and self.rng.random() < self._habits.twice:
                other = Outcome.FAIL if event == Outcome.SUCCESS else Outcome.SUCCESS
                self._reply(name, uuid, other, _ignored)
            self._wait(name)

        if self._awake(self._complete, name, uuid, event, tries):
            self._reply(name, uuid, event, taken)

    def _reply(self, name: str, uuid: str, event: str, answered: Any) -> None:
        args = {"topic": name, "event": event, "reference": uuid, "worker": self.source}
        final = event in (Outcome.SUCCESS, Outcome.FAIL)

        def given(_: Args, __: bytes) -> None:
            if final:
                self._model.completed(self.now, self.node.name, uuid)

        self.call("send_event", args, answered, given=given)


def _ignored(_: Args, __: bytes, ___: Refusal | None) -> None:
    return


class AdminWorker(Agent):
    """The admin worker: lives and dies with its connector's process (see `connector/admin.py`)."""

    def __init__(self, node: ConnectorNode, model: Model) -> None:
        super().__init__(node, f"admin {node.name}")
        self._model = model

    def start(self) -> None:
        """The connector serves."""
        self.life += 1
        for name in ADMIN_COMMANDS:
            self._begin(name)

    def _begin(self, name: str) -> None:
        def made(result: Args, _: bytes, error: Refusal | None) -> None:
            if error is None:
                self._wait(name, str(result["iterator"]))
            elif not is_gone(error):
                self.after(SECOND, self._begin, name)

        self.call("create_iterator", {"kind": "command"}, made)

    def _wait(self, name: str, iterator: str) -> None:
        def given(header: Args, payload: bytes) -> None:
            uuid, node = str(header["uuid"]), self.node.name
            self._model.handed(self.now, node, uuid, payload, ADMIN_WORKER, iterator, header)

        def answered(header: Args, _: bytes, error: Refusal | None) -> None:
            if error is None:
                self._model.executed(self.now, self.node.name, str(header["uuid"]), ADMIN_WORKER)
                self._refuse(name, iterator, str(header["uuid"]))
            elif not is_gone(error):
                self.after(SECOND, self._begin, name)

        args = {"iterator": iterator, "command": name, "major": 0, "worker": ADMIN_WORKER}
        self.call("wait_command", args, answered, given=given)

    def _refuse(self, name: str, iterator: str, uuid: str) -> None:
        def given(_: Args, __: bytes) -> None:
            self._model.completed(self.now, self.node.name, uuid)

        def taken(_: Args, __: bytes, error: Refusal | None) -> None:
            if error is None:
                self._wait(name, iterator)
            elif not is_gone(error):
                self.after(SECOND, self._refuse, name, iterator, uuid)

        args = {"topic": name, "event": Outcome.FAIL, "reference": uuid, "worker": ADMIN_WORKER}
        self.call("send_event", args, taken, b'{"reason":"none is configured"}', given=given)
