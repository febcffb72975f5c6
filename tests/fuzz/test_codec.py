"""The frame codec: whatever comes, messages or a WireError; what is read can be written."""

from __future__ import annotations

from hypothesis import example, given

from tests.fuzz.frames import transmissions
from tests.fuzz.profile import examples
from zconnector.errors import WireError
from zconnector.messages.codec import decode, encode_one
from zconnector.messages.depth import MAX_HEADER_DEPTH, is_deeper
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message, body_digest, receipt
from zconnector.queue.envelope import pack, unfit, unpack

TOO_DEEP = b'{"uuid":"u","topic":"t","event":"e","x":' + b"[" * 300 + b"]" * 300 + b"}"


@examples(150)
@given(transmissions)
@example([b"ZC\x01\x02\0\0\0\0", TOO_DEEP, b""])
def test_frames_are_messages_or_a_wire_error(frames: list[bytes]) -> None:
    refused = None
    try:
        batch = decode(frames)
    except WireError as error:
        refused = error
    if refused is not None:
        assert 0 < len(refused.detail) < 1000
        assert len(refused.uuid) <= 64
        return
    assert len(batch) >= len(frames) // 3, "more where there are PACKs"
    for message in batch:
        assert not is_deeper(dict(message.header), MAX_HEADER_DEPTH)
        assert decode(encode_one(message)) == [message], "every hop can send it on"
        assert unpack(pack(message)) == message, "every queue can store it"
        assert receipt(message, "REJECTED", reason="x", detail=repr(message.header)).header
        assert len(body_digest(message)) == 64
        if unfit(message) is None:
            decode(
                encode_one(
                    Message(Kind.RESULT, {"call": 2**53, "args": dict(message.header)}, message.payload)
                )
            )
