"""Batches of zconnector.v1: what goes into one call, and what comes out of one answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.errors import Reason, Refusal
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.rpc.v1.feed import split
from zconnector.rpc.v1.settling import MOST, batch, read
from zconnector.rpc.v1.status import info_of, limit_of, trailing
from zconnector.worker.exchange import together

texts = st.text(max_size=200)
outcomes = st.lists(
    st.tuples(
        st.fixed_dictionaries({"uuid": texts, "token": texts, "outcome": st.just("fail"), "error": texts}),
        st.integers(0, 3_900_000),
    ),
    min_size=1,
    max_size=400,
)


@given(outcomes)
def test_every_batch_fits_into_a_call_and_nothing_is_left_out(
    found: list[tuple[dict[str, str], int]],
) -> None:
    waiting = [({**args, "size": size}, b"") for args, size in found]
    left = [(args, _Sized(args["size"])) for args, _ in waiting]  # type: ignore[arg-type]
    sent = 0
    while left:
        count = batch(left)  # type: ignore[arg-type]
        assert 1 <= count <= MOST
        some, left = left[:count], left[count:]
        sent += count
        payload = sum(len(body) for _, body in some)
        args = {"holder": "h" * 32, "outcomes": [args for args, _ in some]}
        frames = encode_one(Message(Kind.CALL, {"call": 2**53, "op": "settle", "args": args}, b""))
        assert payload + sum(map(len, frames)) <= 4_000_000
    assert sent == len(waiting)


class _Sized:
    """Stands for so many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_an_answer_is_split_as_its_sizes_say(payloads: list[bytes]) -> None:
    listed = [{"uuid": str(place), "size": len(payload)} for place, payload in enumerate(payloads)]
    assert [part for _, part in split(listed, b"".join(payloads))] == payloads


@given(st.lists(st.integers(0, 50), min_size=1, max_size=50), st.integers(0, 100))
def test_together_takes_what_fits_and_at_least_one(sizes: list[int], most: int) -> None:
    items = list(sizes)
    first = together(items, most, lambda size: size)
    assert first + items == sizes
    assert len(first) == 1 or (first and sum(first) <= most)


def test_an_answer_that_is_short_or_strange_is_the_queues_fault() -> None:
    asked = [({"uuid": str(number)}, b"") for number in range(4)]
    told = read(
        {
            "results": [
                {"uuid": "0"},
                {"uuid": "1", "error": {"code": "FENCED", "detail": "DONE"}},
                {"uuid": "2", "error": {"code": "NEW_ONE", "detail": "?"}},
            ]
        },
        asked,
    )
    assert told[0] is None
    assert [refusal.reason for refusal in told[1:] if refusal] == [
        Reason.FENCED,
        Reason.BAD_HEADER,
        Reason.BAD_HEADER,
    ]


def test_a_refusal_travels_as_error_info() -> None:
    refusal = Refusal(Reason.QUEUE_FULL, "100000 commands, limit 100000", "u-1")
    info = info_of(trailing(refusal, missing="[]"))
    assert info is not None
    assert (info.reason, info.domain) == ("QUEUE_FULL", "zconnector")
    assert dict(info.metadata) == {"uuid": "u-1", "limit": "100000", "missing": "[]"}
    assert limit_of(Refusal(Reason.BUSY, "no number here")) == 0
    assert info_of([("grpc-status-details-bin", b"\xff\xff")]) is None
    assert info_of(None) is None
