"""Schemas, payloads, pivots, product connectors: a ConfigError or a complaint, soon, or an answer."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from tests.fuzz.profile import examples
from zconnector.configuration.catalogue import Catalogue
from zconnector.configuration.logical import LogicalConfiguration, check_values, read_values
from zconnector.configuration.pivot import Pivot, ProductConnector, read_yaml
from zconnector.configuration.schemas import compile_schema
from zconnector.errors import ConfigError

SOON = 5.0
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 3, -1, 2**53, 1.0, 0.5, 1e308, 5e-324]),
    st.sampled_from(["", "a", "aa", "b", "1", "é", "object", "^a", "#", "#/definitions/a", "(", "$ref"]),
)
values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_TYPES = ["array", "boolean", "integer", "null", "number", "object", "string"]
_PATTERNS = ["^a", "a+$", "^(a|b)*$", "[a-c]", "^$", ".", "(a+)+$"]


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draft-04 schemas: good ones, with every keyword."""
    named = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    small = st.integers(0, 3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(_TYPES) | st.lists(st.sampled_from(_TYPES), min_size=1, unique=True),
            "enum": st.lists(values, min_size=1, max_size=3, unique_by=repr),
            "required": st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True),
            "properties": named,
            "patternProperties": st.dictionaries(st.sampled_from(_PATTERNS), inner, max_size=2),
            "additionalProperties": st.booleans() | inner,
            "dependencies": st.dictionaries(
                st.sampled_from("abc"),
                inner | st.lists(st.sampled_from("abc"), min_size=1, unique=True),
                max_size=2,
            ),
            "items": inner | st.lists(inner, min_size=1, max_size=2),
            "additionalItems": st.booleans() | inner,
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "uniqueItems": st.booleans(),
            "multipleOf": st.sampled_from([1, 2, 0.5, 1e-300]),
            "minimum": st.sampled_from([0, 1.5, -1]),
            "maximum": st.sampled_from([0, 1.5, 2**53]),
            "minLength": small,
            "maxLength": small,
            "minItems": small,
            "maxItems": small,
            "minProperties": small,
            "maxProperties": small,
            "pattern": st.sampled_from(_PATTERNS),
            "format": st.just("uri"),
            "title": st.just("t"),
        },
    )


_REFERENCES = st.sampled_from([{"$ref": "#/definitions/a"}, {"$ref": "#/definitions/b"}])
schemas = st.recursive(st.just({}) | _REFERENCES, _schemas, max_leaves=6)


@examples(80)
@given(
    root=schemas,
    a=_schemas(st.just({})),
    b=_schemas(_REFERENCES.filter(lambda r: "b" not in r["$ref"])),
    payload=values,
)
def test_what_is_valid_is_what_the_draft_says(root: Any, a: Any, b: Any, payload: Any) -> None:
    """The reference is jsonschema itself, which has none of the bounds."""
    schema = {**root, "definitions": {"a": a, "b": b}}
    raw = orjson.dumps(payload)
    said = compile_schema(schema, "s").complaint(raw)
    valid = next(Draft4Validator(schema).iter_errors(orjson.loads(raw)), None) is None
    assert (said == "") == valid, said
    assert len(said) <= 300
    assert "\n" not in said


@examples(80)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "type",
                "items",
                "$ref",
                "enum",
                "properties",
                "pattern",
                "x",
                "not",
                "id",
                "patternProperties",
                "dependencies",
                "definitions",
                "allOf",
                "minimum",
                "required",
                "default",
            ]
        ),
        values | schemas,
        max_size=5,
    ),
    values,
)
def test_any_object_is_a_schema_that_raises_nothing_or_a_config_error(schema: Any, payload: Any) -> None:
    try:
        compiled = compile_schema(schema, "s")
    except ConfigError as error:
        assert str(error).startswith("s: ")  # noqa: PT017
        return
    compiled.complaint(orjson.dumps(payload))


@examples(60)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), schemas)
def test_any_bytes_are_a_payload_with_a_short_complaint(raw: bytes, schema: Any) -> None:
    said = compile_schema({"definitions": {"a": {}, "b": {}}, **schema, "type": "object"}, "s").complaint(raw)
    assert len(said) <= 300


PAYLOADS = {
    "deep": b"[" * 1023 + b"]" * 1023,
    "deeper than JSON is read": b"[" * 100_000,
    "huge number": b"9" * 3_000_000,
    "huge exponent": b"1e999999999",
    "NaN": b"NaN",
    "double keys": b'{"a":1,"a":"x"}',
    "many double keys": b"{" + b'"a":1,' * 500_000 + b'"a":1}',
    "long text": b'"' + b"a" * 3_900_000 + b'"',
    "many objects": b"[" + b'{"a":1},' * 450_000 + b"1]",
    "not UTF-8": b'"\xff"',
    "surrogate": b'"\\ud800"',
}
SCHEMAS = {
    "recursive": {"items": {"$ref": "#"}, "properties": {"a": {"$ref": "#"}}},
    "either": {"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}, {"type": "null"}]},
    "one of": {"oneOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}], "uniqueItems": True},
    "pattern": {"pattern": "^(a+)+$", "items": {"pattern": "(a|a)*b"}},
    "loop": {"$ref": "#/definitions/x", "definitions": {"x": {"$ref": "#/definitions/x"}}},
    "not not": {"not": {"not": {"$ref": "#"}}},
    "closed": {"additionalProperties": False, "patternProperties": {"b*a*a*a*a*c": {}}},
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_no_schema_and_payload_take_long(schema: str) -> None:
    compiled = compile_schema(SCHEMAS[schema], "s")
    for name, payload in PAYLOADS.items():
        began = time.process_time()
        assert len(compiled.complaint(payload)) <= 300
        assert time.process_time() - began < SOON, name


_FIELDS = [
    "name",
    "major",
    "minor",
    "commandtypes",
    "eventtypes",
    "resourcetypes",
    "keys",
    "product",
    "implicit",
]
_INNER = ["name", "schema", "defaultValue", "type", "shortname", "mandatory"]
_any = st.recursive(
    _scalars | st.just("\ud800") | st.just("x" * 300) | st.just(10**400) | st.just(float("nan")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_INNER) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=8,
)


@examples(80)
@given(st.dictionaries(st.sampled_from(_FIELDS), _any, max_size=4), st.booleans())
def test_any_document_is_a_pivot_that_can_be_told_or_a_config_error(document: Any, product: bool) -> None:
    kind: Any = ProductConnector if product else Pivot
    whole = {"name": "Ci", "major": 1, "product": "P", **document}
    try:
        item = kind.from_dict(whole, "f")
    except ConfigError as error:
        assert str(error).startswith("f")  # noqa: PT017
        assert len(str(error)) < 1000  # noqa: PT017
        return
    told = orjson.dumps({"ok": {"a": [Catalogue(*([], [item]) if product else ([item], [])).to_dict()]}})
    assert kind.from_dict(orjson.loads(orjson.dumps(item.to_dict()))) == item
    assert told


_PIECES = st.sampled_from(
    [
        *(
            "name: Ci\n",
            "major: 1\n",
            "a: ",
            "- ",
            "? ",
            ": ",
            "&x ",
            "*x",
            "!!python/object:os.system ",
            "!!int ",
            "<<: ",
        ),
        *(
            "[",
            "]",
            "{",
            "}",
            ",",
            "\n",
            "  ",
            "|\n",
            ">-\n",
            '"',
            "'",
            "# x\n",
            "---\n",
            "...\n",
            "%YAML 1.1\n",
            "\t",
        ),
        *(
            "1e999",
            "0x",
            "0b1",
            ".nan",
            "2001-99-99",
            "12:30:45",
            "1_0",
            "~",
            "yes",
            "\\ud800",
            "\x00",
            "\ufeff",
            "é",
        ),
        *("commandtypes: ", "schema: ", "1" * 500, "- {name: A}\n", "keys: [{name: A, defaultValue: "),
    ]
)


@examples(150)
@given(st.lists(_PIECES, max_size=12).map("".join) | st.text(max_size=40), st.booleans())
def test_any_text_is_a_pivot_or_a_config_error(text: str, raw: bool) -> None:
    given_ = text.encode("utf-8", "replace") if raw else text
    try:
        read_yaml(given_, "f")
        Pivot.from_yaml(given_, "f")
    except ConfigError as error:
        assert str(error).startswith("f")  # noqa: PT017


@pytest.mark.parametrize(
    "text",
    [
        "a: [" + "1," * 500_000 + "1]",
        "a: " + "[" * 500_000,
        "a: " + "{b: " * 200_000,
        "- " * 500_000,
        "a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]",
        "".join(f"k{n}: 1\n" for n in range(90_000)),
        "a: '" + "x" * 1_000_000 + "'",
        "name: Ci\nmajor: 1\ncommandtypes:\n"
        + "".join(f"- {{name: C{n}, schema: {{type: object}}}}\n" for n in range(4096)),
        "? " * 300_000,
        "#" * 1_000_000,
        "a: " + "!x " * 300_000,
    ],
    ids=range(11),
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    try:
        Pivot.from_yaml(text, "f")
    except ConfigError as error:
        assert len(str(error)) < 1000  # noqa: PT017
    assert time.process_time() - began < SOON


@examples(60)
@given(
    st.binary(max_size=40) | _any.map(lambda v: repr(v).replace("'", '"').encode("utf-8", "replace")), _any
)
def test_any_configuration_is_read_or_refused(raw: bytes, document: Any) -> None:
    try:
        read_values(raw)
        LogicalConfiguration.from_dict(document)
        Catalogue.from_dict(document)
        check_values(document)
    except ConfigError as error:
        assert str(error)  # noqa: PT017
