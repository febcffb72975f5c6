"""`zconnector worker`: what is told of rollouts, of what waits, and of editions."""

from __future__ import annotations

from typing import Any

import pytest

from zconnector.cli.operate import when
from zconnector.cli.worker import _legend, _summary

ANSWER: dict[str, Any] = {"problem": "", "unfit": "", "rollout": None, "last": None, "waits": None}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "update from 1.9~1 to 1.20~1: STARTING",
            "(1.9~1: version 1.9, edition 1; see zconnector worker --help)",
        ),
        ("version 1.20~12 ended", "(1.20~12: version 1.20, edition 12; see zconnector worker --help)"),
        ("update from 1.9 to 1.20", ""),
        ("~1 and 1.9~ and x1.9~y", ""),
    ],
)
def test_an_edition_is_explained_where_one_is_named(text: str, told: str) -> None:
    assert _legend(text) == told


def test_what_waits_is_told_with_its_reason_and_its_time() -> None:
    at = 1_764_300_000_000
    waits = {"new": ["1.1", "2.0"], "for": "https://r does not answer", "tries": 3, "at": at}
    (line,) = _summary({**ANSWER, "waits": waits})
    assert line == (
        f"the configuration's 1.1, 2.0 is tried again at {when(at)} (3 times in vain), "
        "and waits for: https://r does not answer"
    )
    (line,) = _summary({**ANSWER, "waits": {**waits, "tries": 1}})
    assert "(1 time in vain)" in line


def test_while_it_is_being_tried_the_rollout_tells() -> None:
    waits = {"new": ["1.1"], "for": "away", "tries": 1, "at": None}
    rollout = {"why": "configuration", "old": ["1.0"], "new": ["1.1"], "step": "FETCHING", "reason": ""}
    assert _summary({**ANSWER, "waits": waits, "rollout": rollout}) == [
        "configuration from 1.0 to 1.1: FETCHING"
    ]


def test_a_connector_of_before_waits_for_nothing() -> None:
    answer = dict(ANSWER)
    del answer["waits"]
    assert _summary(answer) == []


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (3 * 86_400_000, "expires in 3 d, at {}"),
        (5 * 3_600_000, "expires in 5 h, at {}"),
        (-2 * 86_400_000, "expired at {}, 2 d ago"),
    ],
)
def test_a_manifest_that_expires_is_told(left: int, told: str) -> None:
    expires = 1_764_300_000
    manifest = {
        "address": "file:///r",
        "serial": 7,
        "expires": expires,
        "left_ms": left,
        "expiring": True,
        "expired": left <= 0,
    }
    assert _summary({**ANSWER, "manifest": manifest}) == [
        f"the manifest of file:///r (serial 7) {told.format(when(expires * 1000))}: nothing new is installed "
        "by it from then on; sign it again (zconnector repo sign)"
    ]
    assert _summary({**ANSWER, "manifest": {**manifest, "expiring": False}}) == []
    assert _summary({**ANSWER, "manifest": None}) == []
