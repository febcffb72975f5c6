"""What a session comes to wait for is announced: `Lower`, `Upper` and `Net` hold a shoset to that after every
step. Here are the steps that no other transcript has as its own."""

from __future__ import annotations

from tests.support.agendas import hold_core
from tests.support.sessions import ONE, Lower


def test_the_next_try_after_a_loss() -> None:
    lower = Lower()
    lower.reach("LIVE")
    lower.wait(0.0)  # beats, so that nothing is due for a while
    hold_core(lower.shoset)
    lower.shoset.link_lost(1, "gone", lower.now)
    assert lower.shoset.agenda.at == lower.now.mono, "it is opened again at once"
    hold_core(lower.shoset)


def test_a_first_target_after_none() -> None:
    lower = Lower()
    lower.shoset.aim([], lower.now)
    hold_core(lower.shoset)
    lower.shoset.aim([ONE], lower.now)
    hold_core(lower.shoset)
    assert lower.shoset.soon() <= lower.now.mono
