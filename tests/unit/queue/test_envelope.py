"""Stored messages come back as they were; damaged ones are a StorageError."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.errors import StorageError, WireError
from zconnector.messages import Flag, Kind, Message
from zconnector.messages.codec import decode, encode_one
from zconnector.queue.bodies import AHEAD, AHEAD_MOST, READ, Messages
from zconnector.queue.envelope import pack, unfit, unpack

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
messages = st.builds(
    Message,
    st.sampled_from([Kind.COMMAND, Kind.EVENT]),
    st.dictionaries(texts, values, max_size=6),
    st.binary(max_size=50),
    st.sampled_from([Flag.NONE, Flag.RECEIPT, Flag.PUSH]),
)


@given(messages)
def test_round_trip(message: Message) -> None:
    assert unpack(pack(message)) == message


@given(messages, st.data())
def test_a_cut_body_is_a_storage_error_or_a_shorter_payload(message: Message, data: st.DataObject) -> None:
    body = pack(message)
    length = data.draw(st.integers(0, len(body) - len(message.payload) - 1))
    with pytest.raises(StorageError):
        unpack(body[:length])


@pytest.mark.parametrize("body", [b"", b"\xff" * 40, b"\x01\x00\x00\x00\x00\x00\x02[}"])
def test_nonsense_is_a_storage_error(body: bytes) -> None:
    with pytest.raises(StorageError):
        unpack(body)


def nested(levels: int) -> dict[str, Any]:
    return {"uuid": nested(levels - 1)} if levels > 1 else {"uuid": "u"}


def delivered(message: Message) -> bool:
    """Whether it comes through the door and into the texts of a worker's message."""
    result = Message(Kind.RESULT, {"call": 2**53, "args": dict(message.header)}, message.payload)
    try:
        decode(encode_one(result))
        message.payload.decode()
    except (WireError, UnicodeDecodeError):
        return False
    return True


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(Kind.COMMAND, {"uuid": "é"}, "é".encode()), None),
        (Message(Kind.COMMAND, {"uuid": "u"}, b"\xff"), "INVALID_PAYLOAD"),
        (Message(Kind.COMMAND, {"uuid": "\ud800"}, b""), "INVALID_PAYLOAD"),
        (Message(Kind.COMMAND, {"uuid": "u", "more": "x" * 65_500}, b""), "TOO_LARGE"),
        (Message(Kind.COMMAND, {"uuid": "u"}, bytes(3_999_960)), "TOO_LARGE"),
        (Message(Kind.COMMAND, nested(31), b""), None),
        (Message(Kind.COMMAND, nested(32), b""), "TOO_LARGE"),
    ],
    ids=["text", "payload", "surrogate", "header", "size", "deep", "too deep"],
)
def test_why_no_waiter_can_have_it(message: Message, reason: str | None) -> None:
    broken = unfit(message)
    assert (broken[0] if broken else None) == reason
    assert (broken is None) == delivered(message)


sizes = st.sampled_from([0, 1, 50, 65_000, 65_023, 65_024, 65_025, 65_500, 66_000, 4_000_000])


@given(sizes, sizes, st.integers(1, 34), st.booleans())
def test_that_the_stored_size_is_known_changes_no_verdict(
    header: int, payload: int, levels: int, text: bool
) -> None:
    message = Message(Kind.COMMAND, {**nested(levels), "more": "x" * header}, bytes(payload))
    assert unfit(message, text=text, size=len(pack(message))) == unfit(message, text=text)


class Counting:
    def __init__(self) -> None:
        self.reads: list[int | str] = []

    def body(self, space: str, key: int | str) -> bytes:
        self.reads.append(key)
        return b"x" * 20

    def bodies(self, space: str, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
        return []


def test_the_cache_is_bounded_in_bytes_and_keeps_the_most_recent() -> None:
    bodies = Counting()
    cache = Messages(bodies, limit=100)
    for key in range(6):
        cache.keep("commands", key, b"y" * 20)
    for key in (5, 4, 3, 2, 1):
        assert cache.body("commands", key) == b"y" * 20
    assert bodies.reads == []
    cache.body("commands", 0)
    assert bodies.reads == [0]
    cache.forget("commands", 4)
    cache.body("commands", 4)
    assert bodies.reads == [0, 4]
    cache.keep("commands", 9, b"z" * 90)
    cache.body("commands", 9)
    assert bodies.reads == [0, 4, 9], "one large body does not drive the others out"


class Shelf(Counting):
    """Rows 1 to 300, of which 70 is large; counts the reads, and keeps what was asked for at once."""

    def __init__(self) -> None:
        super().__init__()
        self.together: list[tuple[int, int]] = []

    def body(self, space: str, key: int | str) -> bytes:
        self.reads.append(key)
        return self._of(int(key))

    def bodies(self, space: str, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
        self.together.append((first, last))
        rows = [(key, self._of(key)) for key in range(first, min(last, 300) + 1)]
        return [(key, body) for key, body in rows if len(body) <= most]

    @staticmethod
    def _of(key: int) -> bytes:
        return b"%d" % key + (b"x" * 2 * AHEAD_MOST if key == 70 else b"")


def test_rows_asked_for_one_after_the_other_are_read_ahead() -> None:
    shelf = Shelf()
    cache = Messages(shelf)
    for key in range(1, 201):
        assert cache.body("commands", key).startswith(b"%d" % key)
    assert len(shelf.reads) < 10
    assert 70 in shelf.reads, "a large one is read by itself"
    assert max(last - first for first, last in shelf.together) < AHEAD


def test_rows_asked_for_here_and_there_are_not() -> None:
    shelf = Shelf()
    cache = Messages(shelf)
    for key in (200, 100, 280, 5):
        cache.body("commands", key)
    assert shelf.together == []


def test_what_is_read_ahead_does_not_replace_what_was_stored_since() -> None:
    shelf = Shelf()
    cache = Messages(shelf)
    cache.keep("commands", 3, b"new")
    cache.body("commands", 1)
    cache.body("commands", 2)
    assert shelf.together == [(3, 2 + AHEAD)]
    assert cache.body("commands", 3) == b"new"


def test_a_disk_that_reads_one_row_only_is_heard_of_by_who_needs_the_others() -> None:
    class Failing(Shelf):
        def bodies(self, space: str, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
            raise StorageError("cannot be read")

    cache = Messages(Failing())
    assert [cache.body("commands", key) for key in (1, 2, 3)] == [b"1", b"2", b"3"]


def test_a_message_kept_with_its_body_is_not_read_from_it_again() -> None:
    cache = Messages(Counting())
    message = Message(Kind.EVENT, {"uuid": "e1"}, b"payload")
    cache.keep("events", 1, pack(message), message)
    assert cache.message("events", 1) is message
    assert cache.body("events", 1) == pack(message)
    cache.keep("events", 1, pack(message.with_fields(uuid="e2")))
    assert cache.message("events", 1).uuid == "e2"


def test_a_message_counts_for_more_than_its_body() -> None:
    bodies = Counting()
    cache = Messages(bodies, limit=4 * READ)
    message = Message(Kind.EVENT, {"uuid": "e1"})
    for key in range(4):
        cache.keep("events", key, pack(message), message)
    cache.body("events", 3)
    assert bodies.reads == []
    cache.body("events", 0)
    assert bodies.reads == [0]
    for key in range(1, 4):
        cache.forget("events", key)
    cache.keep("events", 9, b"y" * READ)
    assert cache.body("events", 0) == b"x" * 20, "what is forgotten makes room"
    assert bodies.reads == [0]
