"""Boot ids that sort by time, uuids from a given source of randomness."""

from __future__ import annotations

import random
import uuid

from hypothesis import given
from hypothesis import strategies as st

from zconnector.clock import Instant
from zconnector.messages.fields import check_field
from zconnector.shoset.identity import Identity, boot_id, fresh_uuid

_WALLS = st.integers(0, 2**43)


@given(_WALLS, _WALLS, st.integers(), st.integers())
def test_of_two_processes_the_newer_is_known(one: int, other: int, seed: int, seed2: int) -> None:
    first = boot_id(Instant(0.0, min(one, other)), random.Random(seed))
    second = boot_id(Instant(0.0, max(one, other) + 1), random.Random(seed2))
    assert first < second
    assert check_field("boot", first) == ""


def test_two_starts_in_the_same_millisecond_differ() -> None:
    rng = random.Random(1)
    assert boot_id(Instant(0.0, 1), rng) != boot_id(Instant(0.0, 1), rng)


@given(st.integers())
def test_a_fresh_uuid_is_a_random_uuid_in_the_usual_notation(seed: int) -> None:
    text = fresh_uuid(random.Random(seed))
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def test_uuids_differ() -> None:
    rng = random.Random(0)
    assert len({fresh_uuid(rng) for _ in range(1000)}) == 1000


def test_an_identity_does_not_show_its_secret() -> None:
    identity = Identity("connector", "t", "git", "0", "b", secret=b"very secret")
    assert "very secret" not in repr(identity)
