"""What a guard decides."""

from __future__ import annotations

from zconnector.supervision.guard import nothing_left


def test_a_worker_that_ends_between_two_looks_hides_nothing() -> None:
    """Its child becomes the guard's with its end, wherever that falls."""
    ended = False

    def look_at_worker() -> bool:
        nonlocal ended
        seen, ended = ended, True
        return seen

    def look_at_children() -> list[int]:
        nonlocal ended
        seen, ended = [7] if ended else [], True
        return seen

    assert not nothing_left(look_at_worker, look_at_children)
    assert not nothing_left(look_at_worker, look_at_children)
    assert nothing_left(look_at_worker, list)
