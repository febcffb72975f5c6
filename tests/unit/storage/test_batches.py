"""Parts of what goes into one statement."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.storage.batches import parts


@given(st.lists(st.integers(), max_size=300), st.sampled_from([(64, 16, 4, 1), (8, 4, 2, 1), (1,)]))
def test_every_item_is_in_one_part_in_order_and_each_part_has_a_size(
    items: list[int], sizes: tuple[int, ...]
) -> None:
    some = list(parts(items, sizes))
    assert [item for part in some for item in part] == items
    assert {len(part) for part in some} <= set(sizes)


def test_few_parts_are_made() -> None:
    assert [len(part) for part in parts(range(87), (64, 16, 4, 1))] == [64, 16, 4, 1, 1, 1]
