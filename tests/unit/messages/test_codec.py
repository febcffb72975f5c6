"""The frame codec: what is encoded comes back, what breaks a rule gets the error of WIRE.md section 11."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.samples import json_values, messages, minimal
from zconnector.errors import Reason, WireError
from zconnector.messages.codec import decode, encode, encode_one, encode_packed
from zconnector.messages.fields import ANSWERED, FIELDS, REQUIRED
from zconnector.messages.kinds import (
    MAGIC,
    MAX_BATCH,
    MAX_HEADER,
    MAX_MESSAGE,
    MAX_PACKED_PAYLOAD,
    MAX_TRANSMISSION,
    SENT_AT_ONCE,
    VERSION,
    Flag,
    Kind,
)
from zconnector.messages.message import Message

BEAT = minimal(Kind.HEARTBEAT)


def prefix(
    kind: int = Kind.HEARTBEAT,
    *,
    magic: bytes = MAGIC,
    version: int = VERSION,
    flags: int = 0,
    spare: int = 0,
) -> bytes:
    return struct.pack(">2sBBHH", magic, version, kind, flags, spare)


def refused(frames: list[bytes]) -> WireError:
    with pytest.raises(WireError) as caught:
        decode(frames)
    return caught.value


def with_header(header: bytes, kind: int = Kind.HEARTBEAT, flags: int = 0) -> list[bytes]:
    return [prefix(kind, flags=flags), header, b""]


# ---- round trip


@given(messages())
def test_what_is_encoded_comes_back(message: Message) -> None:
    assert decode(encode_one(message)) == [message]


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("bits", range(8))
def test_every_kind_with_every_flag_comes_back(kind: Kind, bits: int) -> None:
    flags = Flag(bits)
    header = {"reference": "r"} if flags & Flag.ANSWER and kind in ANSWERED else minimal(kind).header
    message = Message(kind, header, b"\x00\xff", flags)
    assert decode(encode_one(message)) == [message]


@given(st.lists(messages(), max_size=8))
def test_a_batch_comes_back_in_order(batch: list[Message]) -> None:
    assert [m for frames in encode(batch) for m in decode(frames)] == batch


def test_a_prefix_is_as_the_document_draws_it() -> None:
    frames = encode_one(Message(Kind.FETCH, {"reference": "r"}, b"", Flag.ANSWER | Flag.PUSH))
    assert frames[0] == bytes.fromhex("5a43 01 16 0005 0000")


def test_reserved_bits_are_ignored_when_read() -> None:
    assert decode([prefix(spare=0xFFFF), b'{"received":1}', b""]) == [BEAT]


def test_flags_that_this_version_does_not_know_are_kept() -> None:
    frames = [prefix(flags=0x8000), b'{"received":1}', b""]
    assert encode_one(decode(frames)[0]) == frames


def test_fields_that_this_version_does_not_know_are_kept() -> None:
    header = {"received": 1, "from_version_9": {"deep": [1, None]}}
    assert decode(encode_one(Message(Kind.HEARTBEAT, header)))[0].header == header


# ---- transmissions: as few as the limits allow


def test_a_transmission_that_we_send_is_a_short_step_for_its_receiver() -> None:
    sizes = [len(frames) // 3 for frames in encode([BEAT] * (2 * SENT_AT_ONCE + 1))]
    assert sizes == [SENT_AT_ONCE, SENT_AT_ONCE, 1]


def test_a_transmission_has_at_most_8_000_000_bytes() -> None:
    big = Message(Kind.HEARTBEAT, {"received": 1}, bytes(3_000_000))
    transmissions = encode([big] * 5)
    assert [len(frames) // 3 for frames in transmissions] == [2, 2, 1]
    assert all(sum(map(len, frames)) <= MAX_TRANSMISSION for frames in transmissions)


def test_a_transmission_may_be_full_to_the_last_byte() -> None:
    half = of_size(MAX_MESSAGE)
    assert [len(frames) for frames in encode([half, half])] == [6]
    assert len(decode(encode([half, half])[0])) == 2


def test_nothing_makes_no_transmission() -> None:
    assert encode([]) == []


# ---- PACKs

CONFIRM = Message(Kind.CONFIRM, {"entries": []})


def packed(*messages: Message) -> list[list[bytes]]:
    return [frames for frames, _ in encode_packed(messages)]


@given(st.lists(messages(st.sampled_from([Kind.COMMAND, Kind.EVENT, Kind.CONFIRM, Kind.FETCH])), max_size=70))
def test_what_is_packed_comes_back_in_order(batch: list[Message]) -> None:
    transmissions = encode_packed(batch)
    assert [m for frames, _ in transmissions for m in decode(frames)] == batch
    assert all(len(decode(frames)) == count <= SENT_AT_ONCE for frames, count in transmissions)


def test_neighbours_share_three_frames_and_others_do_not() -> None:
    large = Message(Kind.CONFIRM, {"entries": []}, bytes(MAX_PACKED_PAYLOAD + 1))
    small = Message(Kind.CONFIRM, {"entries": []}, bytes(MAX_PACKED_PAYLOAD))
    assert [len(frames) for frames in packed(CONFIRM, small, minimal(Kind.EVENT))] == [3]
    assert [len(frames) for frames in packed(CONFIRM, large, CONFIRM, BEAT)] == [12]
    assert packed(CONFIRM) == [encode_one(CONFIRM)], "a lone one is as it always was"
    assert packed(CONFIRM, BEAT, CONFIRM) == encode([CONFIRM, BEAT, CONFIRM])


def test_a_pack_is_as_the_document_draws_it() -> None:
    event = Message(Kind.EVENT, {"uuid": "e", "topic": "t", "event": "e"}, b"ab", Flag.RECEIPT)
    ((prefix_, header, payload),) = packed(CONFIRM, event)
    assert prefix_ == bytes.fromhex("5a43 01 00 0000 0000")
    assert json.loads(header) == [[20, 0, 0, {"entries": []}], [2, 2, 2, event.header]]
    assert payload == b"ab"


def test_headers_that_do_not_fit_into_one_go_by_themselves() -> None:
    wide = Message(Kind.CONFIRM, {"entries": ["x" * 40_000]})
    assert packed(wide, wide) == encode([wide, wide])


def test_one_that_cannot_be_encoded_is_told_as_without_packs() -> None:
    with pytest.raises(WireError) as caught:
        encode_packed([CONFIRM, Message(Kind.CONFIRM, {"uuid": "u", "entries": [object()]})])
    assert caught.value.reason is Reason.BAD_HEADER


def test_reserved_bits_of_a_pack_are_ignored_and_its_version_is_not() -> None:
    _, header, payload = packed(CONFIRM, CONFIRM)[0]
    assert decode([prefix(0, spare=7), header, payload]) == [CONFIRM, CONFIRM]
    assert refused([prefix(0, version=9), header, payload]).reason is Reason.UNSUPPORTED_VERSION


@pytest.mark.parametrize("beside", [[], encode_one(BEAT)])
def test_each_message_of_a_pack_keeps_the_rules_of_its_kind(beside: list[bytes]) -> None:
    header = orjson.dumps([[20, 0, 0, {"entries": []}], [2, 0, 0, {"uuid": "e1", "topic": "t"}]])
    error = refused([prefix(0), header, b"", *beside])
    assert (error.reason, error.uuid) == (Reason.BAD_HEADER, "e1")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("none", "a message of a PACK is a list of kind, flags, size, fields"),
        ([20, 0, 0], "a message of a PACK is a list of kind, flags, size, fields"),
        ([6, 0, 0, {"received": 1}], "kind 6 does not travel in a PACK"),
        ([20.0, 0, 0, {"entries": []}], "kind 20.0 does not travel in a PACK"),
        ([20, True, 0, {"entries": []}], "flags True of a message of a PACK are none"),
        ([20, 0x10000, 0, {"entries": []}], "flags 65536 of a message of a PACK are none"),
        ([20, 0, False, {"entries": []}], "size False of a message of a PACK is none"),
        ([20, 0, -1, {"entries": []}], "size -1 of a message of a PACK is none"),
        ([20, 0, 0, ["entries"]], "header is a JSON list, must be an object"),
        ([20, 0, 0, {"uuid": "u", "entries": 1}], "entries must be list, not int"),
        ([20, 0, 0, {"uuid": "u"}], "CONFIRM lacks entries"),
    ],
)
def test_what_is_wrong_with_a_message_of_a_pack_is_said(entry: object, why: str) -> None:
    good = [20, 0, 0, {"entries": []}]
    assert refused([prefix(0), orjson.dumps([good, entry]), b""]).detail == why


def test_flags_of_a_pack_that_are_none_of_ours_are_kept() -> None:
    (message,) = decode([prefix(0), orjson.dumps([[20, 0x4003, 0, {"entries": []}]]), b""])
    assert message.flags == Flag(0x4003)


def test_a_header_in_a_pack_may_be_as_deep_as_any_and_no_deeper() -> None:
    deep: Any = []
    for _ in range(29):
        deep = [deep]
    fine = Message(Kind.CONFIRM, {"entries": [deep]})
    assert decode(packed(fine, fine)[0]) == [fine, fine]
    too_deep = Message(Kind.CONFIRM, {"entries": [[deep]]})
    assert refused(encode_one(too_deep)).reason is Reason.BAD_HEADER
    assert refused(packed(CONFIRM, too_deep)[0]).reason is Reason.BAD_HEADER


def test_the_messages_in_packs_count_for_a_transmission() -> None:
    many = packed(*[CONFIRM] * SENT_AT_ONCE)[0]
    assert len(decode(many * (MAX_BATCH // SENT_AT_ONCE))) == MAX_BATCH
    error = refused([*many * (MAX_BATCH // SENT_AT_ONCE), *encode_one(BEAT)])
    assert error.reason is Reason.BAD_FRAME
    one = orjson.dumps([[20, 0, 0, {"entries": []}]] * (MAX_BATCH + 1))
    assert refused([prefix(0), one, b""]).reason is Reason.BAD_FRAME


def test_a_pack_is_a_message_in_its_size() -> None:
    header = orjson.dumps([[20, 0, MAX_MESSAGE, {"entries": []}]])
    assert refused([prefix(0), header, bytes(MAX_MESSAGE)]).reason is Reason.TOO_LARGE
    wide = orjson.dumps([[20, 0, 0, {"entries": ["x" * MAX_HEADER]}]])
    assert refused([prefix(0), wide, b""]).reason is Reason.TOO_LARGE


_ENTRY = st.tuples(
    st.sampled_from([0, 2, 20, 6, True, "2"]), st.integers(-1, 9), st.integers(-1, 4), json_values
)


@given(
    st.binary(max_size=60) | st.lists(_ENTRY | json_values, max_size=4).map(orjson.dumps),
    st.binary(max_size=8),
)
def test_whatever_a_pack_holds_is_decoded_or_refused(header: bytes, payload: bytes) -> None:
    with contextlib.suppress(WireError):
        assert b"".join(m.payload for m in decode([prefix(0), header, payload])) == payload


# ---- what a sender may not do


def of_size(size: int) -> Message:
    """A message of exactly this many encoded bytes."""
    return Message(Kind.HEARTBEAT, {"received": 1}, bytes(size - 8 - len(b'{"received":1}')))


def test_a_message_of_the_limit_is_sent_and_one_byte_more_is_not() -> None:
    assert sum(map(len, encode_one(of_size(MAX_MESSAGE)))) == MAX_MESSAGE
    with pytest.raises(WireError) as caught:
        encode_one(of_size(MAX_MESSAGE + 1))
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_header_over_its_limit_is_not_sent() -> None:
    with pytest.raises(WireError) as caught:
        encode_one(Message(Kind.HEARTBEAT, {"received": 1, "uuid": "u", "x": "x" * MAX_HEADER}))
    assert (caught.value.reason, caught.value.uuid) == (Reason.TOO_LARGE, "u")


@pytest.mark.parametrize(
    "value",
    [object(), 2**64, b"bytes", "\ud800", {1: 2}],
    ids=["object", "2^64", "bytes", "surrogate", "key"],
)
def test_a_header_that_is_no_json_is_not_sent(value: object) -> None:
    with pytest.raises(WireError) as caught:
        encode_one(Message(Kind.HEARTBEAT, {"received": 1, "x": value}))
    assert caught.value.reason is Reason.BAD_HEADER


# ---- number of frames


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 3 * MAX_BATCH - 1])
def test_a_number_of_frames_that_is_no_multiple_of_three(count: int) -> None:
    assert refused((encode_one(BEAT) * MAX_BATCH)[:count]).reason is Reason.BAD_FRAME


def test_too_many_messages() -> None:
    assert refused(encode_one(BEAT) * (MAX_BATCH + 1)).reason is Reason.BAD_FRAME


def test_as_many_messages_as_there_may_be() -> None:
    assert len(decode(encode_one(BEAT) * MAX_BATCH)) == MAX_BATCH


# ---- prefix


@pytest.mark.parametrize("cut", range(8))
def test_a_truncated_prefix(cut: int) -> None:
    assert refused([prefix()[:cut], b'{"received":1}', b""]).reason is Reason.BAD_FRAME


def test_a_prefix_that_is_too_long() -> None:
    assert refused([prefix() + b"\0", b'{"received":1}', b""]).reason is Reason.BAD_FRAME


@pytest.mark.parametrize("magic", [b"CZ", b"zc", b"\0\0"])
def test_a_wrong_magic(magic: bytes) -> None:
    error = refused([prefix(magic=magic), b'{"received":1}', b""])
    assert error.reason is Reason.BAD_FRAME
    assert error.survives


@pytest.mark.parametrize("version", [v for v in (0, VERSION - 2, VERSION + 1, 255) if 0 <= v != VERSION])
def test_a_version_that_is_neither_this_nor_the_one_before(version: int) -> None:
    error = refused([prefix(version=version), b'{"received":1}', b""])
    assert error.reason is Reason.UNSUPPORTED_VERSION
    assert not error.survives
    assert f"version {version}" in error.detail, "names the peer's version"
    assert f"speaks {VERSION}" in error.detail, "names our own"


def test_another_version_is_told_before_anything_else_is_looked_at() -> None:
    """A later version may have kinds and headers that this one cannot read."""
    assert refused([prefix(200, version=9), b"\xff", b""]).reason is Reason.UNSUPPORTED_VERSION


@pytest.mark.parametrize("number", sorted({0, 7, 15, 24, 31, 35, 255} - {int(k) for k in Kind}))
def test_an_unknown_kind(number: int) -> None:
    assert refused([prefix(number), b'{"received":1}', b""]).reason is Reason.BAD_FRAME


# ---- sizes


def test_a_header_that_is_too_long() -> None:
    header = b'{"received":1,"x":"' + b"x" * MAX_HEADER + b'"}'
    assert refused(with_header(header)).reason is Reason.TOO_LARGE


def test_a_header_of_the_limit() -> None:
    frame = b'{"received":1,"x":"'
    frame += b"x" * (MAX_HEADER - len(frame) - 2) + b'"}'
    assert len(frame) == MAX_HEADER
    assert decode(with_header(frame))[0].kind is Kind.HEARTBEAT


def test_a_message_that_is_too_large() -> None:
    frames = encode_one(of_size(MAX_MESSAGE))
    assert decode(frames)
    assert refused([frames[0], frames[1], frames[2] + b"\0"]).reason is Reason.TOO_LARGE


def test_a_transmission_that_is_too_large() -> None:
    """Each of its messages keeps its own limit; together they break that of the transmission."""
    two = encode_one(of_size(MAX_MESSAGE)) * 2
    assert len(decode(two)) == 2
    assert refused(two + encode_one(BEAT)).reason is Reason.TOO_LARGE


# ---- header

_DEEP = 5_000

BAD_HEADERS = {
    "deeper than can be sent on": b'{"received":1,"x":' + b"[" * 300 + b"]" * 300 + b"}",
    "deeper than allowed": b'{"received":1,"x":' + b"[" * 32 + b"]" * 32 + b"}",
    "empty": b"",
    "truncated": b'{"received":1',
    "not JSON": b"received=1",
    "two documents": b'{"received":1}{}',
    "not UTF-8": b'{"received":1,"x":"\xff"}',
    "UTF-16": '{"received":1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"received":1}',
    "lone surrogate": b'{"received":1,"x":"\\ud800"}',
    "lone surrogate as a key": b'{"received":1,"\\udfff":1}',
    "encoded surrogate": b'{"received":1,"x":"\xed\xa0\x80"}',
    "control character": b'{"received":1,"x":"\x01"}',
    "NaN": b'{"received":NaN}',
    "infinity": b'{"received":1e999}',
    "nested too deep, lists": b'{"received":1,"x":' + b"[" * _DEEP + b"]" * _DEEP + b"}",
    "nested too deep, objects": b'{"received":1,"x":' + b'{"x":' * _DEEP + b"1" + b"}" * _DEEP + b"}",
    "a list": b"[1]",
    "a number": b"1",
    "a text": b'"received"',
    "null": b"null",
    "true": b"true",
    "int beyond 2^53": b'{"received":9007199254740993}',
    "int beyond 2^64": b'{"received":36893488147419103232}',
    "huge int": b'{"received":' + b"9" * 5000 + b"}",
    "negative huge int": b'{"received":-' + b"9" * 400 + b"}",
    "float for int": b'{"received":1.0}',
    "bool for int": b'{"received":true}',
    "text for int": b'{"received":"1"}',
    "null for int": b'{"received":null}',
    "missing": b"{}",
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_bad_header(name: str) -> None:
    error = refused(with_header(BAD_HEADERS[name]))
    assert error.reason is Reason.BAD_HEADER
    assert error.survives


_OF_ANOTHER_TYPE: dict[type, list[Any]] = {
    str: [1, None, True, [], {}],
    int: ["1", None, True, 1.5, [], {}],
    bool: [1, 0, "true", None],
    list: [{}, "", None, 1],
    dict: [[], "", None, 1],
}


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_another_type_is_refused_by_name(field: str) -> None:
    for value in _OF_ANOTHER_TYPE[FIELDS[field].type]:
        header = {**minimal(Kind.HEARTBEAT).header, field: value}
        error = refused(with_header(orjson.dumps(header)))
        assert error.reason is Reason.BAD_HEADER
        assert error.detail.startswith(f"{field} "), "names the field"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_required_field_is_missed_by_name(kind: Kind) -> None:
    for missing in REQUIRED[kind]:
        whole = minimal(kind)
        error = refused(encode_one(whole.without(missing)))
        assert error.reason is Reason.BAD_HEADER
        assert kind.name in error.detail
        assert missing in error.detail
        assert error.uuid == ("" if missing == "uuid" else whole.uuid), "the uuid where readable"


def test_an_answer_needs_its_reference_and_nothing_else() -> None:
    assert refused(with_header(b"{}", Kind.CONFIG, Flag.ANSWER)).reason is Reason.BAD_HEADER
    assert decode(with_header(b'{"reference":"u"}', Kind.CONFIG, Flag.ANSWER))[0].reference == "u"


@pytest.mark.parametrize("kind", sorted(set(Kind) - ANSWERED))
def test_the_flag_excuses_no_kind_that_has_no_answers(kind: Kind) -> None:
    """Otherwise a HELLO without its fields would reach code that relies on them."""
    bare = Message(kind, {"reference": "r"}, b"", Flag.ANSWER)
    assert refused(encode_one(bare)).reason is Reason.BAD_HEADER


def test_one_bad_message_refuses_the_whole_transmission() -> None:
    assert refused([*encode_one(BEAT), *with_header(b"{}")]).reason is Reason.BAD_HEADER


def test_the_uuid_told_is_the_bad_message_s_own() -> None:
    bad = orjson.dumps({"uuid": "the-bad-one", "command": 1})
    good = encode_one(Message(Kind.CONFIG, {"uuid": "the-good-one", "command": "GET"}))
    assert refused([*good, *with_header(bad, Kind.CONFIG)]).uuid == "the-bad-one"


@pytest.mark.parametrize("uuid", [1, None, ["u"], "u" * 65])
def test_a_uuid_that_breaks_its_own_rule_is_not_repeated(uuid: object) -> None:
    assert refused(with_header(orjson.dumps({"received": 1, "uuid": uuid}))).uuid == ""


# ---- whatever comes


_OF_THE_CODEC = (Reason.BAD_FRAME, Reason.BAD_HEADER, Reason.TOO_LARGE, Reason.UNSUPPORTED_VERSION)


def _decodes_or_refuses(frames: list[bytes]) -> None:
    try:
        outcome: int | Reason = len(decode(frames))
    except WireError as error:
        outcome = error.reason
    assert outcome in (len(frames) // 3, *_OF_THE_CODEC)


@given(st.lists(st.binary(max_size=40), max_size=7))
@example([])
def test_any_frames_are_decoded_or_refused(frames: list[bytes]) -> None:
    _decodes_or_refuses(frames)


_json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=8,
)


def _dumps(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.builds(prefix, st.sampled_from([int(k) for k in Kind]), flags=st.integers(0, 0xFFFF)),
            _json_like.map(_dumps) | st.binary(max_size=30),
            st.binary(max_size=20),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_header_behind_a_good_prefix_is_decoded_or_refused(
    three: list[tuple[bytes, bytes, bytes]],
) -> None:
    _decodes_or_refuses([frame for message in three for frame in message])


@given(
    messages(),
    st.integers(0, 2),
    st.integers(min_value=0),
    st.integers(0, 255),
    st.sampled_from(["flip", "cut", "add"]),
)
def test_a_damaged_message_is_decoded_or_refused(
    message: Message, frame: int, place: int, byte: int, how: str
) -> None:
    frames = encode_one(message)
    victim = frames[frame]
    at = place % (len(victim) + 1)
    damaged = {
        "flip": victim[:at] + bytes([byte]) + victim[at + 1 :],
        "cut": victim[:at],
        "add": victim[:at] + bytes([byte]) + victim[at:],
    }
    frames[frame] = damaged[how]
    _decodes_or_refuses(frames)


@pytest.mark.parametrize("kind", [Kind.HEARTBEAT, Kind.EVENT, Kind.CONFIRM, Kind.COMMAND])
def test_the_same_words_again_are_the_same_message(kind: Kind) -> None:
    """Headers of some kinds are remembered: with each payload, of each kind, and never a bad one."""
    message = minimal(kind)
    head, header, _ = encode_one(message)
    first, second = decode([head, header, b"one"])[0], decode([head, header, b"two"])[0]
    assert (first.kind, first.header, first.payload) == (kind, message.header, b"one")
    assert (second.kind, second.header, second.payload) == (kind, message.header, b"two")
    receipt = decode([prefix(kind, flags=Flag.RECEIPT), header, b""])[0]
    assert receipt.flags == Flag.RECEIPT
    for _ in range(2):
        with pytest.raises(WireError) as refused:
            decode([head, b"[]", b""])
        assert refused.value.reason is Reason.BAD_HEADER
        with pytest.raises(WireError) as refused:
            decode([head, header, bytes(MAX_MESSAGE)])
        assert refused.value.reason is Reason.TOO_LARGE
