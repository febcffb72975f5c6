"""The rules of header fields, at their very edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.errors import WireError
from zconnector.messages.fields import (
    BOUNDS,
    FIELDS,
    NAMES,
    WISHES,
    broken_rule_of,
    check_field,
    check_header,
    is_name,
)
from zconnector.messages.kinds import Flag, Kind

TEXTS = [name for name, rule in FIELDS.items() if rule.type is str]
LISTS = [name for name, rule in FIELDS.items() if rule.type is list]
INTS = [name for name, rule in FIELDS.items() if rule.type is int and name not in BOUNDS]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_may_fill_its_limit_and_not_one_byte_more(name: str) -> None:
    limit = FIELDS[name].limit
    assert check_field(name, "x" * limit) == ""
    assert check_field(name, "x" * (limit + 1)) == f"{name} is longer than {limit} bytes"


@pytest.mark.parametrize("name", sorted(set(TEXTS) - set(NAMES)))
def test_limits_are_in_bytes_not_in_characters(name: str) -> None:
    limit = FIELDS[name].limit
    assert check_field(name, "é" * (limit // 2)) == ""
    assert check_field(name, "é" * (limit // 2 + 1)) == f"{name} is longer than {limit} bytes"


@pytest.mark.parametrize("name", LISTS)
def test_a_list_may_fill_its_limit_and_not_one_item_more(name: str) -> None:
    limit = FIELDS[name].limit
    assert check_field(name, [0] * limit) == ""
    assert check_field(name, [0] * (limit + 1)) == f"{name} has more than {limit} items"


@pytest.mark.parametrize("name", INTS)
def test_an_integer_is_one_that_every_reader_holds_exactly(name: str) -> None:
    for edge in (-(2**53), 2**53):
        assert check_field(name, edge) == ""
    for beyond in (-(2**53) - 1, 2**53 + 1, 10**400):
        assert check_field(name, beyond) == f"{name} is beyond 2^53"


@pytest.mark.parametrize("name", ["major", "minor"])
def test_a_version_number_is_one_signed_byte(name: str) -> None:
    assert check_field(name, -128) == check_field(name, 127) == ""
    for beyond in (-129, 128):
        assert check_field(name, beyond) == f"{name} must be from -128 to 127 (got {beyond})"


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_number_with_bounds_of_its_own(name: str) -> None:
    least, greatest = BOUNDS[name]
    assert check_field(name, least) == check_field(name, greatest) == ""
    for beyond in (least - 1, greatest + 1):
        assert check_field(name, beyond) == f"{name} must be from {least} to {greatest} (got {beyond})"
        with pytest.raises(WireError) as caught:
            check_header(Kind.HEARTBEAT, Flag.NONE, {"received": 1, name: beyond})
        assert caught.value.detail.startswith(f"{name} must be from")


def test_what_a_sender_may_wish_are_known_fields() -> None:
    assert set(WISHES) <= set(FIELDS)
    assert check_field("retry", {"attempts": 3, "factor": 1.5}) == ""
    assert check_field("retry", {"attempts": 0}).startswith("retry.attempts must be an int from 1")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["a b", "a/b", "..\\x", "é", "a\n", "\0", "%", "a:b", "a,b"])
def test_a_name_has_few_letters(name: str, value: str) -> None:
    assert check_field(name, value).startswith(f"{name} may hold only")
    assert not is_name(value)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_empty(name: str) -> None:
    assert check_field(name, "") == f"{name} must not be empty"


@pytest.mark.parametrize("name", ["git", "A-Z_a.z-0", "x" * 128])
def test_good_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "x" * 129, "a\n"])
def test_no_names(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("value", [1, "x" * 100_000, None, [], 1.5])
def test_a_field_that_this_version_does_not_know_has_no_rule(value: object) -> None:
    assert check_field("from_version_9", value) == ""


def test_bool_is_no_int_and_int_is_no_bool() -> None:
    assert check_field("seq", True) == "seq must be int, not bool"
    assert check_field("admin", 1) == "admin must be bool, not int"


def _near(name: str) -> st.SearchStrategy[object]:
    """Values of a field around its bounds, and some of other types."""
    least, greatest = BOUNDS.get(name, (-(2**53), 2**53))
    edges = (least - 1, least, -1, 0, 1, greatest, greatest + 1)
    limit = FIELDS[name].limit
    texts = ("", "a", "a b", "x" * limit, "x" * (limit + 1), "é" * (limit // 2 + 1))
    return st.sampled_from([*edges, *texts, True, None, [], ["x"] * (limit + 1), {}, {"attempts": 0}])


@given(st.fixed_dictionaries({}, optional={name: _near(name) for name in FIELDS}))
def test_all_fields_at_once_are_held_to_the_rules_of_each(fields: dict[str, object]) -> None:
    each = [check_field(name, value) for name, value in fields.items()]
    assert broken_rule_of(fields) == next((broken for broken in each if broken), "")


@given(
    st.fixed_dictionaries({}, optional={name: _near(name) for name in ("uuid", "source", "seq", "admin")}),
    st.sampled_from(["text", 1, True, None, ["x"]]),
)
def test_a_field_that_this_version_does_not_know_excuses_no_other(
    fields: dict[str, object], unknown: object
) -> None:
    assert broken_rule_of({"from_version_9": unknown, **fields}) == broken_rule_of(fields)


def test_a_name_that_was_found_good_is_good_as_a_name_only() -> None:
    assert check_field("source", "git") == ""
    assert check_field("seq", "git") == "seq must be int, not str"
    assert check_field("admin", "git") == "admin must be bool, not str"


def test_more_names_than_are_remembered_are_names_all_the_same() -> None:
    names = [f"name{number}" for number in range(2_100)]
    assert all(is_name(name) for name in names + names)
    assert not is_name("no name")
