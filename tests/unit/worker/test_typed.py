"""Payloads by annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from zconnector.errors import ConfigError
from zconnector.worker import PayloadError, Retry
from zconnector.worker.payload import encode, encode_bytes
from zconnector.worker.typed import decoder


@dataclass
class Issue:
    title: str


class Build(msgspec.Struct):
    ref: str


class Deploy(pydantic.BaseModel):
    where: str


def of_text(ctx: Any, payload: str) -> None: ...
def of_nothing(ctx, payload) -> None: ...  # type: ignore[no-untyped-def]
def of_bytes(ctx: Any, payload: bytes) -> None: ...
def of_dict(ctx: Any, payload: dict[str, int]) -> None: ...
def of_list(ctx: Any, payload: list) -> None: ...  # type: ignore[type-arg]
def of_float(ctx: Any, payload: float) -> None: ...
def of_issue(ctx: Any, payload: Issue) -> None: ...
def of_build(ctx: Any, payload: Build) -> None: ...
def of_deploy(ctx: Any, payload: Deploy) -> None: ...
def of_set(ctx: Any, payload: set[str]) -> None: ...
def of_unknown(ctx: Any, payload: NotThere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


class Callable:
    def __call__(self, ctx: Any, payload: Issue) -> None: ...


@pytest.mark.parametrize(
    ("function", "raw", "value"),
    [
        (of_text, "é".encode(), "é"),
        (of_nothing, b"{}", "{}"),
        (of_bytes, b"\xff", b"\xff"),
        (of_dict, b'{"a":1}', {"a": 1}),
        (of_list, b"[1]", [1]),
        (of_float, b"1", 1.0),
        (of_issue, b'{"title":"t"}', Issue("t")),
        (of_build, b'{"ref":"main"}', Build("main")),
        (of_deploy, b'{"where":"prod"}', Deploy(where="prod")),
        (Callable(), b'{"title":"t"}', Issue("t")),
        (lambda ctx, payload: None, b"x", "x"),
    ],
)
def test_what_comes_is_what_the_annotation_says(function: Any, raw: bytes, value: Any) -> None:
    found = decoder(function, "command A")(raw)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("function", "raw"),
    [
        (of_text, b"\xff"),
        (of_dict, b"[]"),
        (of_dict, b"{"),
        (of_list, b"{}"),
        (of_float, b"true"),
        (of_issue, b'{"name":"t"}'),
        (of_build, b'{"ref":1}'),
        (of_deploy, b"{}"),
    ],
)
def test_what_is_not_that_is_refused(function: Any, raw: bytes) -> None:
    with pytest.raises(PayloadError, match="payload is not"):
        decoder(function, "command A")(raw)


def test_a_bad_annotation_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="command A: a payload cannot be a"):
        decoder(of_set, "command A")
    with pytest.raises(ConfigError, match="means nothing at module level"):
        decoder(of_unknown, "command A")


def test_results() -> None:
    assert encode_bytes(None) == b""
    assert encode_bytes(b"\xff") == b"\xff"
    assert encode_bytes("é") == "é".encode()
    assert (
        encode_bytes([Issue("t"), Build("b"), Deploy(where="w")])
        == b'[{"title":"t"},{"ref":"b"},{"where":"w"}]'
    )
    with pytest.raises(PayloadError, match="no JSON"):
        encode_bytes({1, 2})
    with pytest.raises(PayloadError, match="UTF-8"):
        encode(b"\xff")


@pytest.mark.parametrize("delay", [-1, 31 * 86_400])
def test_a_retry_has_bounds(delay: float) -> None:
    with pytest.raises(ValueError, match="delay must be from 0 to"):
        Retry(delay)
