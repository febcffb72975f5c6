"""Uuids that sort by their time."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from zconnector.messages.uuids import new_uuid, ordered_uuid

WALL = st.integers(0, (1 << 48) - 1)
BITS = st.integers(0, (1 << 74) - 1)


@given(WALL, BITS)
def test_one_is_a_version_7(wall: int, bits: int) -> None:
    made = uuid.UUID(ordered_uuid(wall, bits))
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, wall)
    assert str(made) == ordered_uuid(wall, bits)


@given(WALL, BITS, BITS)
def test_all_its_bits_tell_it_apart(wall: int, bits: int, others: int) -> None:
    assert (ordered_uuid(wall, bits) == ordered_uuid(wall, others)) == (bits == others)


@given(WALL, WALL, BITS, BITS)
def test_they_sort_by_time(one: int, other: int, bits: int, others: int) -> None:
    if one != other:
        assert (ordered_uuid(one, bits) < ordered_uuid(other, others)) == (one < other)


def test_of_now() -> None:
    made = [new_uuid() for _ in range(1_000)]
    assert len(set(made)) == 1_000
    assert [one[:8] for one in made] == sorted(one[:8] for one in made)
