"""Stored messages come back as they were; damaged ones are a StorageError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.errors import StorageError
from zconnector.messages import Flag, Kind, Message
from zconnector.queue.bodies import Messages
from zconnector.queue.envelope import is_text, pack, unpack

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
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


def test_text() -> None:
    assert is_text(Message(Kind.COMMAND, {"uuid": "é"}, "é".encode()))
    assert not is_text(Message(Kind.COMMAND, {"uuid": "u"}, b"\xff"))
    assert not is_text(Message(Kind.COMMAND, {"uuid": "\ud800"}, b""))


class Counting:
    def __init__(self) -> None:
        self.reads: list[int | str] = []

    def body(self, space: str, key: int | str) -> bytes:
        self.reads.append(key)
        return b"x" * 20


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
