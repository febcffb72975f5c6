"""`explain` at a member: from the journal, what it did since its start, and who is present."""

from __future__ import annotations

from typing import Any

from tests.unit.cluster.bench import WALL, Bench, Instance, topology
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Kind, Outcome
from zconnector.messages.message import Message
from zconnector.shoset.traces import Traces


def explain(bench: Bench, uuid: Any) -> dict[str, Any]:
    answer = ask(bench, uuid)
    assert not isinstance(answer, Refusal), answer
    return dict(answer)


def ask(bench: Bench, uuid: Any) -> Any:
    heard: list[Any] = []
    bench.perform(bench.router.control("explain", {"uuid": uuid}, bench.now, heard.append))
    (answer,) = heard
    return answer


def history(answer: dict[str, Any]) -> list[str]:
    return [step["what"] for step in answer["history"]]


def reply(instance: Instance, uuid: str, reference: str, event: str = Outcome.SUCCESS) -> None:
    header = {"uuid": uuid, "topic": "DO", "event": event, "reference": reference}
    instance.give(
        Message(Kind.EVENT, {**header, "source": "ci", "recipient": "git", "tenant": "acme"}, b"{}")
    )


def test_a_command_from_its_resolution_to_its_reply() -> None:
    bench, (a, b) = topology()
    bench.held = True
    a.command("u1", "git", "Ci", "DO", major=1)
    told = explain(bench, "u1")
    assert (told["state"], told["waits_for"]) == ("UNDER_WAY", "the commit of its resolution")
    bench.held = False
    bench.release()
    (given,) = a.take(Kind.COMMAND)
    told = explain(bench, "u1")
    assert (told["state"], told["tenant"], told["target"]) == ("UNDER_WAY", "acme", "ci")
    assert told["waits_for"] == "a receipt of connector ci, asked over instance a"
    assert told["about"]["command"] == "DO"
    assert sorted(told["target_present"]) == ["a", "b"]

    a.receipt(given, Outcome.NO_ROUTE, reason="TARGET_AWAY")
    assert explain(bench, "u1")["waits_for"] == "a receipt of connector ci, asked over instance b"
    (given,) = b.take(Kind.COMMAND)
    bench.mono += 1
    b.receipt(given, Outcome.ON_GOING, source="ci")
    told = explain(bench, "u1")
    assert (told["state"], told["waits_for"]) == ("RECEIPTED", "its reply: connector ci has it")

    bench.mono += 1
    reply(a, "r1", "u1")
    told = explain(bench, "u1")
    assert (told["state"], told["waits_for"]) == ("REPLIED", "")
    assert history(told) == [
        "command Ci DO (major 1) of git journalled",
        "resolved to connector ci",
        "forwarded to ci over instance a",
        "receipt NO_ROUTE TARGET_AWAY, over instance a",
        "forwarded to ci over instance b",
        "receipt ON_GOING of ci, over instance b",
        "reply SUCCES of ci to git journalled",
    ]
    times = [step["at"] - WALL for step in told["history"]]
    assert times == [*[1_000_000] * 5, 1_001_000, 1_002_000]


def test_after_a_restart_the_journal_and_who_is_present_remain() -> None:
    bench, (a, _) = topology()
    a.command("u1", "git", "Ci", "DO")
    (given,) = a.take(Kind.COMMAND)
    a.receipt(given, Outcome.ON_GOING, source="ci")
    bench.boot()
    told = explain(bench, "u1")
    assert (told["state"], told["target"], told["target_present"]) == ("RESOLVED", "ci", [])
    assert told["waits_for"] == "connector ci, which has no session with any aggregator instance"
    assert len(told["history"]) == 2


def test_a_refused_command_says_why() -> None:
    bench, (a, _) = topology()
    a.command("u1", "git", "Ci", "NO_SUCH")
    told = explain(bench, "u1")
    assert (told["state"], told["waits_for"]) == ("REFUSED", "")
    (step,) = history(told)
    assert step.startswith("refused with REJECTED UNKNOWN_COMMAND: ")


def test_an_event_and_a_reply_are_explained_by_their_own_uuid() -> None:
    bench, (a, _) = topology()
    event = Message(Kind.EVENT, {"uuid": "e1", "topic": "T", "event": "E", "source": "git"}, b"{}")
    a.give(event)
    told = explain(bench, "e1")
    assert (told["state"], history(told)) == ("JOURNALLED", ["event T E of git journalled"])
    reply(a, "r1", "u9")
    assert history(explain(bench, "r1")) == ["reply about u9 SUCCES of ci to git journalled"]


def test_what_nobody_heard_of_is_not_found() -> None:
    bench, _ = topology()
    assert ask(bench, "no").reason is Reason.NOT_FOUND
    for bad in ("", None, 7, "x" * 65):
        refusal = ask(bench, bad)
        assert refusal.reason is Reason.BAD_ARGUMENT
        assert "uuid" in refusal.detail


def test_a_uuid_of_two_tenants_is_told_of_both() -> None:
    bench, (a, _) = topology()
    beta = Instance(bench, "beta", "a").begin("other")
    a.command("u1", "git", "Ci", "DO")
    beta.command("u1", "other", "Ci", "DO")
    told = explain(bench, "u1")
    assert told["tenant"] == "acme"
    assert [other["tenant"] for other in told["others"]] == ["beta"]


def test_traces_are_bounded() -> None:
    traces = Traces(limit=2)
    for number in range(100):
        traces.add("t", "a", number, "step {}", number)
    assert len(traces.of("t", "a")) == 32
    traces.add("t", "b", 1, "x")
    traces.add("t", "c", 1, "x")
    assert traces.of("t", "a") == []
    assert (traces.of("t", "c"), traces.tenants("c"), traces.tenants("a")) == ([(1, "x")], ["t"], [])
