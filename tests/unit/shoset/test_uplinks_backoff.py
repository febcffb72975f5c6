"""When the end that connects tries again, whom it looks for, and how it leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.support.sessions import (
    ONE,
    PASSWORD,
    TWO,
    Lower,
)
from tests.support.transcript import START, at, kinds, of
from zconnector.actions import Actions, Close, Open, Transmit
from zconnector.messages.kinds import Kind
from zconnector.shoset.uplinks import Target

# ---- backoff


def tries(lower: Lower, fail: Callable[[int], object], count: int) -> list[float]:
    """Seconds between a failure and the next try, for so many failures."""
    waits = []
    for link in range(1, count + 1):
        fail(link)
        failed = lower.now.mono
        due = lower.shoset.deadline()
        while True:
            assert due is not None
            lower.now = at(due - START.mono)
            if of(lower.shoset.tick(lower.now), Open):
                break
            due = lower.shoset.deadline()
        waits.append(lower.now.mono - failed)
    return waits


@pytest.mark.parametrize("seed", range(10))
def test_backoff_doubles_from_50_ms_to_2_s_with_jitter(seed: int) -> None:
    lower = Lower(seed=seed)
    waits = tries(lower, lambda link: lower.shoset.link_lost(link, "refused", lower.now), 10)
    ceilings = [min(2.0, 0.05 * 2**n) for n in range(10)]
    for waited, ceiling in zip(waits, ceilings, strict=True):
        assert ceiling / 2 - 1e-6 <= waited <= ceiling + 1e-6


def refused(lower: Lower, link: int) -> Actions:
    return lower.shoset.link_lost(link, "refused", lower.now)


def test_two_processes_do_not_try_in_step() -> None:
    waits = []
    for seed in (1, 2):
        lower = Lower(seed=seed)
        waits.append(tries(lower, partial(refused, lower), 4))
    assert all(one != other for one, other in zip(*waits, strict=True))


def test_a_first_try_follows_a_loss_at_once_and_backoff_begins_anew() -> None:
    lower = Lower()
    tries(lower, lambda link: lower.shoset.link_lost(link, "refused", lower.now), 6)
    lower.reach("LIVE", link=7)
    lower.shoset.link_lost(7, "broken", lower.now)
    assert lower.wait(0.0) == [Open(8, "tcp://one", "key-one")]
    lower.shoset.link_lost(8, "refused", lower.now)
    assert of(lower.wait(0.024), Open) == [], "but not again and again"
    assert of(lower.wait(0.027), Open) == [Open(9, "tcp://one", "key-one")]


# ---- aim


def test_a_target_that_is_no_longer_listed_is_left_and_a_new_one_found() -> None:
    lower = Lower(ONE)
    lower.reach("LIVE")
    actions = lower.shoset.aim([TWO], START)
    assert actions == [Close(1), Open(2, "tcp://two", "key-two")]
    assert lower.role.heard[-1][2] == "no longer listed"


def test_aiming_again_at_the_same_changes_nothing() -> None:
    lower = Lower(ONE, TWO)
    lower.reach("LIVE")
    assert lower.shoset.aim([TWO, ONE], START) == []
    assert len(lower.shoset.peers()) == 1


def test_a_new_key_of_an_instance_is_a_new_target() -> None:
    lower = Lower(ONE)
    lower.reach("LIVE")
    renewed = Target(ONE.instance, ONE.endpoint, "another-key")
    assert lower.shoset.aim([renewed], START) == [Close(1), Open(2, "tcp://one", "another-key")]


# ---- leaving


def test_leave_says_goaway_to_live_peers_and_opens_nothing_more() -> None:
    lower = Lower(ONE, TWO)
    lower.reach("LIVE")
    actions = lower.shoset.leave(START)
    assert [(t.link, kinds(t.messages)) for t in of(actions, Transmit)] == [(1, [Kind.GOAWAY])]
    lower.shoset.link_lost(1, "closed by peer", START)
    lower.shoset.link_lost(2, "refused", START)
    assert of(lower.wait(60), Open) == []
    assert lower.shoset.aim([ONE], lower.now) == []


def test_secrets_are_nowhere_but_in_the_secret_message() -> None:
    lower = Lower()
    actions = lower.shoset.link_opened(1, START)
    (transmit,) = of(actions, Transmit)
    assert [m.kind for m in transmit.messages if PASSWORD in m.payload] == [Kind.SECRET]
    assert PASSWORD.decode() not in repr(lower.shoset.status())
    assert PASSWORD.decode() not in str([m.header for m in transmit.messages])
