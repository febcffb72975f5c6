from __future__ import annotations

import pytest

from tests.unit.cluster.bench import Bench, Instance, topology
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message


def verdict(instance: Instance) -> tuple[bool, str]:
    (answer,) = [m for m in instance.take(Kind.SECRET) if m.is_answer]
    return answer.header["valid"], answer.text("reason")


def asked(instance: Instance, name: str, secret: str, **fields: str) -> tuple[bool, str]:
    instance.ask_secret(name, secret, **fields)
    return verdict(instance)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def a(bench: Bench) -> Instance:
    return Instance(bench, "acme", "a").begin()


def test_the_first_validated_hello_binds_the_key_and_only_it_is_taken_then(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    assert asked(a, "git", secret) == (True, "")
    assert asked(a, "git", secret, key="other".ljust(40, "o")) == (False, Reason.WRONG_KEY)
    again = bench.boot()  # bound for good: a restart changes nothing
    assert again is bench.router
    a.begin()
    assert asked(a, "git", secret, key="other".ljust(40, "o")) == (False, Reason.WRONG_KEY)
    assert asked(a, "git", secret) == (True, "")


def test_a_key_is_bound_only_once_it_is_committed(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    bench.held = True
    a.ask_secret("git", secret)
    assert a.take(Kind.SECRET) == []
    bench.release()
    assert verdict(a) == (True, "")


def test_of_two_keys_at_the_same_time_the_store_takes_one(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    bench.held = True
    a.ask_secret("git", secret, key="1" * 40)
    a.ask_secret("git", secret, key="2" * 40)
    bench.release()
    answers = [(m.header["valid"], m.text("reason")) for m in a.take(Kind.SECRET)]
    assert answers == [(True, ""), (False, Reason.WRONG_KEY)]


def test_refusals(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    assert asked(a, "git", "wrong") == (False, Reason.WRONG_SECRET)
    assert asked(a, "nobody", secret) == (False, Reason.UNDECLARED)
    assert asked(a, "git", secret, type_="Other") == (False, Reason.UNDECLARED)
    bench.control("secret_revoke", tenant="acme", kind="connector", name="git")
    a.take()
    assert asked(a, "git", secret) == (False, Reason.REVOKED)


def test_a_wrong_secret_binds_nothing(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    assert asked(a, "git", "wrong", key="evil".ljust(40, "e")) == (False, Reason.WRONG_SECRET)
    assert asked(a, "git", secret) == (True, "")


def test_a_key_of_another_tenant_is_named_so(bench: Bench, a: Instance) -> None:
    other = Instance(bench, "beta", "a").begin()
    secret = bench.declare("connector", "acme", "git", type="Git")
    asked(a, "git", secret)
    assert asked(other, "git", secret) == (False, Reason.WRONG_TENANT)


def test_the_tenant_is_the_sessions_whatever_the_message_says(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "beta", "git", type="Git")
    header = {
        "uuid": "q",
        "command": "VALIDATE",
        "kind": "connector",
        "tenant": "beta",
        "name": "git",
        "instance": "0",
        "type": "Git",
        "boot": "b",
        "key": "k" * 40,
    }
    a.give(Message(Kind.SECRET, header, secret.encode()))
    assert verdict(a) == (False, Reason.UNDECLARED)


def test_the_answer_carries_the_permissions(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git", permissions=["Ci:DO", "Cd"])
    a.ask_secret("git", secret)
    (answer,) = a.take(Kind.SECRET)
    assert answer.header["permissions"] == ["Ci:DO", "Cd"]
    assert answer.reference == "ask-git"


def test_argon2_is_asked_once_for_each_process_start(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    b = Instance(bench, "acme", "b").begin()
    before = bench.verified
    assert asked(a, "git", secret) == (True, "")
    assert asked(b, "git", secret) == (True, "")
    assert bench.verified == before + 1
    assert asked(a, "git", "wrong") == (False, Reason.WRONG_SECRET)
    assert asked(a, "git", secret) == (True, "")
    assert bench.verified == before + 2
    assert asked(a, "git", secret, boot="b2") == (True, "")
    assert bench.verified == before + 3


def test_rebind_lets_another_key_in_and_the_old_one_out(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    asked(a, "git", secret)
    bench.control("secret_rebind", tenant="acme", kind="connector", name="git")
    assert asked(a, "git", secret, key="new".ljust(40, "n")) == (True, "")
    assert asked(a, "git", secret) == (False, Reason.WRONG_KEY)


def test_a_store_that_fails_gives_no_verdict(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    bench.failing = True
    a.ask_secret("git", secret)
    assert a.take(Kind.SECRET) == []
    bench.failing = False
    assert asked(a, "git", secret) == (True, "")


# ---- aggregators


def test_an_aggregator_with_the_wrong_secret_is_refused_and_has_no_session(bench: Bench) -> None:
    a = Instance(bench, "acme", "a")
    a.secret = "wrong"
    a.hello()
    assert verdict(a) == (False, Reason.WRONG_SECRET)
    assert bench.live() == set()


def test_who_is_not_declared_is_told_at_hello(bench: Bench) -> None:
    a = Instance(bench, "acme", "a", secret="x")
    a.hello()
    assert next(m.text("reason") for m in a.take(Kind.ERROR)) == Reason.UNDECLARED
    a.hello(kind="connector")
    assert next(m.text("reason") for m in a.take(Kind.ERROR)) == Reason.UNDECLARED


def test_a_failing_store_ends_the_try_but_not_the_aggregator(bench: Bench) -> None:
    a = Instance(bench, "acme", "a")
    bench.failing = True
    a.hello()
    assert [m.text("reason") for m in a.take(Kind.ERROR)] == [Reason.BUSY]
    bench.failing = False
    a.begin()
    assert bench.live() == {"acme/agg/a"}


def test_revoking_an_aggregator_ends_its_session(bench: Bench, a: Instance) -> None:
    bench.control("secret_revoke", tenant="acme", kind="aggregator", name="agg", instance="a")
    assert [m.text("reason") for m in a.take(Kind.ERROR)] == [Reason.REVOKED]
    assert bench.live() == set()
    a.hello()
    assert next(m.text("reason") for m in a.take(Kind.ERROR)) == Reason.REVOKED


def test_revoking_a_connector_tells_every_instance_of_its_tenant() -> None:
    bench, (a, b) = topology()
    other = Instance(bench, "beta", "a").begin()
    a.take()
    b.take()
    bench.control("secret_revoke", tenant="acme", kind="connector", name="ci")
    for instance in (a, b):
        (error,) = instance.take(Kind.ERROR)
        assert (error.text("name"), error.text("reason")) == ("ci", Reason.REVOKED)
    assert other.take() == []
    a.command("u1", "git", "Ci", "DO")
    assert [m.text("reason") for m in a.take(Kind.EVENT)] == [Reason.NO_SUCH_TYPE]


def test_welcome_names_every_instance_and_changes_are_told(bench: Bench, a: Instance) -> None:
    Instance(bench, "beta", "z").begin()
    a.take()
    b = Instance(bench, "acme", "b")
    b.hello()
    welcome = a.take(Kind.WELCOME)[-1]
    assert [item["instance"] for item in welcome.header["instances"]] == ["a", "b"]
    assert welcome.header["instances"][1] == {"instance": "b", "endpoint": "tcp://b:1", "key": b.key}
    bench.boot()  # learnt for good
    a.hello()
    assert [i["instance"] for i in a.take(Kind.WELCOME)[-1].header["instances"]] == ["a", "b"]


def test_a_gap_in_the_presence_ends_the_session(bench: Bench, a: Instance) -> None:
    a.delta(["git"], [])
    a.delta(["ci"], [], number=7)
    assert [m.text("reason") for m in a.take(Kind.ERROR)] == [Reason.BAD_HEADER]
    assert bench.live() == set()


def test_who_returns_is_told_to_the_tenants_instances_once(bench: Bench, a: Instance) -> None:
    b = Instance(bench, "acme", "b").begin()
    other = Instance(bench, "beta", "a").begin()
    a.delta(["git"], [])
    assert [m.header["entries"] for m in a.take(Kind.PRESENCE)] == [["git"]]
    assert [m.header["entries"] for m in b.take(Kind.PRESENCE)] == [["git"]]
    b.delta(["git"], [])
    assert a.take(Kind.PRESENCE) == []
    a.delta([], ["git"])
    b.delta([], ["git"])
    a.take()
    b.delta(["git"], [])
    assert [m.header["entries"] for m in a.take(Kind.PRESENCE)] == [["git"]]
    assert other.take() == []


# ---- operations


def test_a_component_in_use_is_not_declared_again_but_an_unused_one_is(bench: Bench, a: Instance) -> None:
    first = bench.declare("connector", "acme", "git", type="Git")
    second = bench.declare("connector", "acme", "git", type="Git")
    assert asked(a, "git", first) == (False, Reason.WRONG_SECRET)
    assert asked(a, "git", second) == (True, "")
    with pytest.raises(Refusal) as refusal:
        bench.declare("connector", "acme", "git", type="Git")
    assert refusal.value.reason is Reason.CONFLICT


def test_after_a_revocation_a_fresh_secret_counts(bench: Bench, a: Instance) -> None:
    old = bench.declare("connector", "acme", "git", type="Git")
    asked(a, "git", old)
    bench.control("secret_revoke", tenant="acme", kind="connector", name="git")
    new = bench.declare("connector", "acme", "git", type="Git")
    a.take()
    assert asked(a, "git", old) == (False, Reason.WRONG_SECRET)
    assert asked(a, "git", new, key="n" * 40) == (True, "")


def test_an_enrolment_names_where_to_go(bench: Bench, a: Instance) -> None:
    from zconnector.shoset.enrolment import Enrolment

    answer = bench.control(
        "secret_create", kind="connector", tenant="acme", name="git", type="Git", aggregator="agg"
    )
    enrolment = Enrolment.decode(answer["enrolment"])
    assert (enrolment.kind, enrolment.tenant, enrolment.name, enrolment.type) == (
        "connector",
        "acme",
        "git",
        "Git",
    )
    assert [(e.instance, e.endpoint, e.key) for e in enrolment.endpoints] == [("a", "tcp://a:1", a.key)]
    answer = bench.control("secret_create", kind="aggregator", tenant="acme", name="agg", instance="z")
    assert [e.endpoint for e in Enrolment.decode(answer["enrolment"]).endpoints] == ["tcp://m:1"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"kind": "robot"}, "kind must be connector or aggregator"),
        ({"tenant": "a b"}, "tenant must be 1 to 128"),
        ({"name": ""}, "name must be 1 to 128"),
        ({"type": ""}, "type must be 1 to 128"),
        ({"instance": "1"}, "instance of a connector must be 0"),
        ({"aggregator": "ghost"}, "no instance of aggregator 'ghost'"),
        ({"permissions": ["Ci:"]}, "permission 'Ci:' must be"),
        ({"permissions": "all"}, "permissions must be a list"),
        ({"endpoints": [1]}, "each of endpoints"),
    ],
)
def test_a_bad_declaration_is_refused_by_value_and_rule(
    bench: Bench, args: dict[str, object], said: str
) -> None:
    base = {"kind": "connector", "tenant": "acme", "name": "git", "type": "Git", "aggregator": "agg"}
    with pytest.raises(Refusal, match=said) as refusal:
        bench.control("secret_create", **{**base, **args})
    assert refusal.value.reason is Reason.BAD_ARGUMENT


def test_a_list_shows_no_secret(bench: Bench, a: Instance) -> None:
    secret = bench.declare("connector", "acme", "git", type="Git")
    listed = bench.control("secret_list", tenant="acme")
    assert [(c["kind"], c["name"], c["bound"]) for c in listed["components"]] == [
        ("aggregator", "agg", True),
        ("connector", "git", False),
    ]
    assert secret not in str(listed)
    assert secret not in str(bench.notes)


def test_operations_on_who_is_not_there(bench: Bench) -> None:
    for op in ("secret_rebind", "secret_revoke"):
        with pytest.raises(Refusal) as refusal:
            bench.control(op, tenant="acme", kind="connector", name="ghost")
        assert refusal.value.reason is Reason.NOT_FOUND
    with pytest.raises(Refusal, match="no operation 'fly'"):
        bench.control("fly")


def test_a_failed_commit_refuses_the_operation(bench: Bench) -> None:
    bench.failing = True
    with pytest.raises(Refusal) as refusal:
        bench.declare("connector", "acme", "git", type="Git")
    assert refusal.value.reason is Reason.STORAGE_FAILED
    assert bench.control("secret_list")["components"] == []


def test_an_instance_is_known_before_it_is_told_that_it_serves(bench: Bench, a: Instance) -> None:
    """`zconnector dev` declares connectors as soon as their aggregator serves: once it was not known yet."""
    a.drop()
    a.take(Kind.WELCOME)
    bench.held = True
    a.boot = "boot-2"
    a.hello(endpoint="tcp://moved:1")
    assert not any(welcome.header["validated"] for welcome in a.take(Kind.WELCOME))
    while bench.commits:
        assert not any(welcome.header["validated"] for welcome in a.take(Kind.WELCOME))
        bench.release()
    (welcome, *_) = [w for w in a.take(Kind.WELCOME) if w.header["validated"]]
    assert [each["endpoint"] for each in welcome.header["instances"]] == ["tcp://moved:1"]
