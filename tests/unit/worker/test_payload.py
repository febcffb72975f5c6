from __future__ import annotations

import pytest

from zconnector.worker.payload import MAX_PAYLOAD, PayloadError, encode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("é", "é"),
        (b"\xc3\xa9", "é"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (0, "0"),
        (False, "false"),
        ("x" * MAX_PAYLOAD, "x" * MAX_PAYLOAD),
    ],
)
def test_what_can_be_carried(value: object, text: str) -> None:
    assert encode(value) == text


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"\xff", "UTF-8"),
        ("\ud800", "UTF-8"),
        (object(), "object is no JSON"),
        ("x" * (MAX_PAYLOAD + 1), f"limit {MAX_PAYLOAD}"),
    ],
)
def test_what_cannot_be_carried_is_named(value: object, rule: str) -> None:
    with pytest.raises(PayloadError, match=rule):
        encode(value)
