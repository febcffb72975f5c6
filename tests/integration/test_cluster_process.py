"""A cluster member as a real process: its sockets, its disk, and SIGKILL at every one of its crash points."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from zconnector.messages.codec import decode, encode
from zconnector.messages.kinds import Flag, Kind, Outcome
from zconnector.messages.message import Message, receipt
from zconnector.runtime.control import request
from zconnector.shoset.enrolment import Enrolment
from zconnector.shoset.keys import KeyPair

DEADLINE = 15.0
_RUN = """
import sys
from pathlib import Path
from zconnector.cluster.process import run
from zconnector.settings import ClusterSettings
state, notify, crash = sys.argv[1:4]
sys.exit(run(ClusterSettings(state_dir=Path(state), bind=sys.argv[4], notify=notify, crash_at=crash)))
"""


class Member:
    """A member's process; started again it is the same member on the same endpoint."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.bind = "tcp://127.0.0.1:0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, crash_at: str = "") -> Member:
        notify = str(self.state.parent / "notify.sock")
        Path(notify).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(notify)
            listener.settimeout(DEADLINE)
            argv = [sys.executable, "-c", _RUN, str(self.state), notify, crash_at, self.bind]
            self.process = subprocess.Popen(argv)
            assert listener.recv(100) == b"READY=1\n"
        self.bind = self.control("status")["endpoint"]
        return self

    def control(self, op: str, **args: Any) -> dict[str, Any]:
        return request(self.state, op, args, DEADLINE)

    def killed(self) -> None:
        """Wait until it has killed itself at its crash point."""
        assert self.process is not None
        assert self.process.wait(DEADLINE) == -signal.SIGKILL

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)


class Instance:
    """One aggregator instance, spoken by hand."""

    def __init__(self, context: zmq.Context[Any], enrolment: str) -> None:
        self.context = context
        self.enrolment = Enrolment.decode(enrolment)
        self.keys = KeyPair.fresh()
        self.socket: zmq.Socket[bytes] | None = None
        self.sessions = 0
        self.waiting: list[Message] = []

    def open(self) -> None:
        self.close()
        (member,) = self.enrolment.endpoints
        dealer: zmq.Socket[bytes] = self.context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.CURVE_SERVERKEY, member.key.encode())
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public.encode())
        dealer.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret.encode())
        dealer.connect(member.endpoint)
        self.socket = dealer

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None
        self.waiting = []

    def hello(self, secret: str = "") -> None:
        self.sessions += 1
        e = self.enrolment
        header = {
            "versions": [1],
            "kind": "aggregator",
            "tenant": e.tenant,
            "name": e.name,
            "instance": e.instance,
            "boot": "b1",
            "session": f"s{self.sessions}",
            "credit": 1024,
            "endpoint": "tcp://127.0.0.1:1",
            "server_key": self.keys.public,
        }
        question = {"uuid": "s", "command": "VALIDATE"}
        self.give(Message(Kind.HELLO, header), Message(Kind.SECRET, question, (secret or e.secret).encode()))

    def begin(self) -> None:
        """A live session that reports both connectors."""
        self.open()
        self.hello()
        self.until(lambda m: m.kind is Kind.WELCOME and m.header["validated"])
        self.give(Message(Kind.PRESENCE, {"number": 0, "entries": ["git", "ci"]}))

    def give(self, *messages: Message) -> None:
        assert self.socket is not None
        for frames in encode(messages):
            self.socket.send_multipart(frames)

    def until(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message that is wanted; those before it are gone."""
        assert self.socket is not None
        end = time.monotonic() + DEADLINE
        while True:
            while self.waiting:
                message = self.waiting.pop(0)
                if wanted(message):
                    return message
            left = end - time.monotonic()
            if left <= 0 or not self.socket.poll(int(left * 1000)):
                raise TimeoutError("the message did not come")
            self.waiting += decode(self.socket.recv_multipart())
            self.give(Message(Kind.HEARTBEAT, {"received": 0}))

    def kind(self, kind: Kind) -> Message:
        return self.until(lambda m: m.kind is kind)

    def error(self, reason: str) -> None:
        """Wait for an ERROR with this reason."""
        self.until(lambda m: m.kind is Kind.ERROR and m.text("reason") == reason)


def command(uuid: str = "u1", payload: bytes = b"{}") -> Message:
    header = {
        "uuid": uuid,
        "source": "git",
        "type": "Ci",
        "command": "DO",
        "timeout": 5000,
        "budget": 5000,
        "accept_until": int(time.time() * 1000) + 5000,
    }
    return Message(Kind.COMMAND, header, payload)


def event(uuid: str) -> Message:
    return Message(Kind.EVENT, {"uuid": uuid, "source": "git", "topic": "T", "event": "E"}, b"body")


def reply(uuid: str) -> Message:
    header = {
        "uuid": uuid,
        "reference": "u1",
        "source": "ci",
        "recipient": "git",
        "topic": "DO",
        "event": "SUCCES",
    }
    return Message(Kind.EVENT, header)


def confirm(uuid: str) -> Message:
    return Message(Kind.CONFIRM, {"entries": [[uuid, 0]], "source": "git", "recipient": "ci"})


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    member = Member(tmp_path / "member")
    member.start()
    yield member
    if member.process is not None and member.process.poll() is None:
        member.process.kill()
        member.process.wait(DEADLINE)


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def instance(member: Member, context: zmq.Context[Any]) -> Instance:
    """A tenant with two connectors and a live aggregator instance."""
    endpoints = [{"instance": "a", "endpoint": "tcp://127.0.0.1:1", "key": "k" * 40}]
    for name, type_ in (("git", "Git"), ("ci", "Ci")):
        member.control(
            "secret_create", kind="connector", tenant="acme", name=name, type=type_, endpoints=endpoints
        )
    pivot = "name: Ci\nmajor: 1\nminor: 0\ncommandtypes: [DO]\n"
    member.control("pivot_put", tenant="acme", yaml=pivot)
    answer = member.control("secret_create", kind="aggregator", tenant="acme", name="agg", instance="a")
    instance = Instance(context, answer["enrolment"])
    instance.begin()
    return instance


def restart(member: Member, instance: Instance) -> None:
    """The member has died: start it again, with a fresh session."""
    member.killed()
    member.start()
    instance.begin()


def crash_next(member: Member, instance: Instance, point: str) -> None:
    """Restart the member so that it dies at a crash point."""
    assert member.stop() == 0
    member.start(crash_at=point)
    instance.begin()


def test_a_command_its_receipt_and_its_reply_pass(member: Member, instance: Instance) -> None:
    instance.give(command())
    given = instance.kind(Kind.COMMAND)
    assert given.text("target") == "ci"
    instance.give(receipt(given, Outcome.ON_GOING, source="ci"))
    assert instance.kind(Kind.EVENT).text("event") == Outcome.ON_GOING
    instance.give(reply("r1"), confirm("r1"))
    assert instance.until(lambda m: m.uuid == "r1").text("event") == "SUCCES"
    assert instance.kind(Kind.CONFIRM).header["entries"] == [["r1", 0]]
    instance.give(event("e1"))
    assert instance.kind(Kind.CONFIRM).header["entries"] == [["e1", 1]]
    status = member.control("status")
    assert status["healthy"] is True
    assert status["tenants"]["acme"] == {"latest": 1, "present": ["ci", "git"], "types": ["Ci"]}
    assert member.stop() == 0


def test_strangers_and_wrong_secrets_have_no_session(
    member: Member, instance: Instance, context: zmq.Context[Any]
) -> None:
    answer = member.control("secret_create", kind="aggregator", tenant="acme", name="agg", instance="b")
    other = Instance(context, answer["enrolment"])
    other.open()
    other.give(event("e1"))
    other.error("NO_SESSION")
    other.hello(secret="wrong")
    other.give(event("e1"))
    other.error("NOT_VALIDATED")
    refusal = other.kind(Kind.SECRET)
    assert (refusal.header["valid"], refusal.text("reason")) == (False, "WRONG_SECRET")
    thief = Instance(context, instance.enrolment.encode())
    thief.open()
    thief.hello()
    thief.error("WRONG_KEY")
    assert member.control("status")["tenants"]["acme"]["latest"] == 0
    for stranger in (other, thief):
        stranger.close()


@pytest.mark.parametrize(
    "point", ["member.before_resolution", "member.after_resolution", "member.after_forward"]
)
def test_a_command_under_way_in_a_crash_is_forwarded_by_its_next_copy(
    member: Member, instance: Instance, point: str
) -> None:
    crash_next(member, instance, point)
    instance.give(command())
    restart(member, instance)
    instance.give(command())
    given = instance.kind(Kind.COMMAND)
    assert given.text("target") == "ci"
    instance.give(receipt(given, Outcome.ON_GOING, source="ci"))
    assert instance.kind(Kind.EVENT).text("event") == Outcome.ON_GOING
    instance.give(command(payload=b"other"))
    conflict = instance.kind(Kind.EVENT)
    assert (conflict.text("event"), conflict.text("reason")) == (Outcome.REJECTED, "CONFLICT")


@pytest.mark.parametrize("point", ["member.reply_before_commit", "member.reply_after_commit"])
def test_a_reply_under_way_in_a_crash_is_confirmed_after_it_came_again(
    member: Member, instance: Instance, point: str
) -> None:
    crash_next(member, instance, point)
    instance.give(reply("r1"))
    restart(member, instance)
    instance.give(reply("r1"), confirm("r1"))
    assert instance.kind(Kind.CONFIRM).header["entries"] == [["r1", 0]]


@pytest.mark.parametrize("point", ["member.event_before_commit", "member.event_after_commit"])
def test_an_event_under_way_in_a_crash_has_one_number(member: Member, instance: Instance, point: str) -> None:
    instance.give(event("e1"))
    instance.kind(Kind.CONFIRM)
    crash_next(member, instance, point)
    instance.give(event("e2"))
    restart(member, instance)
    instance.give(event("e2"), event("e3"))
    assert instance.kind(Kind.CONFIRM).header["entries"] == [["e2", 2], ["e3", 3]]
    instance.give(Message(Kind.FETCH, {"uuid": "f", "after": 0, "upto": 9, "source": "ci"}))
    fetched = [instance.kind(Kind.EVENT) for _ in range(3)]
    assert [(m.uuid, m.number("seq"), m.payload) for m in fetched] == [
        ("e1", 1, b"body"),
        ("e2", 2, b"body"),
        ("e3", 3, b"body"),
    ]
    assert instance.until(lambda m: bool(m.flags & Flag.ANSWER)).number("missed") == 0


def test_a_revoked_aggregator_loses_its_session_and_gets_no_other(member: Member, instance: Instance) -> None:
    member.control("secret_revoke", kind="aggregator", tenant="acme", name="agg", instance="a")
    instance.error("REVOKED")
    instance.open()
    instance.hello()
    instance.error("REVOKED")


def test_a_bad_endpoint_and_a_newer_store_end_the_start_with_one_line(tmp_path: Path) -> None:
    state = tmp_path / "member"
    argv = [sys.executable, "-c", _RUN, str(state), "", ""]
    bad = subprocess.run(
        [*argv, "tcp://nowhere.invalid:x"], capture_output=True, timeout=DEADLINE, check=False
    )
    assert bad.returncode == 78
    assert bad.stderr.startswith(b"zconnector: cannot bind")
    import apsw

    connection = apsw.Connection(str(state / "cluster.db"))
    connection.execute("PRAGMA user_version=99")
    connection.close()
    newer = subprocess.run([*argv, "tcp://127.0.0.1:0"], capture_output=True, timeout=DEADLINE, check=False)
    assert newer.returncode == 78
    assert b"newer" in newer.stderr
    assert b"Traceback" not in newer.stderr
