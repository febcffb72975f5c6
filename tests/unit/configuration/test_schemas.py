from __future__ import annotations

from typing import Any

import orjson
import pytest

from zconnector.configuration.schemas import ANYTHING, compile_schema
from zconnector.errors import ConfigError

OBJECT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"$ref": "#/definitions/tag"}},
    },
    "definitions": {"tag": {"type": "string", "maxLength": 3}},
}


@pytest.mark.parametrize("nothing", [None, "", "  ", {}, "{}"])
def test_no_schema_takes_anything(nothing: object):
    assert compile_schema(nothing, "s") == ANYTHING
    assert compile_schema(nothing, "s").complaint(b"\xff not json") == ""


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"name": "x", "tags": ["abc"]}, ""),
        ({}, "$: 'name' is a required property"),
        ({"name": 1}, "$.name: 1 is not of type 'string'"),
        ({"name": "x", "tags": ["a", "long"]}, "$.tags[1]: 'long' is too long"),
        ([], "$: [] is not of type 'object'"),
    ],
)
def test_the_first_error_comes_with_its_path(payload: Any, said: str):
    assert compile_schema(OBJECT, "s").complaint(orjson.dumps(payload)) == said


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"name": NaN}'])
def test_a_payload_that_is_no_json_is_named_so(payload: bytes):
    assert compile_schema(OBJECT, "s").complaint(payload).startswith("payload is no JSON")


def test_a_complaint_is_short_whatever_the_payload():
    assert len(compile_schema({"type": "object"}, "s").complaint(orjson.dumps("x" * 10_000))) <= 300


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strange"}, "s: no draft-04 JSON Schema: $.type: 'strange'"),
        ({"required": []}, "s: no draft-04 JSON Schema: $.required"),
        ({"properties": {"a": {"pattern": "("}}}, "s: no draft-04 JSON Schema: $.properties.a.pattern"),
        ({"patternProperties": {"(": {}}}, "s: pattern '(' is no regular expression"),
        ({"$ref": "http://example.com/x.json"}, "s: $ref 'http://example.com/x.json' must lead to a place"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "s: $ref 'file:///etc/passwd' must lead to a place"),
        ({"items": {"$ref": "#/definitions/nope"}}, "s: $ref '#/definitions/nope' must lead to a place"),
        ({1: 2}, "s: must be plain JSON"),
        ("[1]", "s: must be a JSON Schema (an object), not list"),
    ],
)
def test_a_bad_schema_is_refused_when_it_is_loaded(schema: object, said: str):
    with pytest.raises(ConfigError) as error:
        compile_schema(schema, "s")
    assert str(error.value).startswith(said)


def test_a_property_may_be_called_ref_and_a_literal_hold_one():
    schema = {"properties": {"$ref": {"type": "string"}, "a": {"enum": [{"$ref": "http://x"}]}}}
    assert compile_schema(schema, "s").complaint(b'{"$ref": 1}') != ""


def test_an_id_and_a_reference_to_it_fetch_nothing():
    schema = {
        "id": "http://example.com/root.json",
        "properties": {"a": {"$ref": "#/definitions/b"}},
        "definitions": {"b": {"type": "integer"}},
    }
    compiled = compile_schema(schema, "s")
    assert compiled.complaint(b'{"a": 1}') == ""
    assert compiled.complaint(b'{"a": "x"}') == "$.a: 'x' is not of type 'integer'"


def test_schemas_and_payloads_without_end_are_told():
    assert "deeply" in compile_schema({"$ref": "#"}, "s").complaint(b"1")
    nested = {"items": {"$ref": "#"}}
    deep = b"[" * 900 + b"]" * 900
    assert compile_schema(nested, "s").complaint(deep) in ("", "payload or schema is nested too deeply")
    source: dict[str, Any] = {}
    for _ in range(600):
        source = {"not": source}
    with pytest.raises(ConfigError):
        compile_schema(source, "s")


def test_draft_04_numbers_and_booleans():
    assert compile_schema({"type": "integer"}, "s").complaint(b"true") != ""
    assert compile_schema({"minimum": 1, "exclusiveMinimum": True}, "s").complaint(b"1") != ""
