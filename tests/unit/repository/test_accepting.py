"""What may follow what was accepted: transcripts of honest and of dishonest repositories."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zconnector.errors import UntrustedError
from zconnector.repository.accepting import Accepted, check_follows, read_accepted
from zconnector.repository.manifest import File, Manifest, sign
from zconnector.repository.signing import SecretKey

KEY = SecretKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
NOW = 2_000_000
A, B = "https://a.example", "https://b.example"


def manifest(serial: int, timestamp: int = 1000, repository: str = "acme", content: bytes = b"") -> Manifest:
    files = (File.of("configurations/ci/1_0_pivot.yaml", content),)
    return sign(Manifest(repository, serial, timestamp, KEY.public, files), KEY)


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
    with pytest.raises(UntrustedError, match="is dated 5601, must be at most 3600 s ahead"):
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
