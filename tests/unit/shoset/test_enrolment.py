from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.errors import ConfigError
from zconnector.shoset.enrolment import Endpoint, Enrolment

KEY = "k" * 40
names = st.from_regex(r"[A-Za-z0-9_.-]{1,128}", fullmatch=True)
endpoints = st.builds(
    Endpoint,
    instance=names,
    endpoint=st.text(max_size=100).map(lambda text: "tcp://" + text),
    key=st.text(min_size=40, max_size=40),
)
enrolments = st.builds(
    Enrolment,
    kind=st.sampled_from(["connector", "aggregator", "member"]),
    tenant=names,
    name=names,
    instance=names,
    type=names,
    secret=st.text(min_size=1, max_size=100),
    endpoints=st.lists(endpoints, max_size=5).map(tuple),
)
GOOD: dict[str, Any] = {
    "kind": "connector",
    "tenant": "acme",
    "name": "git",
    "instance": "0",
    "type": "Git",
    "secret": "s3cr3t",
    "endpoints": [{"instance": "a", "endpoint": "tcp://127.0.0.1:1", "key": KEY}],
}


def string(fields: Any) -> str:
    return "zc1." + base64.urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode()


@given(enrolments)
def test_round_trip(enrolment: Enrolment) -> None:
    text = enrolment.encode()
    assert text.startswith("zc1.")
    assert text.isascii()
    assert not set(text) & set(" \n=+/")
    assert Enrolment.decode(f" {text}\n") == enrolment


def test_the_layout_is_what_the_brief_of_others_says() -> None:
    assert Enrolment.decode(string(GOOD)) == Enrolment(
        "connector", "acme", "git", "0", "Git", "s3cr3t", (Endpoint("a", "tcp://127.0.0.1:1", KEY),)
    )


def test_the_secret_is_in_no_repr() -> None:
    assert "s3cr3t" not in repr(Enrolment.decode(string(GOOD)))


@given(st.text(max_size=200))
def test_garbage_is_a_clear_error(text: str) -> None:
    for candidate in (text, "zc1." + text):
        with pytest.raises(ConfigError):
            Enrolment.decode(candidate)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "worker"}, "worker"),
        ({"kind": 1}, "kind"),
        ({"tenant": "a b"}, "tenant"),
        ({"tenant": ""}, "tenant"),
        ({"name": "x" * 129}, "name"),
        ({"instance": None}, "instance"),
        ({"type": ""}, "type"),
        ({"secret": ""}, "secret"),
        ({"secret": 5}, "secret"),
        ({"endpoints": {}}, "endpoints"),
        ({"endpoints": ["x"]}, "endpoints"),
        ({"endpoints": [{"instance": "a", "endpoint": "http://x", "key": KEY}]}, "http://x"),
        ({"endpoints": [{"instance": "a", "endpoint": "tcp://x:1", "key": "short"}]}, "key"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Enrolment.decode(string({**GOOD, **change}))
    assert named in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("cut", [5, 20, -1, -10])
def test_a_line_that_was_cut_is_no_enrolment(cut: int) -> None:
    with pytest.raises(ConfigError):
        Enrolment.decode(string(GOOD)[:cut])


def test_a_string_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="limit"):
        Enrolment.decode("zc1." + "A" * 300_000)
