from __future__ import annotations

from tests.unit.cluster.bench import Bench, Instance, topology
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind, Outcome
from zconnector.messages.message import Message


def events(instance: Instance) -> list[tuple[str, str, str]]:
    """Receipts given to an instance: reference, event, reason."""
    return [(m.reference, m.text("event"), m.text("reason")) for m in instance.take(Kind.EVENT)]


def commands(instance: Instance) -> list[Message]:
    return instance.take(Kind.COMMAND)


def test_a_command_is_resolved_committed_forwarded_over_the_way_it_came_and_receipted_back() -> None:
    bench, (a, b) = topology()
    bench.log.clear()
    a.command("u1", "git", "Ci", "DO", extra="kept")
    (given,) = commands(a)
    assert commands(b) == []
    assert given.text("target") == "ci"
    assert given.text("tenant") == "acme"
    assert given.text("extra") == "kept"
    assert 0 < given.number("budget") <= 1500
    order = [entry if isinstance(entry, str) else entry[1].kind for entry in bench.log]
    assert order == [
        "member.before_resolution",
        "committed",
        "member.after_resolution",
        Kind.COMMAND,
        "member.after_forward",
    ]
    a.receipt(given, Outcome.ON_GOING, source="ci")
    assert events(a) == [("u1", Outcome.ON_GOING, "")]
    assert bench.router.status(bench.now)["in_flight"] == 0


def test_nothing_is_forwarded_before_the_resolution_is_committed() -> None:
    bench, (a, _) = topology()
    bench.held = True
    a.command("u1", "git", "Ci", "DO")
    assert a.take() == []
    bench.release()
    assert len(commands(a)) == 1


def test_no_route_moves_on_to_the_next_instance_and_a_receipt_goes_back_to_the_origin() -> None:
    _, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO")
    (given,) = commands(a)
    a.receipt(given, Outcome.NO_ROUTE, reason="TARGET_AWAY")
    (again,) = commands(b)
    assert again.uuid == "u1"
    b.receipt(again, Outcome.ON_GOING, source="ci")
    assert events(b) == []
    assert events(a) == [("u1", Outcome.ON_GOING, "")]


def test_all_ways_declined_says_no_route_at_once() -> None:
    _, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO")
    a.receipt(commands(a)[0], Outcome.NO_ROUTE, reason="TARGET_AWAY")
    b.receipt(commands(b)[0], Outcome.NO_ROUTE, reason="TARGET_AWAY")
    assert events(a) == [("u1", Outcome.NO_ROUTE, Reason.TARGET_AWAY)]


def test_a_silent_way_leaves_doubt_and_then_nothing_is_claimed() -> None:
    bench, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO")
    assert len(commands(a)) == 1
    bench.pass_time(1.5)
    b.receipt(commands(b)[0], Outcome.NO_ROUTE, reason="TARGET_AWAY")
    assert a.take() == []
    assert bench.router.status(bench.now)["in_flight"] == 0


def test_a_lost_instance_is_passed_over() -> None:
    _, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO")
    commands(a)
    a.drop()
    (again,) = commands(b)
    b.receipt(again, Outcome.ON_GOING, source="ci")
    assert events(b) == [("u1", Outcome.ON_GOING, "")]  # the origin is gone: another way to the source


def test_a_late_receipt_still_finds_its_source() -> None:
    bench, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO")
    given = commands(a)[0]
    bench.pass_time(1.5)
    bench.pass_time(1.5)
    commands(b)
    a.receipt(given, Outcome.ON_GOING, source="ci")
    assert [*events(a), *events(b)] == [("u1", Outcome.ON_GOING, "")]


def test_a_receipt_that_is_not_the_targets_ends_nothing() -> None:
    bench, (a, _) = topology()
    bench.declare("connector", "acme", "evil", type="Evil")
    a.command("u1", "git", "Ci", "DO")
    given = commands(a)[0]
    a.receipt(given, Outcome.REJECTED, source="evil", reason="CONFLICT")
    assert a.take() == []
    assert bench.router.status(bench.now)["in_flight"] == 1


def test_a_rejection_of_the_target_is_final() -> None:
    _, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO")
    a.receipt(commands(a)[0], Outcome.REJECTED, source="ci", reason="QUEUE_FULL")
    assert events(a) == [("u1", Outcome.REJECTED, Reason.QUEUE_FULL)]
    assert commands(b) == []


def test_a_further_copy_joins_and_is_forwarded_over_the_way_it_came() -> None:
    _, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO")
    commands(a)
    b.command("u1", "git", "Ci", "DO")
    (again,) = commands(b)
    b.receipt(again, Outcome.ON_GOING, source="ci")
    assert events(b) == [("u1", Outcome.ON_GOING, "")]


def test_a_copy_declined_while_another_is_in_doubt_claims_nothing() -> None:
    bench, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO")
    commands(a)  # handed over, silent
    a.full("git")  # a has lost the target since
    b.command("u1", "git", "Ci", "DO")
    b.receipt(commands(b)[0], Outcome.NO_ROUTE, reason="TARGET_AWAY")
    assert events(b) == []
    assert bench.router.status(bench.now)["counters"]["unknown"] == 1


def test_a_copy_while_the_resolution_is_committed_is_forwarded_once_to_its_way() -> None:
    bench, (a, b) = topology()
    bench.held = True
    a.command("u1", "git", "Ci", "DO")
    b.command("u1", "git", "Ci", "DO")
    bench.release()
    assert commands(a) == []
    assert len(commands(b)) == 1


def two_ci_connectors() -> tuple[Bench, list[Instance]]:
    bench, instances = topology()
    bench.declare("connector", "acme", "ci2", type="Ci")
    for instance in instances:
        instance.full("git", "ci", "ci2")
        instance.take()
    return bench, instances


def test_retries_stick_to_one_of_two_connectors_even_after_a_restart() -> None:
    bench, (a, b) = two_ci_connectors()
    a.command("u1", "git", "Ci", "DO")
    target = commands(a)[0].text("target")
    for seed in range(8):
        bench.seed = seed
        bench.boot()
        a.begin("git", "ci", "ci2")
        b.begin("git", "ci", "ci2")
        b.command("u1", "git", "Ci", "DO")
        assert [m.text("target") for m in commands(b)] == [target]


def test_commands_spread_over_connectors_of_one_type() -> None:
    _, (a, _) = two_ci_connectors()
    for number in range(60):
        a.command(f"u{number}", "git", "Ci", "DO")
    targets = [m.text("target") for m in commands(a)]
    assert len(targets) == 60
    assert 10 < targets.count("ci") < 50


def test_a_target_that_was_never_reached_is_replaced_by_another() -> None:
    bench, (a, b) = two_ci_connectors()
    a.command("u1", "git", "Ci", "DO")
    first = commands(a)[0]
    a.receipt(first, Outcome.NO_ROUTE, reason="TARGET_AWAY")
    b.receipt(commands(b)[0], Outcome.NO_ROUTE, reason="TARGET_AWAY")
    (second,) = commands(a)
    assert {first.text("target"), second.text("target")} == {"ci", "ci2"}
    resolved = bench.store.resolution("acme", "u1")
    assert resolved is not None
    assert resolved.target == second.text("target")


def test_a_target_that_may_have_a_copy_is_never_replaced() -> None:
    bench, (a, b) = two_ci_connectors()
    a.command("u1", "git", "Ci", "DO")
    first = commands(a)[0]
    bench.pass_time(1.5)  # a says nothing: in doubt
    b.receipt(commands(b)[0], Outcome.NO_ROUTE, reason="TARGET_AWAY")
    assert commands(a) == []
    assert commands(b) == []
    # nor later, when every way declines a further copy
    a.command("u1", "git", "Ci", "DO")
    a.receipt(commands(a)[0], Outcome.NO_ROUTE, reason="TARGET_AWAY")
    b.receipt(commands(b)[0], Outcome.NO_ROUTE, reason="TARGET_AWAY")
    assert events(a) == [("u1", Outcome.NO_ROUTE, Reason.TARGET_AWAY)]
    resolved = bench.store.resolution("acme", "u1")
    assert resolved is not None
    assert resolved.target == first.text("target")


def refused(instance: Instance, **fields: str) -> tuple[str, str]:
    sending = {"uuid": "u1", "source": "git", "type_": "Ci", "command": "DO", **fields}
    instance.command(**sending)  # numbers come in as fields too
    ((_, event, reason),) = events(instance)
    return event, reason


def test_refusals_before_anything_is_stored() -> None:
    bench, (a, _) = topology()
    assert refused(a, type_="Nope") == (Outcome.REJECTED, Reason.NO_SUCH_TYPE)
    assert refused(a, command="NOPE") == (Outcome.REJECTED, Reason.UNKNOWN_COMMAND)
    assert refused(a, major=2) == (Outcome.REJECTED, Reason.UNKNOWN_VERSION)  # type: ignore[arg-type]
    assert refused(a, source="ghost") == (Outcome.REJECTED, Reason.NOT_PERMITTED)
    late = bench.now.wall - 30_001
    assert refused(a, accept_until=late) == (Outcome.REJECTED, Reason.EXPIRED)  # type: ignore[arg-type]
    assert bench.store.resolution("acme", "u1") is None


def test_a_copy_of_what_came_too_late_is_too_late_also_when_the_clock_was_put_right() -> None:
    bench, (a, b) = topology()
    accept_until = bench.now.wall + 10_000
    bench.ahead_ms = 3_600_000
    assert refused(a, accept_until=accept_until) == (Outcome.REJECTED, Reason.EXPIRED)  # type: ignore[arg-type]
    bench.ahead_ms = 0
    assert refused(b, accept_until=accept_until) == (Outcome.REJECTED, Reason.EXPIRED)  # type: ignore[arg-type]
    assert bench.store.resolution("acme", "u1") is None


def test_the_targets_absence_is_told_at_once_and_stores_nothing() -> None:
    bench, (a, b) = topology()
    for instance in (a, b):
        instance.full("git")
    assert refused(a) == (Outcome.NO_ROUTE, Reason.TARGET_AWAY)
    assert bench.store.resolution("acme", "u1") is None


def test_permissions_are_checked() -> None:
    bench, (a, _) = topology()
    bench.declare("connector", "acme", "shy", type="Git", permissions=["Ci:DO"])
    assert refused(a, source="shy", command="OTHER") == (Outcome.REJECTED, Reason.NOT_PERMITTED)
    a.command("u2", "shy", "Ci", "DO")
    assert len(commands(a)) == 1


def test_admin_commands_need_no_declaration_but_the_admin_permission() -> None:
    bench, (a, _) = topology()
    assert refused(a, admin=True, command="ADMIN_UPDATE")[1] == Reason.NOT_PERMITTED  # type: ignore[arg-type]
    bench.declare("connector", "acme", "boss", type="Git", permissions=["*", "ADMIN"])
    a.command("u2", "boss", "Ci", "ADMIN_UPDATE", admin=True)
    assert len(commands(a)) == 1


def test_the_same_uuid_with_another_body_is_a_conflict_in_flight_and_afterwards() -> None:
    bench, (a, b) = topology()
    a.command("u1", "git", "Ci", "DO", payload=b"{}")
    given = commands(a)[0]
    b.command("u1", "git", "Ci", "DO", payload=b"[]")
    assert events(b) == [("u1", Outcome.REJECTED, Reason.CONFLICT)]
    a.receipt(given, Outcome.ON_GOING, source="ci")
    events(a)
    b.command("u1", "git", "Ci", "OTHER")
    assert events(b) == [("u1", Outcome.REJECTED, Reason.CONFLICT)]
    assert bench.router.status(bench.now)["in_flight"] == 0


def test_a_known_command_keeps_its_answer_when_its_pivot_has_lost_it() -> None:
    bench, (a, _) = topology()
    a.command("u1", "git", "Ci", "DO")
    a.receipt(commands(a)[0], Outcome.ON_GOING, source="ci")
    bench.pivot("acme", "Ci", "OTHER")
    a.take()
    a.command("u1", "git", "Ci", "DO", accept_until=bench.now.wall - 60_000)
    assert len(commands(a)) == 1


def asked(bench: Bench, uuid: str, payload: bytes) -> Message:
    header = {
        "uuid": uuid,
        "source": "git",
        "type": "Ci",
        "command": "DO",
        "timeout": 3000,
        "accept_until": bench.now.wall + 3000,
    }
    return Message(Kind.COMMAND, header, payload)


def told(instance: Instance) -> list[tuple[str, str]]:
    """Commands by their uuids, receipts by what they refer to and their event and reason."""
    return [
        (m.uuid, "") if m.kind is Kind.COMMAND else (m.reference, f"{m.text('event')} {m.text('reason')}")
        for m in instance.take()
    ]


def test_what_comes_in_one_transmission_is_one_commit_with_an_outcome_for_each() -> None:
    bench, (a, b) = topology()
    bench.held = True
    one, two = asked(bench, "u1", b"1"), asked(bench, "u2", b"2")
    a.give(one, two, asked(bench, "u2", b"3"), one)
    assert [len(commit.writes) for commit in bench.commits] == [2], "a copy joins what is under way"
    assert told(a) == [("u2", "REJECTED CONFLICT")]
    bench.release()
    assert told(a) == [("u1", ""), ("u2", "")]
    a.receipt(one, Outcome.ON_GOING, source="ci")
    b.give(asked(bench, "u1", b"another"), asked(bench, "u3", b"3"))
    assert [len(commit.writes) for commit in bench.commits] == [2]
    bench.release()
    assert told(b) == [("u1", "REJECTED CONFLICT"), ("u3", "")]


def test_when_the_commit_of_several_fails_each_of_them_hears_so() -> None:
    bench, (a, b) = topology()
    bench.failing = True
    one, two = asked(bench, "u1", b"1"), asked(bench, "u2", b"2")
    a.give(one, two)
    assert told(a) == [("u1", "NO_ROUTE STORAGE_FAILED"), ("u2", "NO_ROUTE STORAGE_FAILED")]
    assert told(b) == []
    assert bench.router.status(bench.now)["in_flight"] == 0
    bench.failing = False
    a.give(one)
    assert told(a) == [("u1", "")]


def test_a_full_table_says_busy() -> None:
    bench, (a, _) = topology(max_in_flight=1)
    a.command("u1", "git", "Ci", "DO")
    commands(a)
    assert refused(a, uuid="u2") == (Outcome.NO_ROUTE, Reason.BUSY)
    bench.pass_time(3.0)


def test_a_failing_store_says_so_and_hands_nothing_over() -> None:
    bench, (a, b) = topology()
    bench.failing = True
    assert refused(a) == (Outcome.NO_ROUTE, Reason.STORAGE_FAILED)
    assert commands(b) == []
    assert bench.router.status(bench.now)["healthy"] is False
    bench.failing = False
    a.command("u2", "git", "Ci", "DO")
    assert len(commands(a)) == 1
    assert bench.router.status(bench.now)["healthy"] is True


def test_an_instance_that_the_socket_does_not_reach_is_passed_over() -> None:
    bench, (a, b) = topology()
    bench.unreachable.add(b.link)
    b.command("u1", "git", "Ci", "DO")
    assert len(commands(a)) == 1


def test_a_busy_instance_is_passed_over() -> None:
    _, (a, b) = topology()
    a.drop()
    a.hello(credit=1)
    a.full("git", "ci")
    a.command("u1", "git", "Ci", "DO")
    assert len(commands(a)) == 1
    a.command("u2", "git", "Ci", "DO")
    assert commands(a) == []
    assert [m.uuid for m in commands(b)] == ["u2"]
