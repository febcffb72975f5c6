"""Copies that come too late."""

from __future__ import annotations

from zconnector.messages.late import GRACE_MS, REMEMBERED, Late


def test_the_grace_is_included() -> None:
    late = Late()
    assert late.by("u1", 1_000, 1_000 + GRACE_MS) == 0
    assert late.by("u1", 1_000, 1_001 + GRACE_MS) == 1


def test_what_the_first_copy_was_told_holds_for_all_and_not_for_another_submission() -> None:
    late = Late()
    assert late.by("u1", 1_000, 5_000 + GRACE_MS) == 4_000
    assert late.by("u1", 1_000, 1_000) == 4_000
    assert late.by("u1", 1_000, 9_000 + GRACE_MS) == 4_000
    assert late.by("u1", 1_001, 1_000) == 0
    assert late.by("u2", 1_000, 1_000) == 0


def test_it_is_bounded() -> None:
    late = Late()
    for number in range(REMEMBERED + 1):
        assert late.by(f"u{number}", 1_000, 2_000 + GRACE_MS) == 1_000
    assert late.by("u0", 1_000, 1_000) == 0
    assert late.by("u1", 1_000, 1_000) == 1_000
