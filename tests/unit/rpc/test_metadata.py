from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from zconnector.rpc import metadata


@given(st.text(max_size=300))
def test_any_text_travels_as_printable_ascii(text: str) -> None:
    encoded = metadata.encode_text(text)
    assert encoded.isascii()
    assert encoded == "" or encoded.isprintable()
    assert metadata.decode_text(encoded) == text


@given(st.text(max_size=30) | st.from_regex(r"[A-Za-z0-9._-]{0,30}", fullmatch=True))
def test_what_needs_no_quoting_is_as_quoted(text: str) -> None:
    assert metadata.encode_text(text) == quote(text, safe=" !#$&'()*+,/:;=?@[]-._~")


def test_a_long_text_is_cut_and_stays_readable() -> None:
    encoded = metadata.encode_text("é" * 10_000)
    assert len(encoded) <= 4_000
    assert set(metadata.decode_text(encoded)) <= {"é", "\ufffd"}


@given(st.lists(st.text(max_size=20), max_size=20))
def test_names(names: list[str]) -> None:
    encoded = metadata.encode_names(names)
    assert encoded.isascii()
    assert metadata.decode_names(encoded) == names


def test_names_beyond_the_room_are_left_out() -> None:
    names = [f"COMMAND_{number}" for number in range(1_000)]
    encoded = metadata.encode_names(names)
    assert len(encoded) <= 4_100
    found = metadata.decode_names(encoded)
    assert found == names[: len(found)]
    assert len(found) > 100


def test_what_is_no_list_is_no_names() -> None:
    assert metadata.decode_names("{") == []
    assert metadata.decode_names("{}") == []


def test_a_value_is_found_and_a_missing_one_is_empty() -> None:
    pairs = (("a", "1"), ("b", b"2"))
    assert metadata.value(pairs, "a") == "1"
    assert metadata.value(pairs, "b") == "2"
    assert metadata.value(pairs, "c") == ""
    assert metadata.value(None, "a") == ""


PAIRS = st.lists(st.tuples(st.sampled_from(("a", "b", "c-bin")), st.text(max_size=3) | st.binary(max_size=3)))


@given(PAIRS)
def test_what_was_heard_is_the_first_value_of_each_key(pairs: list[tuple[str, str | bytes]]) -> None:
    said = metadata.heard(pairs)
    assert set(said) == {name for name, _ in pairs}
    assert all(said[name] == metadata.value(pairs, name) for name in said)


def test_nothing_heard() -> None:
    assert metadata.heard(None) == {}
