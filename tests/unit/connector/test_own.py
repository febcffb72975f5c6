"""Commands to the own connector: taken without an aggregator, answered after the commit, journalled later."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector, command
from zconnector.connector.journalling import LINGER
from zconnector.errors import Reason
from zconnector.messages import Flag, Kind, Message, receipt
from zconnector.queue.memory import MemoryQueueStore
from zconnector.settings import QueueSettings

URL = b'{"url":"x"}'


@pytest.fixture
def con() -> Connector:
    return ready()


def ready(*names: str, **settings: Any) -> Connector:
    connector = Connector(names or ("a", "b", "c"), **settings)
    connector.ready()
    return connector


def send(con: Connector, uuid: str = "c1", payload: bytes = URL, **args: Any) -> int:
    fields = {"uuid": uuid, "command": "CLONE", "major": 1, "target": "self", **args}
    return con.call("send_command", payload, **fields)


def complete(con: Connector, uuid: str = "c1", event: str = "SUCCES", payload: bytes = b"done") -> int:
    return con.call(
        "send_event", payload, uuid=f"r-{uuid}-{event}", topic="CLONE", event=event, reference=uuid
    )


def gather(con: Connector) -> None:
    """Records have waited for company."""
    con.wait(LINGER)


def journals(con: Connector) -> list[tuple[str, Message]]:
    return [(name, message) for name, message in con.log if message.kind is Kind.JOURNAL]


def told(message: Message) -> list[tuple[str, str]]:
    return [(record["kind"], record["uuid"]) for record in message.header["entries"]]


def answer_journal(con: Connector, name: str = "", message: Message | None = None) -> None:
    last_name, last = journals(con)[-1]
    header = {"reference": (message or last).uuid, "recipient": "git", "tenant": "t1"}
    con.hear(name or last_name, Message(Kind.JOURNAL, header, flags=Flag.ANSWER))


def waiting_records(con: Connector) -> int:
    return int(con.queue.depths()["journal"]["count"])


# ---- the way of a command


def test_from_the_sender_to_its_own_worker_and_back(con: Connector) -> None:
    waiting = con.wait_command()
    sent = send(con, context="x")
    assert con.result(sent) == {"uuid": "c1", "outcome": "ACCEPTED"}
    assert con.result(waiting)["context"] == "x"
    assert con.result(waiting)["source"] == con.result(waiting)["target"] == "git"
    reply = con.call("await_reply", uuid="c1")
    complete(con)
    assert (con.result(reply)["uuid"], con.result(reply)["source"]) == ("r-c1-SUCCES", "git")
    assert con.responses[reply].payload == b"done"
    assert con.said(Kind.COMMAND) == con.said(Kind.EVENT) == []
    assert con.queue.depths()["outbox"]["count"] == 0


def test_the_record_of_a_reply_does_not_wait_for_another(con: Connector) -> None:
    con.wait_command()
    send(con)
    gather(con)
    answer_journal(con)
    con.clear()
    complete(con)
    assert con.router.soon() <= con.now.mono, "nothing is under way to the journal, and this is announced"
    gather(con)
    assert [told(message) for _, message in journals(con)] == [[("REPLY", "r-c1-SUCCES")]]


def test_its_answer_follows_its_commit(con: Connector) -> None:
    con.held = True
    sent = send(con)
    assert not con.answered(sent)
    con.clear()
    con.settle()
    assert con.steps().index("commit") < con.steps().index(f"respond {sent}")


def test_a_gandalf_waiter_hears_its_reply_too(con: Connector) -> None:
    send(con)
    waiting = con.wait_event("CLONE", "SUCCES", reference="c1")
    complete(con)
    assert con.result(waiting)["reference"] == "c1"


def test_progress_comes_before_the_end(con: Connector) -> None:
    send(con)
    con.wait_command()
    waiting = con.wait_event("CLONE", "HALF", reference="c1")
    complete(con, event="HALF")
    assert con.result(waiting)["uuid"] == "r-c1-HALF"
    reply = con.call("await_reply", uuid="c1")
    assert not con.answered(reply)
    complete(con)
    assert con.answered(reply)


def test_without_any_aggregator(con: Connector) -> None:
    for name in "abc":
        con.down(name)
    assert con.result(send(con))["outcome"] == "ACCEPTED"
    complete(con)
    assert con.result(con.call("await_reply", uuid="c1"))["event"] == "SUCCES"
    assert waiting_records(con) == 2


def test_what_no_worker_can_have_ends_in_a_fail_here(con: Connector) -> None:
    con.wait_command("PULL")
    send(con, payload=b"\xff", command="PULL")
    reply = con.result(con.call("await_reply", uuid="c1"))
    assert (reply["event"], reply["reason"], reply["source"]) == ("FAIL", "INVALID_PAYLOAD", "git")


def test_a_reply_that_cannot_be_stored_fails_its_worker(con: Connector) -> None:
    send(con)
    con.full = True
    assert con.refusal(complete(con)).reason is Reason.STORAGE_FAILED
    con.full = False
    reply = con.call("await_reply", uuid="c1")
    assert not con.answered(reply)
    complete(con)
    assert con.answered(reply)
    assert waiting_records(con) == 2, "the record of the reply that was not stored is gone"


def test_a_uuid_that_another_event_has_loses_no_reply(con: Connector) -> None:
    con.call("send_event", b"{}", uuid="r-c1-SUCCES", topic="X", event="Y")
    send(con)
    complete(con)
    reply = con.result(con.call("await_reply", uuid="c1"))
    assert reply["reference"] == "c1"
    assert reply["uuid"] != "r-c1-SUCCES"


# ---- refusals


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"payload": b"{}"}, Reason.INVALID_PAYLOAD, "url"),
        ({"command": "NONE"}, Reason.UNKNOWN_COMMAND, "NONE"),
        ({"major": 7}, Reason.UNKNOWN_VERSION, "major 7"),
        ({"type": "Ci"}, Reason.BAD_ARGUMENT, "of type Git, not Ci"),
        ({"admin": True, "command": "ADMIN_UPDATE"}, Reason.NOT_PERMITTED, "admin commands"),
        ({"tenant": "t2"}, Reason.WRONG_TENANT, "belongs to tenant t1, not t2"),
        ({"target": "ci"}, Reason.BAD_ARGUMENT, 'target must be "self"'),
        ({"command": ""}, Reason.BAD_ARGUMENT, "command is missing"),
        ({"uuid": "u" * 65}, Reason.BAD_ARGUMENT, "uuid"),
    ],
)
def test_it_is_checked_as_one_that_arrives(
    con: Connector, changes: dict[str, Any], reason: Reason, detail: str
) -> None:
    refusal = con.refusal(send(con, **changes))
    assert refusal.reason is reason
    assert detail in refusal.detail
    assert waiting_records(con) == 0
    assert con.queue.depths()["commands"]["count"] == 0


def test_its_type_may_be_said(con: Connector) -> None:
    assert con.result(send(con, type="Git"))["outcome"] == "ACCEPTED"


def test_a_refusal_reaches_who_awaits_the_reply(con: Connector) -> None:
    waiting = con.call("await_reply", uuid="c1")
    send(con, payload=b"{}")
    assert con.refusal(waiting).reason is Reason.INVALID_PAYLOAD


def test_a_full_disk_leaves_neither_command_nor_record(con: Connector) -> None:
    con.full = True
    assert con.refusal(send(con)).reason is Reason.STORAGE_FAILED
    con.full = False
    con.wait(5)
    assert waiting_records(con) == 0
    again = con.restart()
    assert again.queue.depths()["commands"]["count"] == 0
    assert waiting_records(again) == 0


def test_while_the_connector_stops_it_is_refused(con: Connector) -> None:
    con.do(con.machine.drain(con.now))
    assert con.refusal(send(con)).reason is Reason.DRAINING


def test_a_full_queue(con: Connector) -> None:
    con = ready(queue=QueueSettings(max_commands=1))
    send(con)
    assert con.refusal(send(con, "c2")).reason is Reason.QUEUE_FULL
    assert waiting_records(con) == 1


def test_a_journal_too_far_behind(con: Connector) -> None:
    con = ready(queue=QueueSettings(max_outbox=10))
    for number in range(9):
        send(con, f"c{number}")
    refusal = con.refusal(send(con, "c9"))
    assert (refusal.reason, "journal" in refusal.detail) == (Reason.QUEUE_FULL, True)
    complete(con, "c0")
    assert waiting_records(con) == 10, "the last tenth is for replies"
    complete(con, "c1")
    assert con.result(con.call("await_reply", uuid="c1"))["event"] == "SUCCES"
    assert con.queue.depths()["journal"]["untold"] == 1


# ---- one uuid, one way


def test_sent_again_it_gets_the_same_answer_and_runs_once(con: Connector) -> None:
    send(con)
    assert con.result(send(con))["outcome"] == "ACCEPTED"
    assert con.refusal(send(con, payload=b'{"url":"y"}')).reason is Reason.CONFLICT
    con.wait_command()
    second = con.wait_command()
    assert not con.answered(second)
    complete(con)
    assert con.result(send(con))["outcome"] == "ACCEPTED"
    assert not con.answered(second)
    assert con.result(con.call("await_reply", uuid="c1"))["event"] == "SUCCES"
    assert waiting_records(con) == 2


def test_a_copy_while_the_first_is_being_stored(con: Connector) -> None:
    con.held = True
    first, second, other = send(con), send(con), con.call("send_command", URL, **remote("c1", type="Git"))
    con.settle()
    assert [con.result(call)["outcome"] for call in (first, second, other)] == ["ACCEPTED"] * 3
    assert con.queue.depths()["commands"]["count"] == 1
    assert con.said(Kind.COMMAND) == []


def remote(uuid: str, **args: Any) -> dict[str, Any]:
    return {"uuid": uuid, "type": "Ci", "command": "CLONE", "major": 1, **args}


def test_sent_to_its_type_afterwards_it_stays_here(con: Connector) -> None:
    send(con)
    assert con.result(con.call("send_command", URL, **remote("c1", type="Git")))["outcome"] == "ACCEPTED"
    assert con.refusal(con.call("send_command", URL, **remote("c1"))).reason is Reason.CONFLICT
    assert con.said(Kind.COMMAND) == []


def test_under_way_to_others_it_is_not_taken_here(con: Connector) -> None:
    there = con.call("send_command", URL, **remote("c1", type="Git"))
    assert con.refusal(send(con)).reason is Reason.CONFLICT
    name, sent = next((n, m) for n, m in con.log if m.kind is Kind.COMMAND)
    con.hear(name, receipt(sent, "ON_GOING", source="other"))
    assert con.result(there)["outcome"] == "ACCEPTED"
    assert con.refusal(send(con)).detail == "another connector took a command of this uuid"


def test_of_unknown_outcome_elsewhere_it_is_not_taken_here(con: Connector) -> None:
    there = con.call("send_command", URL, **remote("c1", timeout=500))
    con.wait(1)
    assert con.result(there)["outcome"] == "UNKNOWN"
    assert con.refusal(send(con)).reason is Reason.CONFLICT
    con.wait(60)  # a FAIL has followed; whether it ran there nobody knows
    assert con.refusal(send(con)).reason is Reason.CONFLICT


def test_one_that_was_not_sent_may_be_taken_here(con: Connector) -> None:
    for name in "abc":
        con.down(name)
    assert con.refusal(con.call("send_command", URL, **remote("c1"))).reason is Reason.NO_AGGREGATOR
    assert con.result(send(con))["outcome"] == "ACCEPTED"


def test_a_copy_that_comes_from_the_cluster_is_the_same_command(con: Connector) -> None:
    send(con)
    con.hear("a", command("c1", source="git"))
    con.hear("a", command("c1", payload=b'{"url":"y"}', source="ci"))
    assert [(event, reason) for _, event, reason in con.receipts()] == [
        ("ON_GOING", ""),
        ("REJECTED", "CONFLICT"),
    ]


# ---- the journal


def test_the_journal_hears_of_command_and_reply(con: Connector) -> None:
    send(con, context="x")
    gather(con)
    message = journals(con)[0][1]
    assert told(message) == [("COMMAND", "c1")]
    (record,) = message.header["entries"]
    assert (record["context"], record["size"], message.payload) == ("x", len(URL), URL)
    complete(con)
    gather(con)
    assert len(journals(con)) == 1, "one at a time"
    answer_journal(con)
    gather(con)
    assert [told(m) for _, m in journals(con)] == [[("COMMAND", "c1")], [("REPLY", "r-c1-SUCCES")]]
    assert journals(con)[-1][1].payload == b"done"
    answer_journal(con)
    assert waiting_records(con) == 0
    stored = [key for key in con.store.rows["documents"] if str(key).startswith("journal/")]
    assert stored == []
    con.wait(100)
    assert len(journals(con)) == 2


def test_a_record_waits_a_moment_for_company(con: Connector) -> None:
    con.wait_command()
    send(con)
    con.wait(LINGER / 2)
    complete(con)
    assert journals(con) == []
    con.wait(LINGER / 2)
    assert [told(message) for _, message in journals(con)] == [[("COMMAND", "c1"), ("REPLY", "r-c1-SUCCES")]]


def test_a_connector_that_drains_tells_at_once(con: Connector) -> None:
    send(con)
    con.do(con.machine.drain(con.now))
    assert [told(message) for _, message in journals(con)] == [[("COMMAND", "c1")]]


def test_what_comes_meanwhile_goes_together(con: Connector) -> None:
    send(con, "c0")
    gather(con)
    for number in range(1, 500):
        send(con, f"c{number}")
    sizes = []
    while waiting_records(con):
        sizes.append(len(told(journals(con)[-1][1])))
        answer_journal(con)
        gather(con)
    assert sizes == [1, 200, 200, 99]


def test_a_full_one_waits_for_nobody(con: Connector) -> None:
    for number in range(200):
        send(con, f"c{number}")
    assert [len(told(message)) for _, message in journals(con)] == [200]


def test_large_ones_are_told_in_parts(con: Connector) -> None:
    payload = b'{"url":"' + b"x" * 600_000 + b'"}'
    for number in range(3):
        send(con, f"c{number}", payload)
    gather(con)
    sent = []
    while waiting_records(con):
        sent.append(told(journals(con)[-1][1]))
        answer_journal(con)
    assert sent == [[("COMMAND", f"c{number}")] for number in range(3)]


def test_one_too_large_is_told_without_its_payload(con: Connector) -> None:
    payload = b'{"url":"' + b"x" * 3_998_000 + b'"}'
    assert con.result(send(con, payload=payload))["outcome"] == "ACCEPTED"
    gather(con)
    message = journals(con)[-1][1]
    (record,) = message.header["entries"]
    assert (record["cut"], record["size"], message.payload) == (len(payload), 0, b"")
    (stored,) = con.queue.live_commands()
    assert record["digest"] == stored.digest


def test_unanswered_it_is_told_again_later_and_later(con: Connector) -> None:
    send(con)
    con.wait(1.1)
    con.wait(2.1)
    con.wait(4.1)
    sent = journals(con)
    assert len(sent) == 4
    assert {tuple(told(message)) for _, message in sent} == {(("COMMAND", "c1"),)}
    answer_journal(con, message=sent[0][1])
    assert waiting_records(con) == 1, "that was the answer to one given up"
    answer_journal(con)
    assert waiting_records(con) == 0


def test_a_session_that_ends_takes_nothing_along(con: Connector) -> None:
    send(con)
    gather(con)
    name, _ = journals(con)[-1]
    con.down(name)
    (_, (other, again)) = journals(con)
    assert other != name
    assert told(again) == [("COMMAND", "c1")]


def test_it_waits_for_a_session(con: Connector) -> None:
    for name in "abc":
        con.down(name)
    send(con)
    gather(con)
    assert journals(con) == []
    assert con.router.journalling.deadline() is None
    con.up("b")
    assert [told(m) for _, m in journals(con)] == [[("COMMAND", "c1")]]


def test_it_waits_for_room() -> None:
    con = Connector(["a"], credit=3)
    con.up("a")
    con.answer_requests()
    con.clear()
    for number in range(3):
        con.call("send_event", b"{}", uuid=f"e{number}", topic="X", event="Y")
    send(con)
    gather(con)
    assert journals(con) == []
    con.hear("a", Message(Kind.HEARTBEAT, {"received": 50}))
    assert [told(m) for _, m in journals(con)] == [[("COMMAND", "c1")]]


def test_a_record_outlives_the_connector(con: Connector) -> None:
    con.held = True
    send(con)
    store = MemoryQueueStore(con.store.rows)
    store.commit(con.pending[0].writes)  # on the disk, and nobody was told
    again = con.restart()
    assert (waiting_records(again), again.queue.knows_command("c1")) == (1, True)
    again.up()
    again.answer_requests()
    complete(again)
    sent = []
    while waiting_records(again):
        sent += told(journals(again)[-1][1])
        answer_journal(again)
        gather(again)
    assert sent == [("COMMAND", "c1"), ("REPLY", "r-c1-SUCCES")]


def test_a_member_that_is_back_is_told_at_once(con: Connector) -> None:
    send(con)
    con.wait(20)
    before = len(journals(con))
    peer = next(p for p in con.router.shoset.peers() if p.instance == "a")
    con.hear("a", con.welcome("a", peer.session))
    assert len(journals(con)) == before + 1


def test_a_canary_has_room_in_a_queue_that_is_full_of_what_waits_for_its_version() -> None:
    """The first version of a connector could not pass its gate, and nothing else could empty the queue."""
    con = ready(queue=QueueSettings(max_commands=1))
    assert con.result(send(con, "c1"))["outcome"] == "ACCEPTED"
    canary: dict[str, Any] = {"worker": "ADMIN", "context": "zconnector-canary-1.0"}
    assert con.result(send(con, "c2", **canary))["outcome"] == "ACCEPTED"
    assert con.refusal(send(con, "c3", context="zconnector-canary-1.0")).reason is Reason.QUEUE_FULL
    for number in range(31):
        send(con, f"d{number}", **canary)
    assert con.refusal(send(con, "c4", **canary)).reason is Reason.QUEUE_FULL
