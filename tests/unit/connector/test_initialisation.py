"""The steps of a connector's start."""

from __future__ import annotations

from itertools import permutations

import pytest

from zconnector.connector.initialisation import Initialisation, Step


def test_the_step_is_the_first_that_is_not_done() -> None:
    init = Initialisation()
    for step in list(Step)[:-1]:
        assert init.step is step
        init.done(step)
        init.done(step)
        assert init.is_done(step)
    assert init.step is Step.READY


@pytest.mark.parametrize(
    "order", list(permutations([Step.SECRET, Step.CONFIGURATION, Step.VERSIONS])), ids=str
)
def test_it_may_serve_once_secret_configuration_and_versions_are_there(order: tuple[Step, ...]) -> None:
    init = Initialisation()
    for step in order:
        assert not init.may_serve
        init.done(step)
    assert init.may_serve


def test_it_may_serve_from_what_was_kept() -> None:
    init = Initialisation()
    init.from_cache = True
    assert init.may_serve
    assert init.status("x")["serving_from_cache"] is True
    init.done(Step.VERSIONS)
    assert init.status("x")["serving_from_cache"] is False


def test_status_says_what_it_waits_for_until_it_is_ready() -> None:
    init = Initialisation()
    assert init.status("an aggregator") == {
        "step": "COMMUNICATION",
        "waiting_for": "an aggregator",
        "done": [],
        "serving_from_cache": False,
    }
    for step in list(Step)[:-1]:
        init.done(step)
    assert init.status("nothing")["waiting_for"] == ""
