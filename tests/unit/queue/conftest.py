"""A queue on the bench: a pure core over a memory store, with the disk in the test's hand."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.agendas import hold_queue
from zconnector.actions import Actions, Caller, Commit, Note, Reach, Respond
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.errors import StorageError
from zconnector.messages import Kind, Message
from zconnector.queue.local import Completed, LocalQueue, Offered, Published
from zconnector.queue.memory import MemoryQueueStore
from zconnector.queue.settling import Settlement
from zconnector.queue.store import DEAD, Bodies, Key, scan_all
from zconnector.settings import QueueSettings

START = 1_700_000_000_000
T = 10_000
Heard = list[Any]


class Disk(Bodies):
    """Bodies of a memory store, which may refuse to be read, or come back changed."""

    def __init__(self, store: MemoryQueueStore) -> None:
        self.store = store
        self.broken = False
        self.damaging = False
        self.reads = 0

    def body(self, space: str, key: Key) -> bytes:
        self.reads += 1
        if self.broken:
            raise StorageError("cannot be read")
        body = self.store.body(space, key)
        return body[:20] + bytes([body[20] ^ 1]) + body[21:] if self.damaging else body

    def bodies(self, space: str, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
        if self.broken or self.damaging:
            raise StorageError("cannot be read")
        return self.store.bodies(space, first, last, most)


class Bench:
    """Performs actions. Commits are done at once, or wait in `pending` while `held` is true."""

    def __init__(self, settings: QueueSettings | None = None) -> None:
        self.settings = settings or QueueSettings()
        self.store = MemoryQueueStore()
        self.disk = Disk(self.store)
        self.mono = 1000.0
        self.wall = START
        self.held = False
        self.full = False
        self.pending: deque[Commit] = deque()
        self.commits = 0
        self.responses: dict[Caller, Respond] = {}
        self.reached: list[str] = []
        self.notes: list[Note] = []
        self.heard: Heard = []
        self._seed = 0
        self._calls = itertools.count(1)
        self.queue = self._new()

    @property
    def now(self) -> Instant:
        return Instant(self.mono, self.wall)

    def _new(self) -> LocalQueue:
        self._seed += 1
        queue = LocalQueue(self.settings, self.disk, random.Random(self._seed))
        queue.restore(scan_all(self.store), self.now)
        return queue

    # --- the shell ---

    def do(self, actions: Actions) -> None:
        self._take(actions)
        while self.pending and not self.held:
            self._take(self._perform(self.pending.popleft()))

    def _take(self, actions: Actions) -> None:
        hold_queue(self.queue)
        for action in actions:
            match action:
                case Commit() as commit:
                    self.pending.append(commit)
                case Respond() as respond:
                    assert respond.caller not in self.responses, "answered twice"
                    self.responses[respond.caller] = respond
                case Reach(point):
                    self.reached.append(point)
                case Note() as note:
                    self.notes.append(note)
                case other:
                    raise AssertionError(f"the queue does not do {other}")

    def _perform(self, commit: Commit) -> Actions:
        self.commits += 1
        try:
            if self.full:
                raise StorageError("disk full")
            results = self.store.commit(commit.writes)
        except StorageError as error:
            return commit.failed(self.now, error)
        return commit.then(self.now, results)

    def settle(self, count: int | None = None) -> None:
        """Perform waiting commits: all there are and come, or `count` of them."""
        while self.pending and (count is None or count > 0):
            self._take(self._perform(self.pending.popleft()))
            if count is not None:
                count -= 1

    def restart(self, wall_passes: float = 0.0) -> None:
        """SIGKILL and a new process: what was not committed is gone, who waited as well."""
        self.pending.clear()
        self.responses.clear()
        self.mono = 50.0 if self.mono > 500 else 1000.0
        self.wall += int(wall_passes * 1000)
        self.queue = self._new()
        hold_queue(self.queue)

    def passes(self, seconds: float) -> None:
        """Time goes by, and every deadline on the way is kept."""
        end = self.mono + seconds
        for _ in range(10_000):
            due = self.queue.deadline()
            if due is None or due > end:
                break
            self._to(max(due, self.mono))
            self.tick()
        else:
            raise AssertionError("the queue is busy for ever: a deadline that has passed stays")
        self._to(end)
        self.tick()

    def tick(self) -> None:
        """As the router does it: whatever a tick leaves behind is asked for anew."""
        hold_queue(self.queue)
        self.queue.agenda.doubt()
        self.do(self.queue.tick(self.now))

    def _to(self, mono: float) -> None:
        self.wall += round((mono - self.mono) * 1000)
        self.mono = mono

    # --- what the router does ---

    def command(self, uuid: str, name: str = "BUILD", payload: bytes = b"{}", **fields: Any) -> Message:
        header = {
            "uuid": uuid,
            "type": "Git",
            "command": name,
            "timeout": T,
            "accept_until": self.wall + T,
            "source": "ci",
            "tenant": "acme",
            **fields,
        }
        return Message(Kind.COMMAND, header, payload)

    def event(self, uuid: str, topic: str = "BUILDS", event: str = "STARTED", **fields: Any) -> Message:
        payload = fields.pop("payload", b"{}")
        return Message(Kind.EVENT, {"uuid": uuid, "topic": topic, "event": event, **fields}, payload)

    def hear(self, *extra: Any) -> Callable[[Instant, Any], Actions]:
        def done(now: Instant, outcome: Any) -> Actions:
            self.heard.append((*extra, outcome) if extra else outcome)
            return []

        return done

    def offer(self, command: Message) -> Offered | None:
        """What was answered; None when nothing was yet."""
        before = len(self.heard)
        self.do(self.queue.offer(command, self.now, self.hear()))
        return self.heard[-1] if len(self.heard) > before else None

    def complete(self, reference: str, event: str = "SUCCES", uuid: str = "") -> Completed | None:
        before = len(self.heard)
        reply = self.event(uuid or f"reply-{reference}-{event}", "BUILD", event, reference=reference)
        self.do(self.queue.complete(reply, self.now, self.hear()))
        return self.heard[-1] if len(self.heard) > before else None

    def publish(self, event: Message, *, outbox: bool = False) -> Published | None:
        before = len(self.heard)
        self.do(self.queue.publish(event, self.now, outbox=outbox, done=self.hear()))
        return self.heard[-1] if len(self.heard) > before else None

    def iterator(self, kind: str = "command") -> str:
        held, self.held = self.held, False
        self.do(self.queue.create_iterator(kind, self.now, self.hear()))
        self.held = held
        created = self.heard.pop()
        assert isinstance(created, str), created
        return created

    def caller(self) -> Caller:
        return Caller(b"client", next(self._calls))

    def wait(
        self,
        iterator: str,
        name: str = "BUILD",
        major: int = 0,
        worker: str = "w",
        serving: Any = None,
        *,
        seen: str | None = None,
    ) -> Caller:
        caller = self.caller()
        args = (caller, iterator, name, major, worker, serving, self.now)
        self.do(self.queue.wait_command(*args, seen=seen))
        return caller

    def take(self, *names: str, major: int = 0, **more: Any) -> Caller:
        caller = self.caller()
        version = Version(major, 0)
        self.do(self.queue.take_commands(caller, names or ("BUILD",), "w", version, self.now, **more))
        return caller

    def taken(self, caller: Caller) -> list[dict[str, Any]] | None:
        """What a take was answered with; None while it waits."""
        respond = self.responses.get(caller)
        if respond is None:
            return None
        assert respond.error is None, respond.error
        entries = respond.args["commands"]
        assert len(respond.payload) == sum(entry["size"] for entry in entries)
        return list(entries)

    def got_one(self, caller: Caller) -> str | None:
        """Uuid of the one command that a take was answered with."""
        taken = self.taken(caller)
        if taken is None:
            return None
        (entry,) = taken
        return str(entry["uuid"])

    def took(self, *names: str, **more: Any) -> dict[str, Any]:
        """The one command that a take gets at once."""
        taken = self.taken(self.take(*names, wait_ms=-1, **more))
        assert taken is not None
        (entry,) = taken
        return entry

    def settles(self, lease: dict[str, Any], outcome: str, **more: Any) -> str | None:
        """Tell what became of a lease: "" when it is taken, else why not; None while a commit is awaited."""
        heard: list[Any] = []

        def done(now: Instant, outcomes: Any) -> Actions:
            heard.extend(outcomes)
            return []

        settlement = Settlement(lease["uuid"], lease["token"], outcome, **more)  # type: ignore[arg-type]
        self.do(self.queue.settle([settlement], self.now, done))
        self.heard_settled = heard
        return None if not heard else str(heard[0].reason) if heard[0] else ""

    def replies(self) -> list[tuple[str, str, str]]:
        """What is in the outbox: event, reference, reason."""
        due = self.queue.outbox_due(self.now, 1000)
        return [(e.message.text("event"), e.message.reference, e.message.text("reason")) for e in due]

    def letters(self) -> list[dict[str, Any]]:
        """The dead letters that are stored."""
        return [row.meta for row in scan_all(self.store) if row.space == DEAD]

    def listen(
        self,
        iterator: str,
        topic: str = "BUILDS",
        event: str | None = "STARTED",
        reference: str = "",
        worker: str = "w",
        *,
        seen: str | None = None,
        receipts: bool = True,
    ) -> Caller:
        caller = self.caller()
        args = (caller, iterator, topic, event, reference, worker, self.now)
        self.do(self.queue.wait_event(*args, seen=seen, receipts=receipts))
        return caller

    def cancel(self, caller: Caller) -> None:
        self.do(self.queue.cancel(caller, self.now))

    def got(self, caller: Caller) -> str | None:
        """Uuid of what a call was answered with, None while it waits; a refusal: its reason."""
        respond = self.responses.get(caller)
        if respond is None:
            return None
        return str(respond.error.reason) if respond.error else str(respond.args["uuid"])

    def outbox(self) -> list[str]:
        return [entry.message.uuid for entry in self.queue.outbox_due(self.now)]

    def state(self, name: str = "BUILD") -> dict[str, int]:
        return dict(self.queue.depths()["commands"]["names"].get(name, {}))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def bench_with() -> Callable[..., Bench]:
    """A bench with some settings changed."""
    return lambda **settings: Bench(QueueSettings(**settings))
