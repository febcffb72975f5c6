"""A manifest: read back as it was; signed by whom, and what of it; any change is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from zconnector.errors import ConfigError, RepositoryError, UntrustedError
from zconnector.repository.manifest import File, Manifest, read_manifest, sign
from zconnector.repository.signing import PublicKey, SecretKey

KEY = SecretKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER = SecretKey(Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
ZIP, PIVOT = "workers/ci/jenkins/1/0/worker.zip", "configurations/ci/1_0_pivot.yaml"


def manifest(serial: int = 7, repository: str = "acme", timestamp: int = 1000) -> Manifest:
    files = (File.of(ZIP, b"zip"), File.of(PIVOT, b"pivot"))
    return sign(Manifest(repository, serial, timestamp, KEY.public, files), KEY)


FILES = st.builds(
    lambda type_, major, content: File.of(f"workers/{type_}/p/{major}/0/worker.zip", content),
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
    st.integers(0, 127),
    st.binary(max_size=20),
)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
    st.integers(1, 2**53),
    st.integers(0, 2**53),
    st.lists(FILES, max_size=5, unique_by=lambda file: file.path),
    st.none() | st.integers(1, 2**30),
)
def test_what_was_signed_is_read_back_and_holds(
    name: str, serial: int, time: int, files: list[File], life: int | None
) -> None:
    expires = None if life is None else min(time + life, 2**53)
    time = min(time, 2**53 - 1)
    signed = sign(Manifest(name, serial, time, KEY.public, tuple(files), expires=expires), KEY)
    found = read_manifest(signed.render(), "m")
    assert found == signed
    found.verify([KEY.public], "m")


def test_the_same_input_gives_the_same_bytes() -> None:
    first = manifest()
    again = sign(replace(first, files=tuple(reversed(first.files))), KEY)
    assert again.render() == first.render()


def test_blanks_and_order_of_the_text_do_not_matter() -> None:
    document = orjson.loads(manifest().render())
    text = orjson.dumps(dict(reversed(document.items())))
    read_manifest(text, "m").verify([KEY.public], "m")


@given(st.data())
def test_no_changed_byte_holds(data: Any) -> None:
    """Whatever still parses and says something else is refused."""
    good = manifest()
    text = bytearray(good.render())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255))
    try:
        found = read_manifest(bytes(text), "m")
        found.verify([KEY.public], "m")
    except (RepositoryError, UntrustedError):
        return
    assert found == good  # only blanks were changed


CHANGES: dict[str, Any] = {
    "serial": lambda m: replace(m, serial=8),
    "timestamp": lambda m: replace(m, timestamp=1),
    "repository": lambda m: replace(m, repository="evil"),
    "a file less": lambda m: replace(m, files=m.files[1:]),
    "another path": lambda m: replace(
        m, files=(replace(m.files[0], path=PIVOT.replace("1_0", "1_1")), m.files[1])
    ),
    "another size": lambda m: replace(m, files=(replace(m.files[0], size=1), m.files[1])),
    "signatures swapped": lambda m: replace(
        m, files=tuple(replace(f, signature=g.signature) for f, g in zip(m.files, m.files[::-1], strict=True))
    ),
    "a signature of a file for the whole": lambda m: replace(m, signature=m.files[0].signature),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_refused(change: str) -> None:
    with pytest.raises(UntrustedError, match="signature is not one by"):
        CHANGES[change](manifest()).verify([KEY.public], "m")


def test_a_file_whose_own_signature_is_of_another_repository() -> None:
    """Signed as a whole by the right key, with a file's signature taken from elsewhere."""
    foreign = sign(replace(manifest(), repository="other"), KEY)
    mixed = replace(manifest(), files=foreign.files, signature=b"")
    mixed = replace(mixed, signature=KEY.sign(mixed.signed_bytes()))
    with pytest.raises(UntrustedError, match=r"the signature of configurations/ci/1_0_pivot\.yaml"):
        mixed.verify([KEY.public], "m")


def test_another_key_is_refused_by_name() -> None:
    with pytest.raises(UntrustedError, match="must be by a pinned key") as raised:
        sign(manifest(), OTHER).verify([KEY.public], "m")
    assert str(OTHER.public) in str(raised.value)
    assert str(KEY.public) in str(raised.value)


def test_the_pinned_key_that_a_manifest_only_claims_does_not_help() -> None:
    forged = replace(sign(manifest(), OTHER), key=KEY.public)
    with pytest.raises(UntrustedError, match="its signature is not"):
        forged.verify([KEY.public], "m")


def test_without_pins_nothing_holds() -> None:
    with pytest.raises(UntrustedError):
        manifest().verify([], "m")


def test_one_of_several_pins_is_enough() -> None:
    manifest().verify([OTHER.public, KEY.public], "m")


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("format", 2, "format must be 1"),
        ("format", True, "format must be 1"),
        ("serial", 0, "serial must be an integer from 1"),
        ("serial", 1.0, "serial must be an integer"),
        ("timestamp", "now", "timestamp must be an integer"),
        ("repository", "../x", "name of a repository must be"),
        ("repository", 3, "repository must be a text"),
        ("key", "ed25519:AAAA", "a public key must be"),
        ("signature", "AAAA", "signature must be base64 of 64 bytes"),
        ("files", {}, "files must be a list"),
        ("files", [3], "must be a JSON object"),
        ("files", [{}], "lacks path"),
        ("more", 1, "it has 'more'"),
    ],
)
def test_a_field_that_breaks_its_rule(field: str, value: object, rule: str) -> None:
    document = orjson.loads(manifest().render())
    document[field] = value
    with pytest.raises(RepositoryError, match=r"m: |m must") as raised:
        read_manifest(orjson.dumps(document), "m")
    assert rule in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("path", "../etc/passwd", "path must be one of the layout"),
        ("sha256", "A" * 64, "lower-case hex"),
        ("size", -1, "size must be an integer"),
        ("size", 2**41, "size must be an integer"),
    ],
)
def test_a_field_of_a_file_that_breaks_its_rule(field: str, value: object, rule: str) -> None:
    document = orjson.loads(manifest().render())
    document["files"][0][field] = value
    with pytest.raises(RepositoryError, match=rule):
        read_manifest(orjson.dumps(document), "m")


def test_a_path_twice_is_refused() -> None:
    document = orjson.loads(manifest().render())
    document["files"] *= 2
    with pytest.raises(RepositoryError, match="each once"):
        read_manifest(orjson.dumps(document), "m")


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"null", b"{", b'{"format": 1'])
def test_what_is_no_manifest(text: bytes) -> None:
    with pytest.raises(RepositoryError, match="m "):
        read_manifest(text, "m")


def test_the_content_of_a_file() -> None:
    file = File.of(ZIP, b"zip")
    file.check(b"zip", "here")
    with pytest.raises(UntrustedError, match="here has 4 bytes, must have 3"):
        file.check(b"zip!", "here")
    with pytest.raises(UntrustedError, match="here has SHA-256"):
        file.check(b"zap", "here")


def test_the_text_of_a_key() -> None:
    assert PublicKey.from_text(str(KEY.public)) == KEY.public
    for wrong in (
        "",
        "ed25519:",
        str(KEY.public)[8:],
        str(KEY.public) + "=",
        str(KEY.public) + "\n",
        "ed25519:é",
    ):
        with pytest.raises(ConfigError, match="a public key must be"):
            PublicKey.from_text(wrong)


def test_when_it_expires_is_signed_too() -> None:
    late = sign(replace(manifest(), expires=2000), KEY)
    late.verify([KEY.public], "m")
    for changed in (
        replace(late, expires=3000),
        replace(late, expires=None),
        replace(manifest(), expires=3000),
    ):
        with pytest.raises(UntrustedError, match="its signature is not"):
            changed.verify([KEY.public], "m")


def test_one_without_a_date_of_expiry_is_what_it_was() -> None:
    """Signed before there were such dates: the same bytes."""
    assert b"expires" not in manifest().signed_bytes()
    assert read_manifest(manifest().render(), "m").expires is None


@pytest.mark.parametrize("value", [1000, 0, -1, 2**53 + 1, True, None, "2000", 2000.5])
def test_a_date_of_expiry_that_cannot_be(value: Any) -> None:
    document = {**orjson.loads(manifest().render()), "expires": value}
    with pytest.raises(RepositoryError, match="expires must be an integer from 1001"):
        read_manifest(orjson.dumps(document), "m")
