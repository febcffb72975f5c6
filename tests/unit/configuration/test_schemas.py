from __future__ import annotations

import time
import tracemalloc
from typing import Any

import orjson
import pytest

from zconnector.configuration.keywords import MAX_STEPS
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
def test_no_schema_takes_anything(nothing: object) -> None:
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
def test_the_first_error_comes_with_its_path(payload: Any, said: str) -> None:
    assert compile_schema(OBJECT, "s").complaint(orjson.dumps(payload)) == said


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"name": NaN}'])
def test_a_payload_that_is_no_json_is_named_so(payload: bytes) -> None:
    assert compile_schema(OBJECT, "s").complaint(payload).startswith("payload is no JSON")


def test_a_complaint_is_short_whatever_the_payload() -> None:
    assert len(compile_schema({"type": "object"}, "s").complaint(orjson.dumps("x" * 10_000))) <= 300


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strange"}, "s: no draft-04 JSON Schema: $.type: 'strange'"),
        ({"required": []}, "s: no draft-04 JSON Schema: $.required"),
        ({"properties": {"a": {"pattern": "("}}}, "s: pattern '(' is no regular expression"),
        ({"patternProperties": {"(": {}}}, "s: pattern '(' is no regular expression"),
        ({"$ref": "http://example.com/x.json"}, "s: $ref 'http://example.com/x.json' must lead to a place"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "s: $ref 'file:///etc/passwd' must lead to a place"),
        ({"items": {"$ref": "#/definitions/nope"}}, "s: $ref '#/definitions/nope' must lead to a place"),
        ({1: 2}, "s: must be plain JSON"),
        ("[1]", "s: must be a JSON Schema (an object), not list"),
    ],
)
def test_a_bad_schema_is_refused_when_it_is_loaded(schema: object, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        compile_schema(schema, "s")
    assert str(error.value).startswith(said)


def test_a_property_may_be_called_ref_and_a_literal_hold_one() -> None:
    schema = {"properties": {"$ref": {"type": "string"}, "a": {"enum": [{"$ref": "http://x"}]}}}
    assert compile_schema(schema, "s").complaint(b'{"$ref": 1}') != ""


def test_an_id_and_a_reference_to_it_fetch_nothing() -> None:
    schema = {
        "id": "http://example.com/root.json",
        "properties": {"a": {"$ref": "#/definitions/b"}},
        "definitions": {"b": {"type": "integer"}},
    }
    compiled = compile_schema(schema, "s")
    assert compiled.complaint(b'{"a": 1}') == ""
    assert compiled.complaint(b'{"a": "x"}') == "$.a: 'x' is not of type 'integer'"


def test_schemas_and_payloads_without_end_are_told() -> None:
    assert "deeply" in compile_schema({"$ref": "#"}, "s").complaint(b"1")
    nested = {"items": {"$ref": "#"}}
    deep = b"[" * 900 + b"]" * 900
    assert compile_schema(nested, "s").complaint(deep) in ("", "payload or schema is nested too deeply")
    source: dict[str, Any] = {}
    for _ in range(600):
        source = {"not": source}
    with pytest.raises(ConfigError):
        compile_schema(source, "s")


def test_draft_04_numbers_and_booleans() -> None:
    assert compile_schema({"type": "integer"}, "s").complaint(b"true") != ""
    assert compile_schema({"minimum": 1, "exclusiveMinimum": True}, "s").complaint(b"1") != ""


# ---- what a sender or a careless schema could hold a connector up with


def seconds(schema: Any, payload: bytes) -> tuple[float, str]:
    compiled = compile_schema(schema, "s")
    began = time.process_time()
    said = compiled.complaint(payload)
    return time.process_time() - began, said


REFERENCES = {f"d{n}": {"allOf": [{"$ref": f"#/definitions/d{n + 1}"}] * 2} for n in range(40)}
EITHER = {"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"type": "array", "items": {"$ref": "#"}}]}
SLOW: dict[str, tuple[Any, bytes, str]] = {
    "a pattern that backtracks": ({"pattern": "^(a+)+$"}, b'"' + b"a" * 60 + b'b"', "does not match"),
    "a pattern over a long text": ({"pattern": "a+$"}, b'"' + b"a" * 3_000_000 + b'b"', "does not match"),
    "a pattern of names": ({"patternProperties": {"^(a|a)*$": {}}}, b'{"' + b"a" * 60 + b'b":1}', ""),
    "objects that must be unique": (
        {"uniqueItems": True},
        orjson.dumps([{"a": n} for n in range(100_000)]),
        "",
    ),
    "references that fan out": (
        {"definitions": {**REFERENCES, "d40": {}}, "$ref": "#/definitions/d0"},
        b"1",
        f"more than {MAX_STEPS} steps",
    ),
    "a recursive anyOf": (EITHER, b"[" * 60 + b"1" + b"]" * 60, f"more than {MAX_STEPS} steps"),
    "an error of every item": (
        {"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]},
        b"[" + b"1," * 1_000_000 + b"1]",
        "is not valid under any",
    ),
    "large values in messages": (
        {"anyOf": [{"type": "null"}] * 200},
        b"{" + b",".join(b'"%d":1' % n for n in range(200_000)) + b"}",
        "is not valid under any",
    ),
    "more properties than anybody looks at": (
        {"items": {"properties": {f"p{n}": {} for n in range(4096)}}},
        b"[" + b"{}," * 1_000_000 + b"{}]",
        f"more than {MAX_STEPS} steps",
    ),
}


@pytest.mark.parametrize("what", SLOW)
def test_no_payload_holds_its_connector_up(what: str) -> None:
    schema, payload, said = SLOW[what]
    taken, complaint = seconds(schema, payload)
    assert said in complaint
    assert bool(said) == bool(complaint)
    assert taken < 5, "two orders of magnitude below what each of them took, and above any machine's noise"


def test_a_check_keeps_little() -> None:
    payload = orjson.dumps([1] * 200_000)
    compiled = compile_schema({"anyOf": [{"items": {"type": "string"}}] * 3}, "s")
    tracemalloc.start()
    compiled.complaint(payload)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * len(payload)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/enum", "enum": [1]},
        {"$ref": "#/enum/0", "enum": [{"type": "nonsense"}]},
        {"properties": {"a": {"$ref": "#/enum/0"}}, "enum": [{"pattern": "("}]},
        {"properties": {"a": {"$ref": "#/default"}}, "default": {"minimum": "x"}},
        {"properties": {"a": {"$ref": "#/default"}}, "default": {"$ref": "http://127.0.0.1:9/x"}},
        {"$ref": 5},
    ],
)
def test_a_reference_to_what_is_no_schema_is_refused_when_it_is_loaded(schema: Any) -> None:
    """Each of them raised on the first payload, which ended the connector."""
    with pytest.raises(ConfigError, match=r"^s: "):
        compile_schema(schema, "s")


@pytest.mark.parametrize("patterns", [["a", "(?i)b"], ["(?P<x>a)", "(?P<x>b)"]])
def test_patterns_of_names_do_not_disturb_each_other(patterns: list[str]) -> None:
    """They were joined into one expression, which could be none: that ended the connector."""
    schema = {"patternProperties": {pattern: {} for pattern in patterns}, "additionalProperties": False}
    assert compile_schema(schema, "s").complaint(b'{"a": 1}') == ""
    assert "'c' was unexpected" in compile_schema(schema, "s").complaint(b'{"c": 1}')


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(a)\1", "((a{100}){100}){100}", "\ud800"])
def test_a_pattern_that_cannot_be_bounded_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="s: "):
        compile_schema({"pattern": pattern}, "s")
