"""The plan of a development topology: order, ports kept, arguments without secrets."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from zconnector.cli.topology import (
    Component,
    Plan,
    make_plan,
    parse_connector,
    read_plan,
    topology_document,
)
from zconnector.errors import ConfigError


def endpoints() -> Callable[[], str]:
    ports = itertools.count(7001)
    return lambda: f"tcp://127.0.0.1:{next(ports)}"


def first(plan: Plan, role: str) -> Component:
    return plan.of(role)[0]


def test_the_default_is_one_member_three_instances_two_connectors() -> None:
    plan = make_plan(None, None, None, endpoints())
    assert [component.label for component in plan.components] == [
        "cluster/1",
        "agg1/a",
        "agg1/b",
        "agg1/c",
        "git",
        "ci",
    ]
    assert [component.type for component in plan.of("connector")] == ["Git", "Ci"]
    listening = [component.endpoint for component in plan.components if component.endpoint]
    assert len(set(listening)) == 4


def test_a_second_start_has_the_same_endpoints_and_enrolments() -> None:
    plan = make_plan(None, 2, ["git:Git"], endpoints())
    for component in plan.components:
        plan = plan.enrolled(component)
    again = make_plan(read_plan(plan.document()), None, None, lambda: pytest.fail("a new port"))
    assert again == plan


def test_more_instances_on_a_second_start_keep_the_first_ones() -> None:
    plan = make_plan(None, 1, ["git:Git"], endpoints())
    more = make_plan(plan, 2, None, lambda: "tcp://127.0.0.1:9999")
    assert more.of("aggregator")[0] == plan.of("aggregator")[0]
    assert more.of("aggregator")[1].endpoint == "tcp://127.0.0.1:9999"
    assert not more.of("aggregator")[1].enrolled


def test_what_is_left_out_once_comes_back_with_what_it_had() -> None:
    plan = make_plan(None, 3, None, endpoints())
    plan = plan.enrolled(plan.of("aggregator")[2])
    fewer = make_plan(plan, 1, None, endpoints())
    assert len(fewer.of("aggregator")) == 1
    back = make_plan(read_plan(fewer.document()), 3, None, lambda: pytest.fail("a new port"))
    assert back.of("aggregator") == plan.of("aggregator")


def test_a_connector_cannot_change_its_type() -> None:
    plan = make_plan(None, 1, ["git:Git"], endpoints())
    with pytest.raises(ConfigError, match="'git' is stored with type 'Git', not 'Ci'"):
        make_plan(plan, 1, ["git:Ci"], endpoints())


@pytest.mark.parametrize("text", ["git", ":Git", "git:", "a b:Git", "git:Git:x", "../x:Git"])
def test_a_bad_connector_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME:TYPE"):
        parse_connector(text)


def test_two_connectors_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two connectors have one name"):
        make_plan(None, 1, ["git:Git", "git:Ci"], endpoints())


def test_too_many_instances_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 26"):
        make_plan(None, 27, None, endpoints())


def test_directories_and_logs_are_all_different() -> None:
    plan = make_plan(None, 2, ["cluster-1:A", "agg1-a:B", "logs:C"], endpoints())
    directories = [component.directory for component in plan.components]
    assert len(set(directories)) == len(directories)
    assert len({component.log for component in plan.components}) == len(directories)
    assert all(directory.parts[0] != "logs" for directory in directories)


def test_arguments_say_where_to_listen_and_hold_no_secret() -> None:
    plan = make_plan(None, 1, ["git:Git"], endpoints())
    state = Path("/s")
    member, aggregator, connector = plan.components
    assert member.arguments(state, strict=False) == [
        *("cluster", "--state-dir", "/s/cluster/1", "--bind", member.endpoint, "--member", "1", "--no-strict")
    ]
    assert aggregator.arguments(state, strict=False) == [
        *("aggregator", "--state-dir", "/s/aggregator/agg1-a", "--bind", aggregator.endpoint)
    ]
    assert connector.arguments(state, strict=True) == [
        "connector",
        "--state-dir",
        "/s/connector/git",
        "--strict",
    ]


def test_declarations_name_the_aggregator_of_a_connector() -> None:
    plan = make_plan(None, 1, ["git:Git"], endpoints())
    assert first(plan, "connector").declaration()["aggregator"] == "agg1"
    assert first(plan, "aggregator").declaration() == {
        "kind": "aggregator",
        "tenant": "dev",
        "name": "agg1",
        "instance": "a",
        "type": "",
        "permissions": ["*", "ADMIN"],
        "aggregator": "",
    }


def test_the_topology_document_is_the_one_others_script_against() -> None:
    plan = make_plan(None, 1, ["git:Git"], endpoints())
    pids = {component.directory: number for number, component in enumerate(plan.components, 100)}
    grpc = {first(plan, "connector").directory: "unix:/s/grpc.sock"}
    assert topology_document(plan, pids, grpc) == {
        "clusters": [{"pid": 100, "endpoint": first(plan, "cluster").endpoint}],
        "aggregators": [
            {"name": "agg1", "instance": "a", "pid": 101, "endpoint": first(plan, "aggregator").endpoint}
        ],
        "connectors": [{"name": "git", "type": "Git", "pid": 102, "grpc": "unix:/s/grpc.sock"}],
    }


@pytest.mark.parametrize(
    "document", [{}, {"version": 2}, {"version": 1}, {"version": 1, "components": [{"x": 1}]}]
)
def test_a_plan_of_another_version_or_shape_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"dev\.json"):
        read_plan(document)
