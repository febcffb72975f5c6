"""What may follow what was accepted: transcripts of honest and of dishonest repositories."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from zconnector.errors import StaleError, UntrustedError
from zconnector.repository.accepting import (
    Accepted,
    Highest,
    check_follows,
    check_unexpired,
    highest,
    read_accepted,
    read_highest,
)
from zconnector.repository.manifest import File, Manifest, sign
from zconnector.repository.signing import SecretKey

KEY = SecretKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER = SecretKey(Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
NOW = 2_000_000
A, B = "https://a.example", "https://b.example"


def manifest(
    serial: int,
    timestamp: int = 1000,
    repository: str = "acme",
    content: bytes = b"",
    key: SecretKey = KEY,
    expires: int | None = None,
) -> Manifest:
    files = (File.of("configurations/ci/1_0_pivot.yaml", content),)
    return sign(Manifest(repository, serial, timestamp, key.public, files, expires=expires), key)


BEFORE = [Accepted(A, manifest(5)), Accepted("https://c.example", manifest(9, repository="other"))]


def test_the_first_one_is_taken() -> None:
    check_follows(manifest(1), A, [], NOW)


@pytest.mark.parametrize("serial", [5, 6, 500])
def test_the_same_and_a_later_one_are_taken(serial: int) -> None:
    check_follows(manifest(serial), A, BEFORE, NOW)


def test_an_older_one_is_refused_wherever_it_is() -> None:
    for address in (A, B):
        with pytest.raises(UntrustedError, match="has serial 4, must have at least 5"):
            check_follows(manifest(4), address, BEFORE, NOW)


def test_two_of_one_serial_are_refused() -> None:
    with pytest.raises(UntrustedError, match="another manifest with serial 5"):
        check_follows(manifest(5, content=b"x"), A, BEFORE, NOW)


def test_a_later_serial_with_an_earlier_date_is_refused() -> None:
    with pytest.raises(UntrustedError, match="is dated 999, must not be before 1000"):
        check_follows(manifest(6, 999), A, BEFORE, NOW)


def test_another_repository_at_a_known_address_is_refused() -> None:
    with pytest.raises(UntrustedError, match="of repository 'other', must be of 'acme' as before"):
        check_follows(manifest(9, repository="other"), A, BEFORE, NOW)


def test_a_name_that_is_pinned() -> None:
    check_follows(manifest(1), B, [], NOW, "acme")
    with pytest.raises(UntrustedError, match="of repository 'acme', must be of 'mine'"):
        check_follows(manifest(1), B, [], NOW, "mine")


def test_a_date_ahead_of_the_clock_is_refused() -> None:
    check_follows(manifest(1, 2000 + 3600), A, [], NOW)
    # It may be this clock that is wrong: as with one out of date, that says nothing against what is in it.
    with pytest.raises(StaleError, match="is dated 5601, must be at most 3600 s ahead"):
        check_follows(manifest(1, 2000 + 3601), A, [], NOW)


def test_what_was_accepted_is_read_back() -> None:
    accepted = Accepted(A, manifest(5), '"tag"')
    assert read_accepted(accepted.render()) == accepted


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b'{"address":1,"etag":"","manifest":""}', b"\xff"]
)
def test_what_is_damaged_is_none(content: bytes) -> None:
    assert read_accepted(content) is None
    whole = Accepted(A, manifest(5)).render()
    assert read_accepted(whole[:-20]) is None


def test_the_highest_serial_counts_where_the_record_of_the_address_is_gone_or_another() -> None:
    """What is remembered of an address is one manifest: of two keys in turn it knew the last."""
    serials = [Highest.of(manifest(5))]
    for before in ([], [Accepted(A, manifest(2))]):
        with pytest.raises(StaleError, match="has serial 4, must have at least 5"):
            check_follows(manifest(4), A, before, NOW, serials=serials)
    check_follows(manifest(5), A, [], NOW, serials=serials)
    with pytest.raises(UntrustedError, match="another manifest with serial 5"):
        check_follows(manifest(5, content=b"x"), A, [], NOW, serials=serials)


def test_while_two_keys_are_pinned_both_count() -> None:
    """A key is being replaced: an old manifest by the old one is a rollback."""
    both = (KEY.public, OTHER.public)
    serials = [Highest.of(manifest(6, key=OTHER))]
    with pytest.raises(StaleError, match="has serial 5, must have at least 6"):
        check_follows(manifest(5), A, [], NOW, serials=serials, pinned=both)
    check_follows(manifest(7), A, [], NOW, serials=serials, pinned=both)


def test_what_a_key_that_is_not_pinned_any_more_has_signed_counts_no_more() -> None:
    """Else whoever stole it could have signed a serial after which nothing may follow."""
    stolen = Accepted(A, manifest(1 << 50, 5000, key=OTHER))
    serials = [Highest.of(stolen.manifest)]
    with pytest.raises(StaleError, match=f"must have at least {1 << 50}"):
        check_follows(manifest(7), A, [stolen], NOW, serials=serials)
    check_follows(manifest(7), A, [stolen], NOW, serials=serials, pinned=[KEY.public])
    with pytest.raises(UntrustedError, match="of repository 'other', must be of 'acme' as before"):
        check_follows(manifest(7, repository="other"), A, [stolen], NOW, pinned=[KEY.public])


def test_the_highest_of_each_repository_and_key() -> None:
    made = [manifest(2), manifest(9), manifest(3), manifest(4, key=OTHER), manifest(1, repository="other")]
    found = highest(Highest.of(each) for each in made)
    assert {(name, key): one.serial for (name, key), one in found.items()} == {
        ("acme", KEY.public): 9,
        ("acme", OTHER.public): 4,
        ("other", KEY.public): 1,
    }
    assert len({one.name for one in found.values()}) == 3


def test_a_highest_serial_is_read_back() -> None:
    one = Highest.of(manifest(5))
    assert read_highest(one.render()) == one
    for content in (b"", b"{}", b"[]", b"null", one.render()[:-9], one.render().replace(b":5,", b":true,")):
        assert read_highest(content) is None


def test_an_expired_one_is_told_with_its_date() -> None:
    check_unexpired(manifest(5), A, NOW)
    check_unexpired(manifest(5, expires=2001), A, NOW)
    with pytest.raises(StaleError) as raised:
        check_unexpired(manifest(5, expires=2000), A, NOW)
    assert str(raised.value).startswith(
        f"manifest of {A} (serial 5) expired at 1970-01-01T00:33:20+00:00, "
        "now it is 1970-01-01T00:33:20+00:00: nothing new"
    )


SCALARS = st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.floats() | st.text(max_size=9)


@given(st.dictionaries(st.sampled_from(list(orjson.loads(Highest.of(manifest(5)).render()))), SCALARS))
def test_whatever_stands_in_a_file_of_a_serial_is_read_or_damaged(changed: dict[str, Any]) -> None:
    document = {**orjson.loads(Highest.of(manifest(5)).render()), **changed}
    found = read_highest(json.dumps(document).encode())
    if found is not None:
        assert read_highest(found.render()) == found
