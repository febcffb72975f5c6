"""What a connector sent to itself: journalled once, resolved to it, forwarded to nobody."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cluster.bench import Instance, topology
from zconnector.cluster.memory import MemoryStore
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message, body_digest


def command(uuid: str = "c1", payload: bytes = b"{}", **fields: Any) -> tuple[dict[str, Any], bytes]:
    header = {"uuid": uuid, "type": "Ci", "command": "DO", "timeout": 3000, "accept_until": 9, **fields}
    return {**header, "kind": "COMMAND", "size": len(payload)}, payload


def reply(uuid: str, reference: str, payload: bytes = b"done") -> tuple[dict[str, Any], bytes]:
    header = {"uuid": uuid, "topic": "DO", "event": "SUCCES", "reference": reference}
    return {**header, "kind": "REPLY", "size": len(payload)}, payload


def tell(
    instance: Instance, *records: tuple[dict[str, Any], bytes], uuid: str = "j1", source: str = "ci"
) -> None:
    header = {"uuid": uuid, "source": source, "entries": [record for record, _ in records]}
    instance.give(Message(Kind.JOURNAL, header, b"".join(payload for _, payload in records)))


def journal(store: MemoryStore) -> list[tuple[str, str, str, bytes]]:
    return [
        (line.entry.kind, line.entry.uuid, str(line.entry.header.get("target", "")), line.entry.payload)
        for line in store._journal
    ]


def test_it_is_committed_then_answered_and_goes_nowhere() -> None:
    bench, (a, b) = topology()
    bench.held = True
    tell(a, command(), reply("r1", "c1"), command("c2", b'{"n":2}'))
    assert a.take() == []
    bench.release()
    (answer,) = a.take()
    assert (answer.kind, answer.is_answer, answer.reference) == (Kind.JOURNAL, True, "j1")
    assert answer.text("recipient") == "ci"
    assert b.take() == []
    assert journal(bench.store) == [
        ("COMMAND", "c1", "ci", b"{}"),
        ("REPLY", "r1", "", b"done"),
        ("COMMAND", "c2", "ci", b'{"n":2}'),
    ]
    (first, *_) = bench.store._journal
    assert (first.entry.header["tenant"], first.entry.header["source"]) == ("acme", "ci")
    assert "kind" not in first.entry.header
    assert bench.store.latest("acme") == 0, "no number of the tenant's sequence is used"


def test_told_again_it_is_there_once_and_answered_again() -> None:
    bench, (a, b) = topology()
    tell(a, command(), reply("r1", "c1"))
    tell(b, command(), reply("r1", "c1"), uuid="j2")
    assert [m.reference for m in b.take()] == ["j2"]
    assert [line[:2] for line in journal(bench.store)] == [("COMMAND", "c1"), ("REPLY", "r1")]
    assert "journal_conflict" not in bench.router.status(bench.now)["counters"]


def test_a_further_copy_of_the_command_goes_to_the_connector_that_took_it() -> None:
    bench, (a, _) = topology()
    bench.declare("connector", "acme", "ci2", type="Ci")
    for letter, peer in (("a", a),):
        assert letter == peer.instance
        peer.full("git", "ci", "ci2")
    for number in range(20):
        tell(a, command(f"c{number}"), uuid=f"j{number}")
        a.take()
        a.command(f"c{number}", "git", "Ci", "DO")
        (given,) = a.take(Kind.COMMAND)
        assert given.text("target") == "ci"


def test_a_copy_with_another_body_is_a_conflict() -> None:
    _, (a, _) = topology()
    tell(a, command())
    a.take()
    a.command("c1", "git", "Ci", "DO", payload=b'{"other":1}')
    (refused,) = a.take(Kind.EVENT)
    assert refused.text("reason") == "CONFLICT"


def test_a_uuid_that_was_resolved_to_another_before_is_counted_and_logged() -> None:
    bench, (a, _) = topology()
    a.command("c1", "git", "Ci", "DO")
    a.take()
    tell(a, command(type="Git"), source="git")
    assert [m.kind for m in a.take()] == [Kind.JOURNAL], "answered: there is nothing more to tell"
    assert bench.router.status(bench.now)["counters"]["journal_conflict"] == 1
    assert [note.event for note in bench.notes if note.level == "warning"] == ["journal conflict"]


def test_without_the_disk_it_is_not_answered() -> None:
    bench, (a, _) = topology()
    bench.failing = True
    tell(a, command())
    assert a.take() == []
    bench.failing = False
    tell(a, command())
    assert [m.reference for m in a.take()] == ["j1"]


def test_what_a_connector_may_not_send_is_journalled_and_counted() -> None:
    bench, (a, _) = topology()
    bench.declare("connector", "acme", "lone", type="Ci", permissions=["Git"])
    tell(a, command(), source="lone")
    assert [m.kind for m in a.take()] == [Kind.JOURNAL]
    assert bench.router.status(bench.now)["counters"]["journal_not_permitted"] == 1
    assert journal(bench.store)[0][:3] == ("COMMAND", "c1", "lone")


@pytest.mark.parametrize("source", ["", "nobody"])
def test_from_nobody(source: str) -> None:
    bench, (a, _) = topology()
    header = {"uuid": "j1", "entries": [command()[0]], **({"source": source} if source else {})}
    a.give(Message(Kind.JOURNAL, header, b"{}"))
    (error,) = a.take()
    assert (error.kind, error.reference) == (Kind.ERROR, "j1")
    assert journal(bench.store) == []


def test_another_tenants_connector_is_nobody_here() -> None:
    bench, _ = topology()
    _, (other, _) = topology("other", bench=bench)
    bench.declare("connector", "acme", "only-acme", type="Ci")
    tell(other, command(), source="only-acme")
    (error,) = other.take()
    assert error.kind is Kind.ERROR
    assert journal(bench.store) == []


@pytest.mark.parametrize(
    "bad",
    [
        7,
        {"uuid": "c1", "kind": "COMMAND", "size": 0},
        {**command()[0], "uuid": 5},
        {**reply("r1", "c1")[0], "topic": None},
    ],
)
def test_a_record_that_is_none_is_passed_over(bad: Any) -> None:
    bench, (a, _) = topology()
    size = bad["size"] if isinstance(bad, dict) else 0
    good = command("good")
    header = {"uuid": "j1", "source": "ci", "entries": [bad, good[0]]}
    a.give(Message(Kind.JOURNAL, header, b"x" * size + good[1]))
    assert [m.kind for m in a.take()] == [Kind.JOURNAL]
    assert [line[1] for line in journal(bench.store)] == ["good"]
    assert bench.router.status(bench.now)["counters"]["journal_bad"] == 1


@pytest.mark.parametrize("size", [-1, 3, "2", True, None])
def test_a_size_that_is_none_ends_the_reading(size: Any) -> None:
    bench, (a, _) = topology()
    header = {"uuid": "j1", "source": "ci", "entries": [{**command()[0], "size": size}, command("c2")[0]]}
    a.give(Message(Kind.JOURNAL, header, b"{}"))
    assert [m.kind for m in a.take()] == [Kind.JOURNAL]
    assert journal(bench.store) == []
    assert bench.router.status(bench.now)["counters"]["journal_bad"] == 1


def test_a_copy_of_one_whose_payload_was_left_out_is_the_same_command() -> None:
    bench, (a, _) = topology()
    message = Message(Kind.COMMAND, command()[0], b"a large one")
    cut, _ = command(payload=b"", cut=len(message.payload), digest=body_digest(message))
    tell(a, (cut, b""))
    a.take()
    copy = {name: value for name, value in command()[0].items() if name not in ("kind", "size")}
    a.give(Message(Kind.COMMAND, {**copy, "source": "git", "budget": 3000}, message.payload))
    told = [(each.kind, each.text("event"), each.text("reason")) for each in a.take()]
    assert ("EVENT", "REJECTED", "CONFLICT") not in [(kind.name, event, why) for kind, event, why in told]
    assert "journal_conflict" not in bench.router.status(bench.now)["counters"]
