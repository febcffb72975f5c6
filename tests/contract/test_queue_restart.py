"""The queue over every store: what was told before a SIGKILL is there after it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zconnector.actions import Actions, Caller, Commit, Respond
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.errors import StorageError
from zconnector.messages import Kind, Message
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.lanes import LaneKey
from zconnector.queue.local import LocalQueue
from zconnector.queue.memory import MemoryQueueStore
from zconnector.queue.settling import Settlement
from zconnector.queue.sqlite import SqliteQueueStore
from zconnector.queue.store import QueueStore, scan_all
from zconnector.queue.subscription import Terms
from zconnector.queue.subscriptions import Acknowledgement
from zconnector.settings import QueueSettings

NOW = Instant(100.0, 1_700_000_000_000)
POLICY = RetryPolicy(attempts=9)
Open = Callable[[], QueueStore]


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "memory":
        rows = MemoryQueueStore().rows
        return lambda: MemoryQueueStore(rows)
    return lambda: SqliteQueueStore(tmp_path / "queue.db")


class Shell:
    """Commits at once, and keeps the answers."""

    def __init__(self, store: QueueStore) -> None:
        self.store = store
        self.responses: dict[Caller, Respond] = {}
        self.heard: list[Any] = []
        self.queue = LocalQueue(QueueSettings(), store, random.Random(1))
        self.queue.restore(scan_all(store), NOW)

    def do(self, actions: Actions) -> None:
        todo = deque(actions)
        while todo:
            action = todo.popleft()
            if isinstance(action, Respond):
                self.responses[action.caller] = action
            elif isinstance(action, Commit):
                try:
                    results = self.store.commit(action.writes)
                except StorageError as error:
                    todo.extend(action.failed(NOW, error))
                else:
                    todo.extend(action.then(NOW, results))

    def hear(self, _: Instant, outcome: Any) -> Actions:
        self.heard.append(outcome)
        return []

    def iterator(self, kind: str) -> str:
        self.do(self.queue.create_iterator(kind, NOW, self.hear))
        return str(self.heard.pop())

    def wait_command(self, iterator: str, call: int) -> Respond | None:
        caller = Caller(b"c", call)
        self.do(self.queue.wait_command(caller, iterator, "BUILD", 0, "w", None, NOW))
        return self.responses.get(caller)

    def wait_event(self, iterator: str, call: int) -> Respond | None:
        caller = Caller(b"c", call)
        self.do(self.queue.wait_event(caller, iterator, "T", None, "", "w", NOW))
        return self.responses.get(caller)

    def take(self, call: int) -> dict[str, Any]:
        """The one command that there is for a stream of v1."""
        caller = Caller(b"c", call)
        self.do(self.queue.take_commands(caller, ["BUILD"], "w", Version(0, 0), NOW, wait_ms=-1))
        (entry,) = self.responses[caller].args["commands"]
        return dict(entry)

    def settle(self, lease: dict[str, Any], outcome: Any, **more: Any) -> str:
        """Empty when it was taken, else the reason why not."""
        settlement = Settlement(lease["uuid"], lease["token"], outcome, **more)
        self.do(self.queue.settle([settlement], NOW, self.hear))
        (refusal,) = self.heard.pop()
        return str(refusal.reason) if refusal else ""


def command(uuid: str, payload: bytes = b"{}") -> Message:
    header = {"uuid": uuid, "type": "Git", "command": "BUILD", "source": "ci", "tenant": "acme"}
    return Message(Kind.COMMAND, {**header, "timeout": 10, "accept_until": NOW.wall + 10_000}, payload)


def event(uuid: str, **fields: Any) -> Message:
    return Message(Kind.EVENT, {"uuid": uuid, "topic": "T", "event": "E", **fields}, b"payload")


def test_everything_is_there_after_reopening(opener: Open) -> None:
    store = opener()
    before = Shell(store)
    commands, events = before.iterator("command"), before.iterator("event")
    assert before.wait_event(events, 1) is None
    for uuid in ("leased", "ready", "done"):
        before.do(before.queue.offer(command(uuid, uuid.encode()), NOW, before.hear))
    assert before.wait_command(commands, 2) is not None
    reply = event("reply", reference="done").with_fields(event="SUCCES")
    before.do(before.queue.complete(reply, NOW, before.hear))
    for number in (1, 2):
        before.do(before.queue.publish(event(f"e{number}", seq=number), NOW, outbox=True, done=before.hear))
    before.queue.sequenced(1, NOW)
    before.do(before.queue.remember("pivots", {"names": ["BUILD"]}, NOW))
    before.do(before.queue.remember_unknown(command("unknown"), NOW, before.hear))
    depths = before.queue.depths()
    store.close()

    store = opener()
    after = Shell(store)
    now = after.queue.depths()
    for part in ("iterators", "cursor", "unknown", "dead"):
        assert now[part] == depths[part], part
    assert now["commands"]["states"] == depths["commands"]["states"]
    assert now["commands"]["bytes"] == depths["commands"]["bytes"]
    for part in ("count", "bytes"):
        assert now["events"][part] == depths["events"][part]
        assert now["outbox"][part] == depths["outbox"][part]
    assert after.queue.recall("pivots") == {"names": ["BUILD"]}
    assert [entry.message.uuid for entry in after.queue.outbox_due(NOW)] == ["reply", "e1", "e2"]
    ready = after.wait_command(commands, 1)
    assert ready is not None
    assert (ready.args["uuid"], ready.payload) == ("ready", b"ready")
    second = after.wait_event(events, 2)
    assert second is not None
    assert second.args["uuid"] == "e2", "e1 was delivered before"
    after.do(after.queue.release(lambda lease: lease.iterator == commands, "gone", NOW))
    again = after.wait_command(commands, 3)
    assert again is not None
    assert (again.args["uuid"], again.payload) == ("leased", b"leased")
    store.close()


def test_wishes_leases_and_dead_letters_are_there_after_reopening(opener: Open) -> None:
    store = opener()
    before = Shell(store)

    def offer(uuid: str, payload: bytes = b"{}", **fields: Any) -> None:
        before.do(before.queue.offer(command(uuid, payload).with_fields(**fields), NOW, before.hear, POLICY))

    offer("held", b"\xff\x00", lease=5_000)
    held = before.take(1)
    offer("dead")
    before.settle(before.take(2), "fail", error="no")
    offer("again")
    before.settle(before.take(3), "nak", delay=60_000, error="busy")
    offer("late", delay=30_000, priority=7)
    offer("first", order_key="k", priority=1)
    offer("second", order_key="k", ttl=90_000)
    depths = before.queue.depths()
    store.close()

    store = opener()
    after = Shell(store)
    assert after.queue.depths()["commands"] == depths["commands"]
    assert after.queue.depths()["dead"] == depths["dead"]
    again, late = after.queue.find_command("again"), after.queue.find_command("late")
    assert again is not None
    assert late is not None
    assert (again.state, again.error, again.attempt, again.policy) == ("DELAYED", "busy", 1, POLICY)
    assert (late.due, late.priority) == (NOW.wall + 30_000, 7)
    first = after.take(4)
    assert (first["uuid"], first["attempt"]) == ("first", 1)
    assert after.settle({**held, "token": "wrong"}, "ack") == "FENCED"
    assert after.settle(held, "ack") == ""
    assert after.settle(first, "ack") == ""
    assert after.take(5)["uuid"] == "second"
    replies = {(e.message.reference, e.message.text("event")) for e in after.queue.outbox_due(NOW)}
    assert replies == {("dead", "FAIL"), ("held", "SUCCES"), ("first", "SUCCES")}
    store.close()


def test_a_full_disk_fails_the_request_and_room_again_heals(tmp_path: Path) -> None:
    store = SqliteQueueStore(tmp_path / "queue.db", max_bytes=400_000)
    shell = Shell(store)
    for number in range(30):
        shell.do(shell.queue.offer(command(f"u{number}", b"x" * 20_000), NOW, shell.hear))
    outcomes = [offered.outcome for offered in shell.heard]
    stored = outcomes.count("STORED")
    assert 5 < stored < 30
    assert outcomes[stored:] == ["FAILED"] * (30 - stored)
    assert not shell.queue.healthy
    assert shell.queue.depths()["commands"]["count"] == stored
    for number in range(stored):  # a completion frees the payload's pages
        reply = event(f"r{number}", reference=f"u{number}").with_fields(event="SUCCES")
        shell.do(shell.queue.complete(reply, NOW, shell.hear))
    if shell.heard[-1].outcome == "FAILED":
        store.database.limit(800_000)
        reply = event("last", reference=f"u{stored - 1}").with_fields(event="SUCCES")
        shell.do(shell.queue.complete(reply, NOW, shell.hear))
    shell.do(shell.queue.offer(command("u29", b"x" * 20_000), NOW, shell.hear))
    assert shell.heard[-1].outcome == "STORED"
    assert shell.queue.healthy
    store.close()


def test_what_was_told_before_a_sigkill_is_there_after_it(tmp_path: Path) -> None:
    """The real writer thread; the process kills itself as soon as 200 commands are told as stored."""
    program = textwrap.dedent(
        """
        import asyncio, os, random, signal, sys
        from pathlib import Path
        from zconnector.actions import Commit
        from zconnector.clock import SystemClock
        from zconnector.errors import StorageError
        from zconnector.messages import Kind, Message
        from zconnector.queue.local import LocalQueue
        from zconnector.queue.sqlite import SqliteQueueStore
        from zconnector.settings import QueueSettings
        from zconnector.storage.writer import GroupCommit

        async def main():
            clock = SystemClock()
            store = SqliteQueueStore(Path(sys.argv[1]))
            writer = GroupCommit(store, asyncio.get_running_loop())
            queue = LocalQueue(QueueSettings(), store, random.Random(1))
            told = 0

            def do(actions):
                for action in actions:
                    if isinstance(action, Commit):
                        def on_done(outcome, commit=action):
                            now = clock.now()
                            failed = isinstance(outcome, StorageError)
                            do(commit.failed(now, outcome) if failed else commit.then(now, outcome))
                        writer.submit(action.writes, on_done)

            def heard(uuid):
                def done(now, offered):
                    nonlocal told
                    assert offered.outcome == "STORED"
                    os.write(1, (uuid + "\\n").encode())
                    told += 1
                    if told == 200:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return []
                return done

            for number in range(1000):
                now = clock.now()
                header = {"uuid": f"u{number}", "type": "Git", "command": "BUILD", "timeout": 10,
                          "accept_until": now.wall + 600_000, "source": "ci"}
                message = Message(Kind.COMMAND, header, b"p" * number)
                do(queue.offer(message, now, heard(f"u{number}")))
                await asyncio.sleep(0)
            await asyncio.Event().wait()

        asyncio.run(main())
        """
    )
    path = tmp_path / "queue.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env=environment,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    told = ended.stdout.split()
    assert len(told) == 200
    store = SqliteQueueStore(path)
    shell = Shell(store)
    assert all(shell.queue.knows_command(uuid) for uuid in told)
    iterator = shell.iterator("command")
    for number in range(200):
        respond = shell.wait_command(iterator, number)
        assert respond is not None
        assert (respond.args["uuid"], respond.payload) == (f"u{number}", b"p" * number)
    store.close()


def test_a_subscription_goes_on_where_it_was(opener: Open) -> None:
    store = opener()
    before = Shell(store)
    terms = Terms((LaneKey("T", None, ""),), 10, 60_000)
    subscriptions = before.queue.subscriptions
    before.do(subscriptions.subscribe(Caller(b"c", 1), "s", terms, oldest=False, now=NOW))
    for number in range(5):
        before.do(before.queue.publish(event(f"e{number}"), NOW, outbox=False, done=before.hear))
    before.do(subscriptions.take(Caller(b"c", 2), "s", "h", 3, None, NOW))
    ids = [item["id"] for item in before.responses[Caller(b"c", 2)].args["events"]]
    before.do(subscriptions.acknowledge(Caller(b"c", 3), "s", "h", [Acknowledgement(ids[1], True)], NOW))
    assert before.responses[Caller(b"c", 3)].args == {"results": [{"id": ids[1]}]}
    store.close()

    store = opener()
    after = Shell(store)
    subscriptions = after.queue.subscriptions
    after.do(subscriptions.take(Caller(b"c", 1), "s", "other", 64, None, NOW))
    events = after.responses[Caller(b"c", 1)].args["events"]
    assert [(item["uuid"], item["attempt"]) for item in events] == [("e3", 1), ("e4", 1)]
    assert after.responses[Caller(b"c", 1)].payload == b"payload" * 2
    after.do(subscriptions.release_holder("h", NOW))
    after.do(subscriptions.take(Caller(b"c", 2), "s", "other", 64, None, NOW))
    events = after.responses[Caller(b"c", 2)].args["events"]
    assert [(item["uuid"], item["attempt"]) for item in events] == [("e0", 2), ("e2", 2)]
    store.close()


def test_a_command_to_ourselves_its_reply_and_their_records(opener: Open) -> None:
    store = opener()
    before = Shell(store)
    before.queue.own.at_home("ci")
    for uuid in ("c1", "c2"):
        before.do(before.queue.own.offer(command(uuid, uuid.encode()), NOW, before.hear))
    reply = event("r1", reference="c1").with_fields(event="SUCCES")
    before.do(before.queue.complete(reply, NOW, before.hear))
    store.close()

    store = opener()
    after = Shell(store)
    after.queue.own.at_home("ci")
    assert (after.queue.own.holds("c1"), after.queue.own.holds("c2")) == (True, True)
    after.do(after.queue.awaiting.wait(Caller(b"c", 1), "c1", None, NOW))
    answer = after.responses[Caller(b"c", 1)]
    assert (answer.args["uuid"], answer.args["source"], answer.payload) == ("r1", "ci", b"payload")
    ready = after.wait_command(after.iterator("command"), 2)
    assert ready is not None
    assert (ready.args["uuid"], ready.payload) == ("c2", b"c2")
    records, _ = after.queue.journal.first(10)
    assert [message.uuid for _, message in records] == ["c1", "c2", "r1"]
    after.do(after.queue.journal.told([key for key, _ in records[:2]], NOW))
    store.close()

    store = opener()
    last = Shell(store)
    records, _ = last.queue.journal.first(10)
    assert [(message.uuid, message.payload) for _, message in records] == [("r1", b"payload")]
    store.close()
