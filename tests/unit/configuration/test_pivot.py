from __future__ import annotations

import textwrap
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.configuration.pivot import (
    MAX_DOCUMENT,
    MAX_ITEMS,
    Key,
    Pivot,
    ProductConnector,
    Version,
    implicit_pivot,
    merged,
    read_yaml,
)
from zconnector.errors import ConfigError

GANDALF = textwrap.dedent(
    """
    name: Ci
    major: 1
    minor: 2
    commandtypes:
      - name: CREATE
        schema: '{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object",
                  "required": ["name"]}'
      - name: DELETE
        schema:
          type: object
      - name: PING
        schema: ''
    eventtypes:
      - name: CREATED
        schema: ''
    resourcetypes:
      - name: project
    keys:
      - {name: url, defaultValue: 'http://x', type: string, shortname: u, mandatory: true}
    """
)


def test_gandalfs_layout_is_read() -> None:
    pivot = Pivot.from_yaml(GANDALF)
    assert (pivot.name, pivot.version, pivot.implicit) == ("Ci", Version(1, 2), False)
    assert [command.name for command in pivot.commandtypes] == ["CREATE", "DELETE", "PING"]
    assert pivot.commandtypes[0].schema.complaint(b"{}") != ""
    assert pivot.commandtypes[2].schema.complaint(b"not json") == ""
    assert [event.name for event in pivot.eventtypes] == ["CREATED"]
    assert [resource.name for resource in pivot.resourcetypes] == ["project"]
    assert pivot.keys == (Key("url", "http://x", "string", "u", True),)


def test_the_json_form_gives_the_same_pivot_back() -> None:
    pivot = Pivot.from_yaml(GANDALF)
    assert Pivot.from_dict(orjson.loads(orjson.dumps(pivot.to_dict()))) == pivot


def test_a_product_connector_is_read_flat_or_nested() -> None:
    document: dict[str, Any] = {"name": "Ci", "product": "jenkins", "major": 1, "commandtypes": ["BUILD"]}
    flat = ProductConnector.from_dict(document)
    assert (flat.product, flat.version) == ("jenkins", Version(1, 0))
    assert ProductConnector.from_dict({**document, "product": {"name": "jenkins"}}) == flat
    assert ProductConnector.from_dict(orjson.loads(orjson.dumps(flat.to_dict()))) == flat


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "p.name: must be 1 to 128 of A-Z a-z 0-9 _ . -, not nothing"),
        ({"name": "a b"}, "p.name: must be 1 to 128 of A-Z a-z 0-9 _ . -, not str 'a b'"),
        ({"major": "1"}, "p.major: must be an integer from 0 to 127, not str '1'"),
        ({"major": True}, "p.major: must be an integer from 0 to 127, not bool True"),
        ({"minor": 128}, "p.minor: must be an integer from 0 to 127, not int 128"),
        ({"commandtypes": {}}, f"p.commandtypes: must be a list of at most {MAX_ITEMS}, not dict {{}}"),
        ({"commandtypes": [1]}, "p.commandtypes[0]: must be a mapping with a name, not int 1"),
        (
            {"commandtypes": ["A", {"name": ""}]},
            "p.commandtypes[1].name: must be a text of 1 to 256 bytes, not str ''",
        ),
        (
            {"commandtypes": ["A", "A"]},
            "p.commandtypes[1].name: 'A' is there twice, must be unique in commandtypes",
        ),
        (
            {"commandtypes": [{"name": "A", "schema": 3}]},
            "p.commandtypes[0].schema: must be a JSON Schema (an object), not int",
        ),
        ({"commandtypes": [{"name": "A", "schema": "{"}]}, "p.commandtypes[0].schema: no valid JSON:"),
        ({"keys": [{"name": "A", "mandatory": 1}]}, "p.keys[0].mandatory: must be true or false, not int 1"),
        ({"keys": [{"name": "A", "defaultValue": {1}}]}, "p.keys[0].defaultValue: must be a JSON value"),
        ({"implicit": "yes"}, "p.implicit: must be true or false, not str 'yes'"),
    ],
)
def test_an_error_names_place_value_and_rule(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Pivot.from_dict({"name": "Ci", "major": 1, **changes}, "p")
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "must be UTF-8"),
        ("a: [", "no valid YAML"),
        ("- a", "must be a mapping, not list"),
        ("", "must be a mapping, not nothing"),
        ("x" * (MAX_DOCUMENT + 1), f"must be at most {MAX_DOCUMENT}"),
        ("a: &x [1]\nb: *x", "aliases are not taken"),
        ("a: !!python/object/apply:os.system [true]", "no valid YAML"),
        ("[" * 5000, "f:"),
    ],
)
def test_what_is_no_document_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^f: ") as error:
        Pivot.from_yaml(text, "f")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2001-99-99", "2001-99-99"),
        ("2001-01-01 99:00:00", "2001-01-01 99:00:00"),
        ("!!timestamp abc", "tags are not taken"),
        ("!!bool x", "tags are not taken"),
        ('!!int ""', "tags are not taken"),
        ("!!float x", "tags are not taken"),
        ("!local x", "tags are not taken"),
        ("1" * 5000, "a number of 5000 digits"),
        ("{a: 1, a: 2}", "key 'a' is there twice"),
        ("{[a]: 1}", "a key must be a text"),
        ('"\\ud800"', "no valid YAML"),
    ],
)
def test_what_yaml_knows_and_json_does_not(value: str, said: str) -> None:
    """Most of these raised what nobody expected, and an operator's typing error ended the member."""
    text = f"name: Ci\nmajor: 1\nkeys: [{{name: A, defaultValue: {value}}}]\n"
    if value == said:
        assert Pivot.from_yaml(text, "f").keys[0].default == said
        return
    with pytest.raises(ConfigError, match="f: ") as error:
        Pivot.from_yaml(text, "f")
    assert said in str(error.value)


def test_a_text_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"p\.commandtypes\[0\]\.name"):
        Pivot.from_dict({"name": "Ci", "major": 1, "commandtypes": ["\ud800"]}, "p")


@pytest.mark.parametrize("field", ["defaultValue", "x"])
def test_what_is_too_deep_to_be_stored_or_told_is_refused(field: str) -> None:
    deep: Any = []
    for _ in range(240):
        deep = [deep]
    with pytest.raises(ConfigError, match="deeper than 100"):
        Pivot.from_dict({"name": "Ci", "major": 1, "keys": [{"name": "A", field: deep}]}, "p")
    with pytest.raises(ConfigError, match="deeper than 100"):
        Pivot.from_dict({"name": deep, "major": 1}, "p")


def test_a_large_document_is_read_soon_or_refused() -> None:
    began = time.process_time()
    with pytest.raises(ConfigError, match="more than 100000 values"):
        read_yaml("a: [" + "1," * 500_000 + "1]", "f")
    assert time.process_time() - began < 4


def test_implicit_pivots_add_up() -> None:
    first = implicit_pivot("Ci", 1, 0, ["A", "B", "A"])
    both = merged(first, implicit_pivot("Ci", 1, 0, ["B", "C"]))
    assert first.implicit
    assert both.implicit
    assert [command.name for command in both.commandtypes] == ["A", "B", "C"]
    assert Pivot.from_dict(both.to_dict()) == both


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_whatever_is_read_is_a_pivot_or_a_config_error(document: Any) -> None:
    for field in ("name", "major", "commandtypes", "keys"):
        try:
            Pivot.from_dict({"name": "Ci", "major": 1, field: document})
        except ConfigError:
            continue


def test_a_command_type_may_say_when_it_is_tried_again() -> None:
    retry = {"attempts": 3, "first": 500, "factor": 1.5, "limit": 60_000}
    document = {"name": "Git", "major": 1, "commandtypes": [{"name": "CLONE", "retry": retry}, "PULL"]}
    pivot = Pivot.from_dict(document)
    assert [command.retry for command in pivot.commandtypes] == [retry, None]
    assert Pivot.from_dict(pivot.to_dict()) == pivot
    document["commandtypes"] = [{"name": "CLONE", "retry": {"attempts": 0}}]
    with pytest.raises(
        ConfigError, match=r"commandtypes\[0\]: retry.attempts must be an int from 1 to 1,000"
    ):
        Pivot.from_dict(document)
