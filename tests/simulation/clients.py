"""Clients: they send commands and wait for the replies, publish events, subscribe."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from tests.simulation.agent import Agent, Args, Pending, is_gone
from tests.simulation.model import Model
from tests.simulation.nodes import ConnectorNode
from tests.simulation.scheduler import MS, SECOND
from tests.simulation.topology import COMMANDS
from zconnector.connector.incoming import ADMIN_COMMANDS
from zconnector.errors import REASONS, Reason, Refusal
from zconnector.messages.kinds import Outcome
from zconnector.shoset.identity import fresh_uuid

TOPIC = "NEWS"
LONGEST_RETRY = 30 * SECOND
"""A client gives a command up so long after its first try. Within the dedupe window, as it must be."""
ANSWERED = 0.05
"""Share of the events that a subscriber replies to."""
TIMEOUTS = (1_000, 3_000, 10_000)
"""Milliseconds; one of them for each command."""


@dataclass(slots=True)
class Manners:
    """What clients do now and then; shares of their commands."""

    resend: float = 0.05
    """Sent again under the same uuid after the reply was read."""
    other_body: float = 0.03
    """Sent again under the same uuid with another body: a conflict."""
    bad_payload: float = 0.03
    unknown_command: float = 0.02
    foreign_tenant: float = 0.01
    """Names another tenant than that of its connector."""
    borrowed: float = 0.0
    """Uses a uuid that the other tenant has used."""
    wishes: float = 0.4
    """With a time to live, a delay, a priority, an order key, a lease, or a retry policy."""
    awaits: float = 0.4
    """The reply is awaited by one call, not read through an iterator."""
    admin: float = 0.03
    """For the admin worker of a connector, which answers FAIL. Not every connector may send them."""


@dataclass(slots=True, eq=False)
class Job:
    """One command of a client."""

    uuid: str
    type: str
    command: str
    payload: bytes
    timeout: int
    began: int
    tenant: str = ""
    resent: bool = False
    done: bool = False
    admin: bool = False
    wishes: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    """Of the call, besides: a version, a context."""
    target: str = ""
    """"self": for its own connector."""


class Client(Agent):
    """Sends commands, each until it knows how it ended."""

    def __init__(
        self,
        node: ConnectorNode,
        model: Model,
        manners: Manners,
        types: list[str],
        used: list[str],
        others: list[str],
        *,
        pause: float,
    ) -> None:
        """`types`: connector types of its tenant; `used`: where it notes its last uuids; `others`: those
        of another tenant; `pause`: mean seconds between two commands.
        """
        super().__init__(node, f"client {node.name}")
        self._model = model
        self._manners = manners
        self._types = types
        self._used = used
        self._others = others
        self._pause = pause
        self._number = 0
        self.open: dict[Job, None] = {}
        """Jobs whose end is not known."""
        self.kept: set[str] = set()
        """Uuids that its own connector took when they were sent to itself."""
        self.quiet = False

    def start(self) -> None:
        self.after(self.some(0, int(2 * self._pause * SECOND)), self._next)

    def _next(self) -> None:
        if self.quiet:
            return
        self.after(self.some(0, int(2 * self._pause * SECOND)), self._next)
        manners, rng = self._manners, self.rng
        kind = rng.choice(self._types)
        self._number += 1
        uuid = fresh_uuid(rng)
        if self._others and rng.random() < manners.borrowed:
            uuid = self._others.pop()
        job = Job(uuid, kind, rng.choice(COMMANDS[kind]), self._body(), rng.choice(TIMEOUTS), self.now)
        odd = rng.random()
        if odd < manners.bad_payload:
            job.payload = b'{"n":"no number"}'
        elif odd < manners.bad_payload + manners.unknown_command:
            job.command = "NO_SUCH_COMMAND"
        elif odd < manners.bad_payload + manners.unknown_command + manners.foreign_tenant:
            job.tenant = "t2" if self.node.spec.tenant == "t1" else "t1"
        elif odd > 1 - manners.admin:
            job.admin, job.command = True, rng.choice(ADMIN_COMMANDS)
        elif rng.random() < manners.wishes:
            job.wishes = self._wishes()
        self._used.append(uuid)
        del self._used[:-20]
        self.open[job] = None
        self._send(job)

    def _body(self, **more: Any) -> bytes:
        mark = {"n": self._number, "tenant": self.node.spec.tenant, "by": self.node.name}
        return orjson.dumps({**mark, **more})

    def _wishes(self) -> dict[str, Any]:
        """What a sender may ask for, some of it."""
        rng = self.rng
        wishes: dict[str, Any] = {}
        if rng.random() < 0.25:
            wishes["ttl"] = rng.choice((2_000, 6_000, 15_000))
        if rng.random() < 0.25:
            wishes["delay"] = rng.choice((200, 1_500, 5_000))
        if rng.random() < 0.4:
            wishes["priority"] = rng.randint(1, 9)
        if rng.random() < 0.4:
            wishes["order_key"] = rng.choice(("left", "right"))
        if rng.random() < 0.2:
            wishes["lease"] = rng.choice((2_000, 5_000))
        if rng.random() < 0.4:
            wishes["retry"] = {
                "attempts": rng.randint(1, 4),
                "first": rng.choice((200, 1_000)),
                "factor": rng.choice((1, 2.5)),
            }
        return wishes

    # ---- sending

    def _send(self, job: Job) -> None:
        args = {
            "uuid": job.uuid,
            "type": job.type,
            "command": job.command,
            "timeout": job.timeout,
            "major": 0,
            "worker": self.name,
            **job.wishes,
            **job.more,
        }
        if job.tenant:
            args["tenant"] = job.tenant
        if job.admin:
            args["admin"] = True
        if job.target:
            args["target"] = job.target
        attempt = self._model.sending(
            self.now, self.node.name, job.uuid, job.payload, job.timeout, job.wishes
        )

        def answered(result: Args, _: bytes, error: Refusal | None) -> None:
            outcome = _outcome(result, error)
            uuid = error.uuid if error is not None else str(result.get("uuid", ""))
            self._model.outcome(self.now, attempt, outcome, uuid)
            self._heard(job, outcome)

        self.call("send_command", args, answered, job.payload)

    def _heard(self, job: Job, outcome: str) -> None:
        if job.done:
            return
        late = self.now - job.began > LONGEST_RETRY
        if outcome == "ACCEPTED":
            self._read(job)
            if self.rng.random() < self._manners.other_body:
                self.after(self.some(0, 5 * SECOND), self._send_other, job)
        elif outcome == "UNKNOWN":
            if late or self.rng.random() < 0.4:
                self._read(job)  # a reply, or the FAIL that says it was never receipted
            else:
                self.after(self.some(100 * MS, 3 * SECOND), self._send, job)
        elif outcome == "LOST":
            if late:
                self._close(job)
            else:
                self.after(self.some(300 * MS, 2 * SECOND), self._send, job)
        elif REASONS[Reason(outcome)].elsewhere and not late and self.rng.random() < 0.8:
            self.after(self.some(100 * MS, 3 * SECOND), self._send, job)
        else:
            self._close(job)

    def _send_other(self, job: Job) -> None:
        """The same uuid with another body."""
        other = Job(
            job.uuid,
            job.type,
            job.command,
            self._body(other=True),
            job.timeout,
            self.now,
            resent=True,
            done=True,
            admin=job.admin,
            more=job.more,
        )
        self._send(other)

    def _close(self, job: Job) -> None:
        job.done = True
        self.open.pop(job, None)

    # ---- replies

    def _read(self, job: Job) -> None:
        if job.resent:
            self._close(job)
            return
        if self.rng.random() < self._manners.awaits:
            self._await_final(job)
            return

        def made(result: Args, _: bytes, error: Refusal | None) -> None:
            if error is None:
                self._await_reply(job, str(result["iterator"]))
            else:
                self.after(self.some(300 * MS, SECOND), self._read, job)

        self.call("create_iterator", {"kind": "event"}, made)

    def _await_final(self, job: Job) -> None:
        """One call, which is answered with the reply that ends the command."""
        if self.node.door is None:
            self.after(self.some(300 * MS, SECOND), self._read, job)
            return
        awaiter = self._model.awaiting(self.now, self.node.name, job.uuid)

        def given(event: Args, _: bytes) -> None:
            self._model.heard(self.now, awaiter, str(event["reference"]))

        def answered(event: Args, _: bytes, error: Refusal | None) -> None:
            if error is None:
                self._model.reply_read(
                    self.now, self.node.name, job.uuid, str(event["reference"]), str(event["event"])
                )
                self._replied(job)
                return
            self._model.let_down(self.now, awaiter, str(error.reason), gone=is_gone(error))
            self.after(self.some(300 * MS, SECOND), self._read, job)

        args = {"uuid": job.uuid, "timeout": self.rng.choice((0, 20_000))}
        self.call("await_reply", args, answered, given=given)

    def _await_reply(self, job: Job, iterator: str) -> None:
        args = {"iterator": iterator, "topic": job.command, "reference": job.uuid, "worker": self.name}

        def answered(event: Args, _: bytes, error: Refusal | None) -> None:
            if error is not None:
                self.after(self.some(300 * MS, SECOND), self._read, job)
                return
            name = str(event["event"])
            self._model.reply_read(self.now, self.node.name, job.uuid, str(event["reference"]), name)
            if name in (Outcome.SUCCESS, Outcome.FAIL):
                self._replied(job)
            else:
                self._await_reply(job, iterator)

        self.call("wait_event", args, answered)

    def _replied(self, job: Job) -> None:
        self._close(job)
        if self.rng.random() < self._manners.resend and not self.quiet:
            again = replace(job, began=self.now, resent=True, done=False)
            self.open[again] = None
            self.after(self.some(0, 30 * SECOND), self._send, again)


class OwnClient(Client):
    """Sends commands to its own connector, some of them once more by way of the cluster."""

    def start(self) -> None:
        self.name = f"own {self.name}"
        self.rng = self.node.around.rng(f"agent {self.name}")
        super().start()

    def _next(self) -> None:
        if self.quiet:
            return
        self.after(self.some(0, int(2 * self._pause * SECOND)), self._next)
        self._number += 1
        kind, rng = self.node.spec.type, self.rng
        uuid, timeout = fresh_uuid(rng), rng.choice(TIMEOUTS)
        job = Job(uuid, kind, rng.choice(COMMANDS[kind]), self._body(), timeout, self.now, target="self")
        if rng.random() < self._manners.bad_payload:
            job.payload = b'{"n":"no number"}'
        elif rng.random() < self._manners.wishes:
            job.wishes = self._wishes()
        self.open[job] = None
        self._send(job)

    def _heard(self, job: Job, outcome: str) -> None:
        super()._heard(job, outcome)
        if outcome == "ACCEPTED" and job.target:
            self.kept.add(job.uuid)
        if outcome == "ACCEPTED" and job.target and self.rng.random() < 0.2:
            copy = replace(job, target="", resent=True, done=True)
            self.after(self.some(0, 20 * SECOND), self._send, copy)


def _outcome(result: Args, error: Refusal | None) -> str:
    if error is None:
        return str(result["outcome"])
    return "LOST" if is_gone(error) else str(error.reason)


class Publisher(Agent):
    """Publishes broadcast events, each until it is told that it is stored."""

    def __init__(self, node: ConnectorNode, model: Model, *, pause: float) -> None:
        super().__init__(node, f"publisher {node.name}")
        self._model = model
        self._pause = pause
        self._number = 0
        self.open: dict[str, None] = {}
        self.quiet = False

    def start(self) -> None:
        self.after(self.some(0, int(2 * self._pause * SECOND)), self._next)

    def _next(self) -> None:
        if self.quiet:
            return
        self.after(self.some(0, int(2 * self._pause * SECOND)), self._next)
        self._number += 1
        uuid = fresh_uuid(self.rng)
        self.open[uuid] = None
        self._publish(uuid, orjson.dumps({"n": self._number, "tenant": self.node.spec.tenant}))

    def _publish(self, uuid: str, payload: bytes) -> None:
        args = {"uuid": uuid, "topic": TOPIC, "event": "SAID", "worker": self.name}

        def answered(_: Args, __: bytes, error: Refusal | None) -> None:
            if error is None:
                self._model.published(self.now, self.node.name, uuid)
                self.open.pop(uuid, None)
            else:
                self.after(self.some(300 * MS, SECOND), self._publish, uuid, payload)

        self._model.publishing(self.now, self.node.name, uuid)
        self.call("send_event", args, answered, payload)


class Subscriber(Agent):
    """Reads every event of a topic through one iterator, over restarts of its connector."""

    def __init__(
        self, node: ConnectorNode, model: Model, name: str, *, named: bool = True, careful: bool = False
    ) -> None:
        """`named`: it gives a WorkerSource; `careful`: it says with each wait what it has `seen` last."""
        super().__init__(node, name)
        self._model = model
        self._named = named
        self._careful = careful
        self._seen = ""
        self._iterator = ""
        self._pending: Pending | None = None
        self._waits = 0
        self._handed = ""
        """Uuid of the event that the present wait has been given."""

    def start(self) -> None:
        self._create()

    def _create(self) -> None:
        def made(result: Args, _: bytes, error: Refusal | None) -> None:
            if error is None:
                self._iterator = str(result["iterator"])
                self._wait()
            else:
                self.after(self.some(300 * MS, SECOND), self._create)

        self.call("create_iterator", {"kind": "event"}, made)

    def _wait(self) -> None:
        node, model, iterator = self.node.name, self._model, self._iterator
        args = {"iterator": iterator, "topic": TOPIC, "worker": self.name if self._named else ""}
        if self._careful:
            args["seen"] = self._seen
        self._handed = ""
        self._waits += 1
        wait = self._waits

        def given(event: Args, payload: bytes) -> None:
            if wait == self._waits:
                self._handed = str(event["uuid"])
            if not self._careful:
                model.shown(self.now, node, iterator, str(event["uuid"]), payload)

        def answered(event: Args, payload: bytes, error: Refusal | None) -> None:
            if wait != self._waits:
                return
            self._pending = None
            if error is None:
                uuid = str(event["uuid"])
                if self._careful:
                    self._seen = uuid
                    model.seen(self.now, node, iterator, uuid, payload)
                if self.rng.random() < ANSWERED:
                    self._answer(event)
                self._wait()
            elif error.reason is Reason.NOT_FOUND:
                model.defect(self.now, node, f"iterator {iterator} of {self.name} is not known any more")
            else:
                self.after(self.some(300 * MS, SECOND), self._wait)

        door = self.node.door
        self._pending = self.call("wait_event", args, answered, given=given)
        if door is not None and not door.frozen and door.alive:
            model.subscribed(self.now, node, iterator)

    def _answer(self, event: Args) -> None:
        """Reply to an event, as a worker that has handled it does."""
        args = {"topic": str(event["event"]), "event": Outcome.SUCCESS, "reference": str(event["uuid"])}
        self.call("send_event", {**args, "worker": self.name}, _ignored)

    def cancel_wait(self) -> None:
        """Take the wait back, also when its answer is just on the way, and wait anew."""
        pending = self._pending
        if pending is None or not pending.process.alive:
            return
        self._pending = None
        self._waits += 1
        if self._handed and not self._careful:
            self._model.taken_back(self.now, self.node.name, self._iterator, self._handed)
        self.cancel(pending)
        self.after(self.some(0, 200 * MS), self._wait)


def _ignored(_: Args, __: bytes, ___: Refusal | None) -> None:
    return
