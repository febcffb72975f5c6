from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.support.repositories import KEY
from tests.unit.cluster.bench import Bench, Instance, topology
from zconnector.errors import Reason, Refusal
from zconnector.messages.codec import decode, encode_one
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message


def pushes(instance: Instance, kind: Kind) -> list[Message]:
    return [m for m in instance.take(kind) if m.flags & Flag.PUSH]


def body(message: Message) -> Any:
    return orjson.loads(message.payload)


def test_a_connector_gets_the_catalogue_of_its_own_type() -> None:
    bench, (a, _) = topology()
    bench.pivot("acme", "Git", "CLONE")
    answer = a.ask(Kind.CONFIG, "GET", "ci")
    assert [p["name"] for p in body(answer)["pivots"]] == ["Ci"]
    assert [c["name"] for c in body(answer)["pivots"][0]["commandtypes"]] == ["DO", "OTHER"]
    assert (answer.reference, answer.text("recipient")) == ("q1", "ci")


def test_a_stored_pivot_is_pushed_to_every_instance_of_the_tenant_and_survives() -> None:
    bench, (a, b) = topology()
    other = Instance(bench, "beta", "a").begin()
    a.take(), b.take()
    bench.pivot("acme", "Ci", "NEW", minor=1)
    for instance in (a, b):
        (push,) = pushes(instance, Kind.CONFIG)
        assert push.text("type") == "Ci"
        assert [p["minor"] for p in body(push)["pivots"]] == [0, 1]
    assert other.take() == []
    bench.boot()
    a.begin("git", "ci")
    a.command("u1", "git", "Ci", "NEW", major=1)
    assert len(a.take(Kind.COMMAND)) == 1


def test_a_push_that_a_busy_instance_has_no_room_for_waits_and_the_newest_counts() -> None:
    bench, (a, _) = topology()
    a.drop()
    a.hello(credit=1)
    a.full("git", "ci")
    a.take()
    bench.pivot("acme", "Ci", "ONE")
    assert len(pushes(a, Kind.CONFIG)) == 1
    bench.pivot("acme", "Ci", "TWO")
    bench.pivot("acme", "Ci", "THREE")
    assert a.take() == []
    a.beat(1)
    (push,) = pushes(a, Kind.CONFIG)
    assert [c["name"] for c in body(push)["pivots"][0]["commandtypes"]] == ["THREE"]


def test_a_product_connector_adds_its_commands() -> None:
    bench, (a, _) = topology()
    document = {"name": "Ci", "major": 1, "minor": 0, "commandtypes": ["JENKINS"]}
    bench.control("pivot_put", tenant="acme", json=document, product="jenkins")
    shown = bench.control("pivot_show", tenant="acme", type="Ci")
    assert [p["product"] for p in shown["products"]] == ["jenkins"]
    a.command("u1", "git", "Ci", "JENKINS")
    assert len(a.take(Kind.COMMAND)) == 1


def test_an_implicit_pivot_where_the_cluster_is_not_strict() -> None:
    _bench, (a, b) = topology(strict=False)
    b.take()
    document = {"major": 1, "minor": 0, "commands": ["CLONE"]}
    answer = a.ask(Kind.CONFIG, "PUT_IMPLICIT", "git", document)
    (pivot,) = body(answer)["pivots"]
    assert pivot["implicit"] is True
    assert len(pushes(b, Kind.CONFIG)) == 1
    # a second worker of the same version adds its own
    answer = a.ask(Kind.CONFIG, "PUT_IMPLICIT", "git", {**document, "commands": ["PUSH"]})
    assert [c["name"] for c in body(answer)["pivots"][0]["commandtypes"]] == ["CLONE", "PUSH"]
    # what an operator has said stays as it is
    answer = a.ask(Kind.CONFIG, "PUT_IMPLICIT", "ci", document)
    assert [c["name"] for c in body(answer)["pivots"][0]["commandtypes"]] == ["DO", "OTHER"]


def test_an_implicit_pivot_is_refused_where_the_cluster_is_strict() -> None:
    _, (a, _) = topology()
    answer = a.ask(Kind.CONFIG, "PUT_IMPLICIT", "git", {"major": 1, "minor": 0, "commands": []})
    assert answer.text("reason") == Reason.NOT_PERMITTED


def pivot_of(name: str, *commands: str, minor: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "major": 1, "minor": minor, "commandtypes": list(commands), **more}


def commands(answer: Message) -> dict[int, list[str]]:
    """Of each pivot in an answer, by minor."""
    return {p["minor"]: [c["name"] for c in p["commandtypes"]] for p in body(answer)["pivots"]}


def test_what_a_connector_brings_is_stored_and_pushed_where_the_cluster_has_none() -> None:
    bench, (a, b) = topology()
    a.take(), b.take()
    product = pivot_of("Git", "FORK", product="GitLab")
    answer = a.ask(Kind.CONFIG, "PUT_ABSENT", "git", {"pivot": pivot_of("Git", "CLONE"), "product": product})
    assert (answer.text("reason"), commands(answer)) == ("", {0: ["CLONE"]})
    assert [p["product"] for p in body(answer)["products"]] == ["GitLab"]
    assert [commands(push) for push in pushes(b, Kind.CONFIG)] == [{0: ["CLONE"]}]
    bench.boot()
    a.begin("git")
    assert body(a.ask(Kind.CONFIG, "GET", "git")) == body(answer)


def test_what_the_cluster_has_stays_and_nobody_is_told() -> None:
    _, (a, b) = topology()
    b.take()
    answer = a.ask(Kind.CONFIG, "PUT_ABSENT", "ci", {"pivot": pivot_of("Ci", "NEW")})
    assert (answer.text("reason"), commands(answer)) == ("", {0: ["DO", "OTHER"]})
    assert b.take() == []


def test_of_two_that_are_brought_the_absent_one_is_stored() -> None:
    _, (a, b) = topology()
    b.take()
    brought = {"pivot": pivot_of("Ci", "NEW"), "product": pivot_of("Ci", "MORE", product="Jenkins")}
    answer = a.ask(Kind.CONFIG, "PUT_ABSENT", "ci", brought)
    assert commands(answer) == {0: ["DO", "OTHER"]}
    assert [p["product"] for p in body(answer)["products"]] == ["Jenkins"]
    assert len(pushes(b, Kind.CONFIG)) == 1
    again = {"product": pivot_of("Ci", "ANOTHER", product="Jenkins")}
    answer = a.ask(Kind.CONFIG, "PUT_ABSENT", "ci", again)
    assert [c["name"] for p in body(answer)["products"] for c in p["commandtypes"]] == ["MORE"]


def test_what_is_brought_takes_the_place_of_an_implicit_pivot_and_is_none() -> None:
    _, (a, b) = topology(strict=False)
    a.ask(Kind.CONFIG, "PUT_IMPLICIT", "git", {"major": 1, "minor": 0, "commands": ["CLONE", "OLD"]})
    b.take()
    brought = {"pivot": pivot_of("Git", "CLONE", implicit=True)}
    answer = a.ask(Kind.CONFIG, "PUT_ABSENT", "git", brought)
    assert commands(answer) == {0: ["CLONE"]}
    assert body(answer)["pivots"][0]["implicit"] is False
    assert len(pushes(b, Kind.CONFIG)) == 1


def test_two_connectors_that_bring_at_once_agree_on_one() -> None:
    bench, (a, _) = topology()
    bench.held = True
    for uuid, command in (("q1", "FIRST"), ("q2", "SECOND")):
        payload = orjson.dumps({"pivot": pivot_of("Git", command)})
        a.give(Message(Kind.CONFIG, {"uuid": uuid, "command": "PUT_ABSENT", "source": "git"}, payload))
    bench.release()
    answers = [m for m in a.take(Kind.CONFIG) if m.flags & Flag.ANSWER]
    assert [(m.reference, commands(m)) for m in answers] == [("q1", {0: ["FIRST"]}), ("q2", {0: ["FIRST"]})]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "what is brought must be a JSON object, not list"),
        ({}, "what is brought must have a pivot or a product"),
        ({"pivot": None}, "what is brought must have a pivot or a product"),
        ({"pivot": 5}, "pivot: must be an object, not int"),
        ({"pivot": pivot_of("Ci")}, "pivot.name: must be 'Git', the type of connector 'git' (got 'Ci')"),
        ({"pivot": pivot_of("git")}, "pivot.name: must be 'Git', the type of connector 'git' (got 'git')"),
        ({"pivot": pivot_of("Git", minor=300)}, "pivot.minor: must be an integer from 0 to 127"),
        ({"product": pivot_of("Git")}, "product.product: must be 1 to 128 of"),
        (
            {"pivot": pivot_of("Git"), "product": pivot_of("Ci", product="x")},
            "product.name: must be 'Git', the type of connector 'git' (got 'Ci')",
        ),
    ],
)
def test_what_is_brought_wrongly_is_refused_and_nothing_of_it_stored(document: Any, said: str) -> None:
    _, (a, _) = topology()
    answer = a.ask(Kind.CONFIG, "PUT_ABSENT", "git", document)
    assert answer.text("reason") == Reason.BAD_ARGUMENT
    assert said in answer.text("detail")
    assert body(a.ask(Kind.CONFIG, "GET", "git")) == {"pivots": [], "products": []}


def test_what_is_brought_is_refused_where_the_store_fails_or_it_would_not_fit() -> None:
    bench, (a, _) = topology()
    schema = {"description": "x" * 900_000}
    for minor in range(3):
        pivot = pivot_of("Git", minor=minor) | {"commandtypes": [{"name": "DO", "schema": schema}]}
        bench.control("pivot_put", tenant="acme", json=pivot)
    both = {"pivot": {**pivot, "minor": 9}, "product": pivot_of("Git", product="x")}
    answer = a.ask(Kind.CONFIG, "PUT_ABSENT", "git", both)
    assert (answer.text("reason"), "3500000" in answer.text("detail")) == (Reason.BAD_ARGUMENT, True)
    bench.failing = True
    answer = a.ask(Kind.CONFIG, "PUT_ABSENT", "git", {"product": pivot_of("Git", product="x")})
    assert answer.text("reason") == Reason.STORAGE_FAILED


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"major": 1, "minor": 0},
        {"major": 1, "minor": 0, "commands": "X"},
        {"major": 1, "minor": 0, "commands": [1]},
        {"major": "1", "minor": 0, "commands": []},
        {"major": 300, "minor": 0, "commands": []},
        {"major": 1, "minor": 0, "commands": [""]},
    ],
)
def test_a_bad_command_list_is_refused(document: Any) -> None:
    _, (a, _) = topology(strict=False)
    assert a.ask(Kind.CONFIG, "PUT_IMPLICIT", "git", document).text("reason") == Reason.BAD_ARGUMENT


def test_an_unknown_verb_and_an_unknown_connector_are_refused() -> None:
    _, (a, _) = topology()
    assert a.ask(Kind.CONFIG, "FLY", "git").text("reason") == Reason.BAD_ARGUMENT
    assert a.ask(Kind.CONFIG, "GET", "ghost").text("reason") == Reason.UNDECLARED


def test_the_logical_configuration_is_saved_and_an_operators_values_win() -> None:
    bench, (a, b) = topology()
    answer = a.ask(Kind.CONFIGURATION, "SAVE", "git", {"url": "x", "depth": 1})
    assert body(answer) == {"version": 1, "values": {"url": "x", "depth": 1}}
    b.take()
    bench.control("config_set", tenant="acme", name="git", values={"depth": 9})
    (push,) = pushes(b, Kind.CONFIGURATION)
    assert push.text("recipient") == "git"
    assert body(push) == {"version": 2, "values": {"url": "x", "depth": 9}}
    answer = a.ask(Kind.CONFIGURATION, "SAVE", "git", {"url": "x", "depth": 1})
    assert body(answer) == {"version": 2, "values": {"url": "x", "depth": 9}}
    bench.boot()
    a.begin("git")
    assert body(a.ask(Kind.CONFIGURATION, "GET", "git"))["values"]["depth"] == 9
    assert body(a.ask(Kind.CONFIGURATION, "GET", "ci")) == {"version": 0, "values": {}}
    shown = bench.control("config_get", tenant="acme", name="git")
    assert shown["operator"] == {"depth": 9}


def change(bench: Bench, **args: Any) -> dict[str, Any]:
    return dict(bench.control("config_change", tenant="acme", name="git", **args))


def test_an_operators_change_is_merged_and_pushed() -> None:
    bench, (a, b) = topology()
    a.ask(Kind.CONFIGURATION, "SAVE", "git", {"type": "Git"})
    change(bench, set={"keys": {"token": "t"}, "product": "gitlab"})
    b.take()
    answer = change(bench, set={"keys.user": "u", "shares.1.1": 10, "note": None})
    values = {"keys": {"token": "t", "user": "u"}, "product": "gitlab", "shares": {"1.1": 10}, "note": None}
    assert answer == {"version": 3, "values": {"type": "Git", **values}}
    (push,) = pushes(b, Kind.CONFIGURATION)
    assert (push.text("recipient"), body(push)) == ("git", answer)
    answer = change(bench, unset=["keys.token", "shares.1.1", "product"])
    assert answer["values"] == {"type": "Git", "keys": {"user": "u"}, "note": None}
    bench.boot()
    assert bench.control("config_get", tenant="acme", name="git")["operator"] == {
        "keys": {"user": "u"},
        "note": None,
    }


def test_changes_at_the_same_time_are_all_made() -> None:
    bench, (_, b) = topology()
    bench.held = True
    told: list[Any] = []
    for number in range(9):
        args = {"tenant": "acme", "name": "git", "set": {f"keys.k{number}": number}}
        bench.perform(bench.router.control("config_change", args, bench.now, told.append))
    while bench.commits:
        bench.release()
    assert [isinstance(each, Refusal) for each in told] == [False] * 9
    wanted = {f"k{number}": number for number in range(9)}
    assert bench.control("config_get", tenant="acme", name="git")["operator"] == {"keys": wanted}
    last = pushes(b, Kind.CONFIGURATION)[-1]
    assert body(last) == {"version": 9, "values": {"keys": wanted}}


def test_of_two_changes_that_are_wrong_only_together_the_second_is_refused() -> None:
    bench, _ = topology()
    change(bench, set={"repository": "file:///w", "repository_keys": [str(KEY.public)]})
    bench.held = True
    told: list[Any] = []
    for args in ({"unset": ["repository"]}, {"unset": ["repository"]}):
        whole = {"tenant": "acme", "name": "git", **args}
        bench.perform(bench.router.control("config_change", whole, bench.now, told.append))
    while bench.commits:
        bench.release()
    assert [getattr(each, "reason", None) for each in told] == [None, Reason.NOT_FOUND]


@pytest.mark.parametrize(
    ("args", "reason", "said"),
    [
        ({}, Reason.BAD_ARGUMENT, "from 1 to 1000 names"),
        ({"set": []}, Reason.BAD_ARGUMENT, "set must be an object of names and values, not a list"),
        ({"set": {"versions": ["1"]}}, Reason.BAD_ARGUMENT, "versions[0]: a version must be MAJOR.MINOR"),
        ({"set": {"repository": "https://x"}}, Reason.BAD_ARGUMENT, "repository_keys must be given with"),
        ({"unset": ["nothing"]}, Reason.NOT_FOUND, "'nothing' was not set by an operator (set: product)"),
        ({"set": {"x": "y" * (1 << 20)}}, Reason.BAD_ARGUMENT, "must be at most 1048576"),
    ],
)
def test_a_change_that_breaks_a_rule_changes_nothing(args: dict[str, Any], reason: Reason, said: str) -> None:
    bench, (_, b) = topology()
    change(bench, set={"product": "gitlab"})
    b.take()
    with pytest.raises(Refusal) as refused:
        change(bench, **args)
    assert (refused.value.reason, said in refused.value.detail) == (reason, True), refused.value.detail
    assert b.take() == []
    assert bench.control("config_get", tenant="acme", name="git")["operator"] == {"product": "gitlab"}


def test_a_whole_layer_keeps_the_same_rules() -> None:
    bench, _ = topology()
    with pytest.raises(Refusal, match="did you mean 'versions'"):
        bench.control("config_set", tenant="acme", name="git", values={"version": ["1.0"]})
    assert bench.control("config_get", tenant="acme", name="git")["version"] == 0


def test_a_change_that_could_not_be_stored_and_one_of_nobody_are_refused() -> None:
    bench, _ = topology()
    for op in ("config_change", "config_get"):
        with pytest.raises(Refusal, match="connector acme/ghost is not declared"):
            bench.control(op, tenant="acme", name="ghost", set={"a": 1})
    bench.failing = True
    with pytest.raises(Refusal) as refused:
        change(bench, set={"a": 1})
    assert refused.value.reason is Reason.STORAGE_FAILED


def test_a_configuration_that_is_no_object_is_refused() -> None:
    _, (a, _) = topology()
    assert a.ask(Kind.CONFIGURATION, "SAVE", "git", [1]).text("reason") == Reason.BAD_ARGUMENT


def test_a_failing_store_refuses_the_change() -> None:
    bench, (a, _) = topology()
    bench.failing = True
    answer = a.ask(Kind.CONFIGURATION, "SAVE", "git", {})
    assert answer.text("reason") == Reason.STORAGE_FAILED
    with pytest.raises(Refusal) as refusal:
        bench.pivot("acme", "Ci", "NEW")
    assert refusal.value.reason is Reason.STORAGE_FAILED


def test_a_bad_pivot_is_refused_by_place_and_rule() -> None:
    bench = Bench()
    with pytest.raises(Refusal, match=r"pivot\.major: must be an integer from 0 to 127"):
        bench.control("pivot_put", tenant="acme", yaml="name: Ci\nmajor: x\n")
    with pytest.raises(Refusal, match="needs `yaml`"):
        bench.control("pivot_put", tenant="acme")
    with pytest.raises(Refusal, match="has no pivot of 'Ci'"):
        bench.control("pivot_show", tenant="acme", type="Ci")
    with pytest.raises(Refusal, match="is not declared"):
        bench.control("config_set", tenant="acme", name="ghost", values={})


def test_a_catalogue_that_would_not_fit_in_a_message_is_refused() -> None:
    bench = Bench()
    schema = {"description": "x" * 900_000}
    for minor in range(3):
        document = {
            "name": "Ci",
            "major": 1,
            "minor": minor,
            "commandtypes": [{"name": "DO", "schema": schema}],
        }
        bench.control("pivot_put", tenant="acme", json=document)
    with pytest.raises(Refusal, match="must be at most 3500000"):
        bench.control("pivot_put", tenant="acme", json={**document, "minor": 9})


@pytest.mark.parametrize("kind", [Kind.CONFIG, Kind.CONFIGURATION, Kind.FETCH])
def test_what_comes_without_a_source_gets_an_error_and_no_answer_for_nobody(kind: Kind) -> None:
    """The answer's recipient was empty: a bad header, with which its whole transmission was refused."""
    bench, (a,) = topology("acme", "a")
    a.give(Message(kind, {"uuid": "q1", "command": "GET", "after": 0, "upto": 1}))
    (error,) = a.take()
    assert (error.kind, error.text("reason"), error.reference) == (Kind.ERROR, "BAD_HEADER", "q1")
    assert decode(encode_one(error)) == [error]
    assert bench.live() == {"acme/agg/a"}


def test_the_secret_of_a_connector_without_a_name_gets_no_answer_that_nobody_can_read() -> None:
    _, (a,) = topology("acme", "a")
    a.give(Message(Kind.SECRET, {"uuid": "q1", "command": "VALIDATE", "kind": "connector"}, b"secret"))
    assert a.take() == []
