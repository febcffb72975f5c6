from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.configuration.logical import MAX_CONFIGURATION, Layers, LogicalConfiguration, read_values
from zconnector.errors import ConfigError

VALUES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)


@given(st.lists(st.tuples(VALUES, st.booleans()), max_size=8))
def test_the_version_grows_exactly_with_what_is_in_force(changes: list[tuple[dict[str, int], bool]]) -> None:
    layers = Layers()
    for values, operator in changes:
        before = layers
        layers = layers.with_layer(values, operator=operator)
        changed = layers.in_force.values != before.in_force.values or before.version == 0
        assert layers.version == before.version + changed
        assert dict(layers.operator if operator else layers.saved) == values
        assert dict(layers.saved if operator else layers.operator) == dict(
            before.saved if operator else before.operator
        )
        assert layers.in_force.values == {**layers.saved, **layers.operator}


def test_true_is_not_1() -> None:
    """Python holds them equal: the change was stored, and its version was that of before."""
    layers = Layers().with_layer({"a": {"b": 1}}, operator=True)
    assert layers.with_layer({"a": {"b": True}}, operator=True).version == 2
    assert layers.with_layer({"a": {"b": 1}}, operator=True).version == 1


def test_the_json_form_gives_the_same_back() -> None:
    configuration = LogicalConfiguration(3, {"a": [1]})
    assert LogicalConfiguration.from_dict(configuration.to_dict()) == configuration


@pytest.mark.parametrize(
    "document",
    [[], {}, {"version": -1, "values": {}}, {"version": True, "values": {}}, {"version": 1, "values": []}],
)
def test_a_bad_document_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError):
        LogicalConfiguration.from_dict(document)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b'"x"', b" " * (MAX_CONFIGURATION + 1)])
def test_bad_values_are_refused(payload: bytes) -> None:
    with pytest.raises(ConfigError):
        read_values(payload)


def test_values_too_deep_to_be_stored_are_refused() -> None:
    """They ended the writer of the member, for all tenants."""
    with pytest.raises(ConfigError, match="deeper than 100"):
        read_values(b'{"x":' + b"[" * 300 + b"]" * 300 + b"}")


def test_values_are_read() -> None:
    assert read_values(b'{"a": 1}') == {"a": 1}
