"""Changes of single names: what is left of the operator's layer, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.configuration.logical import Layers
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.versions.changes import OBJECTS, Changes
from zconnector.versions.wanted import Wanted


def apply(
    operator: dict[str, Any],
    set_: dict[str, Any] | None = None,
    *unset: str,
    saved: dict[str, Any] | None = None,
) -> dict[str, Any]:
    changes = Changes.from_args({"set": set_ or {}, "unset": list(unset)})
    return changes.apply(Layers(1, saved or {}, operator))


def test_a_name_is_replaced_as_a_whole_and_the_others_stay() -> None:
    before = {"keys": {"a": 1}, "product": "x"}
    assert apply(before, {"keys": {"b": 2}}) == {"keys": {"b": 2}, "product": "x"}
    assert before == {"keys": {"a": 1}, "product": "x"}


def test_a_name_inside_leaves_the_others_inside() -> None:
    before = {"keys": {"a": 1}, "pins": {"p": "1.0"}}
    assert apply(before, {"keys.b": 2, "keys.a": None, "pins.customer.7": "1.1"}) == {
        "keys": {"a": None, "b": 2},
        "pins": {"p": "1.0", "customer.7": "1.1"},
    }
    assert before["keys"] == {"a": 1}


def test_the_order_in_which_it_is_said_counts() -> None:
    assert apply({}, {"keys.a": 1, "keys": {"b": 2}}) == {"keys": {"b": 2}}
    assert apply({}, {"keys": {"b": 2}, "keys.a": 1}) == {"keys": {"b": 2, "a": 1}}


def test_an_object_begins_with_what_the_connector_says_of_it() -> None:
    assert apply({}, {"worker.drain": 5}, saved={"worker": {"start": 9}}) == {
        "worker": {"start": 9, "drain": 5}
    }
    assert apply({"worker": None}, {"worker.drain": 5}) == {"worker": {"drain": 5}}


def test_what_is_unset_is_gone_and_so_is_an_object_with_nothing_left() -> None:
    before = {"keys": {"a": 1, "b": 2}, "shares": {"1.1": 10}, "product": "x", "of.old": 1}
    assert apply(before, {}, "keys.a", "shares.1.1", "product", "of.old") == {"keys": {"b": 2}}
    assert apply(before, {"keys.c": 3}, "keys") == {k: v for k, v in before.items() if k != "keys"}


@pytest.mark.parametrize("name", ["product", "keys.b", "shares.1.1", "keys"])
def test_what_was_not_set_cannot_be_unset(name: str) -> None:
    operator = {} if name == "keys" else {"keys": {"a": 1}}
    with pytest.raises(Refusal) as refused:
        apply(operator, {}, name, saved={"product": "x"})
    assert refused.value.reason is Reason.NOT_FOUND
    shown = "nothing" if name == "keys" else "keys, keys.a" if name == "keys.b" else "keys"
    assert refused.value.detail == f"{name!r} was not set by an operator (set: {shown})"


DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("set_", "said"),
    [
        ({"key.token": 1}, "'key.token': only shares, pins, .* inside of them, did you mean 'keys.token'"),
        ({"product.x": 1}, "'product.x': only shares, pins, keys, update, gate, worker have names inside"),
        ({"keys.": 1}, "'keys.' must be NAME or NAME.KEY"),
        ({"keys.a": 1, "": 1}, "a name must be a text of 1 to 512 bytes"),
        ({"keyz": {}}, "unknown name 'keyz', did you mean 'keys'"),
        (
            {"gate.canary.command": "PING"},
            "gate: unknown name 'canary.command', must be one of seconds, canary",
        ),
        ({"update.mode": "auto"}, "update.interval must be given where update.mode is auto"),
        ({"worker.drain": "x"}, "worker.drain must be a number of seconds from 0"),
        ({"deep": DEEP}, "nested deeper than 100 levels"),
    ],
)
def test_what_breaks_a_rule_is_refused(set_: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        apply({}, set_)


def test_what_is_no_object_has_nothing_inside() -> None:
    # Only another version can have stored it: it would be refused here.
    with pytest.raises(ConfigError, match="keys is a str, not an object: set it as a whole"):
        apply({"keys": "s3cret"}, {"keys.a": 1})
    assert apply({"keys": "s3cret"}, {"keys": {"a": 1}}) == {"keys": {"a": 1}}


def test_no_more_than_a_thousand_at_once() -> None:
    with pytest.raises(ConfigError, match="from 1 to 1000 names"):
        apply({}, {f"keys.{number}": 1 for number in range(1001)})


NAMES = st.sampled_from(
    [*OBJECTS, "product", "other", "keys.a", "keys.b", "shares.1.0", "gate.seconds", "a.b", ""]
)
VALUES = st.sampled_from([None, 1, "x", {}, {"a": 1}, {"1.0": 5}, {"seconds": 1}, ["1.0"]])
LAYER = st.dictionaries(NAMES, VALUES, max_size=3)


@given(LAYER, LAYER, st.lists(NAMES, max_size=2), LAYER)
def test_whatever_is_changed_what_is_left_keeps_the_rules(
    operator: dict[str, Any], set_: dict[str, Any], unset: list[str], saved: dict[str, Any]
) -> None:
    try:
        left = apply(operator, set_, *unset, saved=saved)
    except (ConfigError, Refusal):
        return
    Wanted.from_values({**saved, **left})
    touched = {name.partition(".")[0] for name in (*set_, *unset)} | set(unset)
    assert {n: v for n, v in left.items() if n not in touched} == {
        n: v for n, v in operator.items() if n not in touched
    }
