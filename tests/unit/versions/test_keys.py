"""What a worker reads on stdin, what stops it from starting, and what is masked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.errors import ConfigError
from zconnector.versions.keys import masked, resolve, unknown


def pivot(*keys: dict[str, Any]) -> Pivot:
    return Pivot.from_dict({"name": "Ci", "major": 1, "minor": 2, "keys": list(keys)})


def product(*keys: dict[str, Any]) -> ProductConnector:
    return ProductConnector.from_dict(
        {"name": "Ci", "product": "Jenkins", "major": 1, "minor": 2, "keys": list(keys)}
    )


def key(name: str, type_: str = "string", default: Any = None, mandatory: bool = False) -> dict[str, Any]:
    return {"name": name, "type": type_, "defaultValue": default, "mandatory": mandatory}


def test_values_then_defaults_and_what_has_neither_is_absent() -> None:
    keys = pivot(
        key("url", default="http://x"), key("token", mandatory=True), key("note"), key("b", default="d")
    )
    assert (
        resolve(keys, None, {"token": "t", "b": "given"}) == b'{"b":"given","token":"t","url":"http://x"}\n'
    )


def test_the_product_connector_wins_over_the_pivot() -> None:
    both = (
        pivot(key("a", default="pivot"), key("b", "integer", mandatory=True)),
        product(key("b", default="x")),
    )
    assert resolve(*both, {}) == b'{"a":"pivot","b":"x"}\n'


def test_nothing_declared_is_an_empty_object() -> None:
    assert resolve(None, None, {"a": 1}) == b"{}\n"
    assert resolve(pivot(), product(), {}) == b"{}\n"


def test_null_is_no_value_and_an_empty_text_no_default() -> None:
    assert resolve(pivot(key("a", default="d"), key("b", "integer", default="")), None, {"a": None}) == (
        b'{"a":"d"}\n'
    )
    with pytest.raises(ConfigError, match=r"mandatory, without value or default: a$"):
        resolve(pivot(key("a", default="", mandatory=True)), None, {"a": None})
    assert resolve(pivot(key("a", mandatory=True)), None, {"a": ""}) == b'{"a":""}\n'


def test_all_that_is_missing_and_wrong_is_told_at_once_without_a_value() -> None:
    keys = pivot(
        key("zone", mandatory=True),
        key("token", mandatory=True),
        key("port", "integer"),
        key("hosts", "list"),
        key("rate", "float", default="fast"),
    )
    with pytest.raises(ConfigError) as refused:
        resolve(keys, product(), {"port": "s3cret", "hosts": {"s3cret": "s3cret"}})
    assert str(refused.value) == (
        "keys of Ci 1.2: mandatory, without value or default: token, zone; "
        "hosts must be a list, its value is an object; port must be a whole number, its value is a text; "
        "rate must be a number, its default is a text"
    )


TAKEN = [
    ("string", "7", "7"),
    ("integer", 7, 7),
    ("int", "-7", -7),
    ("integer", "9223372036854775807", 2**63 - 1),
    ("number", 7, 7),
    ("number", "7", 7),
    ("float", "-7.5e-1", -0.75),
    ("float", 0.1, 0.1),
    ("boolean", True, True),
    ("bool", "false", False),
    ("list", [1, "a"], [1, "a"]),
    ("array", [], []),
    ("object", {"a": None}, {"a": None}),
    ("Map", {}, {}),
    ("password", "x", "x"),
    ("password", [1], [1]),
]
REFUSED = [
    ("string", 7),
    ("string", True),
    ("string", ["a"]),
    ("integer", True),
    ("integer", 7.0),
    ("integer", "7.0"),
    ("integer", "07"),
    ("integer", " 7"),
    ("integer", "7\n"),
    ("integer", "٧"),
    ("integer", "9223372036854775808"),
    ("integer", "-9223372036854775809"),
    ("number", False),
    ("number", "1e999"),
    ("number", float("nan")),
    ("number", "nan"),
    ("number", "0x10"),
    ("number", ""),
    ("boolean", 1),
    ("boolean", "True"),
    ("list", "a,b"),
    ("object", "{}"),
]


@pytest.mark.parametrize(("type_", "value", "read"), TAKEN)
def test_a_value_is_taken_as_its_type(type_: str, value: object, read: object) -> None:
    found = orjson.loads(resolve(pivot(key("k", type_)), None, {"k": value}))["k"]
    assert found == read
    assert type(found) is type(read)
    assert orjson.loads(resolve(pivot(key("k", type_, default=value)), None, {}))["k"] == read


@pytest.mark.parametrize(("type_", "value"), REFUSED)
def test_a_value_of_another_type_is_refused(type_: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"keys of Ci 1\.2: k must be "):
        resolve(pivot(key("k", type_)), None, {"k": value})


def test_what_nobody_declares_is_told() -> None:
    assert unknown(pivot(key("a")), product(key("b")), {"d": 1, "a": 1, "c": 1}) == ("c", "d")


def test_texts_are_masked_wherever_they_are_and_however_they_are_written() -> None:
    found = masked({"a": "s3cret", "b": {"c": ["inner", 5]}, "d": "abc", "e": 'quo"té', "f": "    "}).texts
    assert found == tuple(sorted(found, key=lambda form: (-len(form), form)))
    assert set(found) == {"s3cret", "inner", 'quo"té', 'quo\\"té', 'quo\\"t\\u00e9'}


def test_each_line_of_a_value_is_masked() -> None:
    assert {"BEGIN", "line one", "END!"} <= set(masked({"pem": "BEGIN\r\nline one\n  }\nEND!\n"}).texts)
    assert "  }" not in masked({"pem": "BEGIN\n  }\nEND!"}).texts


@pytest.mark.parametrize(
    ("value", "forms"),
    [
        (4711, {"4711"}),
        (-4711, {"4711"}),
        (471, set()),
        (10_000, {"10000"}),
        (True, set()),
        (None, set()),
        (1234.5, {"1234.5"}),
        (0.5, set()),
        (0.0001, set()),
        (1234.0, {"1234.0", "1234"}),
        (1.2345e30, {"1.2345e+30", "1.2345e30"}),
        (1e30, set()),
        (float("nan"), set()),
        (10**50, set()),
        ("1234.50", {"1234.5"}),
        ("0004711", set()),
        ({"a": [{"b": 98765}]}, {"98765"}),
    ],
)
def test_numbers_are_masked_as_they_are_written(value: object, forms: set[str]) -> None:
    """Only texts were: a key of type integer stood in the log."""
    assert set(masked({"k": value}).numbers) == forms


@given(st.integers(1_000, 2**63 - 1) | st.integers(-(2**63), -1_000))
def test_a_whole_number_is_masked_in_what_a_worker_says_of_its_configuration(number: int) -> None:
    line = resolve(pivot(key("k", "integer")), None, {"k": number}).decode()
    said = masked({"k": number})(line)
    assert str(abs(number)) not in said
    assert said == line.replace(str(abs(number)), "***")


def test_a_value_as_deep_as_json_allows_is_searched() -> None:
    deep: Any = "s3cret"
    for _ in range(5_000):
        deep = [deep]
    assert masked({"a": deep}).texts == ("s3cret",)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.builds(
    key,
    st.sampled_from("abcd"),
    st.sampled_from([name for name, _ in REFUSED] + ["int", "float", "bool", "array", "map", "other"]),
    VALUES,
    st.booleans(),
)


@given(
    st.lists(KEYS, max_size=4, unique_by=lambda k: k["name"]),
    st.lists(KEYS, max_size=4, unique_by=lambda k: k["name"]),
    st.dictionaries(st.sampled_from("abcde"), VALUES, max_size=4),
)
def test_whatever_the_values_a_worker_gets_an_object_of_declared_names_or_none(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], values: dict[str, Any]
) -> None:
    declared = {each["name"]: each for each in [*ours, *theirs]}
    try:
        line = resolve(pivot(*ours), product(*theirs), values)
    except ConfigError:
        return
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    found = orjson.loads(line)
    assert list(found) == sorted(found)
    assert set(found) <= set(declared)
    assert all(name in found for name, each in declared.items() if each["mandatory"])
