from __future__ import annotations

from typing import Any

from zconnector.actions import Link, Note, Transmit
from zconnector.clock import Instant
from zconnector.messages import Kind, Message
from zconnector.messages.codec import Frames, decode
from zconnector.runtime.outbox import Flushed, Outbox

NOW = Instant(0.0, 0)


def event(name: str, size: int = 0) -> Message:
    return Message(Kind.EVENT, {"uuid": name, "topic": "t", "event": "e"}, bytes(size))


class Wire:
    """Takes so many transmissions for each link, then no more."""

    def __init__(self, room: int = 1_000) -> None:
        self.room = room
        self.sent: list[tuple[Link, list[str]]] = []
        self.refused: list[str] = []
        self.frames: list[int] = []

    def send(self, link: Link, frames: Frames) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        self.frames.append(len(frames))
        self.sent.append((link, [message.uuid for message in decode(frames)]))
        return True

    def transmit(self, link: Link, *messages: Message) -> Transmit:
        def refused(now: Instant) -> list[Any]:
            self.refused.append(messages[0].uuid)
            return []

        return Transmit(link, messages, refused)

    def settle(self, flushed: Flushed) -> list[Note]:
        for then in flushed.refused:
            then(NOW)
        return [note for note in flushed.notes if isinstance(note, Note)]


def test_one_transmission_a_link_in_order() -> None:
    wire = Wire()
    outbox = Outbox(wire.send)
    for link, name in ((1, "a"), (b"x", "b"), (1, "c"), (b"x", "d")):
        outbox.add(wire.transmit(link, event(name)))
    assert wire.settle(outbox.flush()) == []
    assert wire.sent == [(1, ["a", "c"]), (b"x", ["b", "d"])]
    assert not outbox.waiting


def test_one_link_may_be_flushed_alone() -> None:
    wire = Wire()
    outbox = Outbox(wire.send)
    outbox.add(wire.transmit(1, event("a")))
    outbox.add(wire.transmit(2, event("b")))
    outbox.flush(2)
    outbox.flush(3)
    assert wire.sent == [(2, ["b"])]
    assert outbox.waiting


def test_limits_of_a_transmission_split_it() -> None:
    wire = Wire()
    outbox = Outbox(wire.send)
    for name in ("a", "b", "c"):
        outbox.add(wire.transmit(1, event(name, 3_000_000)))
    outbox.flush()
    assert wire.sent == [(1, ["a", "b"]), (1, ["c"])]


def test_what_a_socket_does_not_take_is_refused_and_nothing_overtakes() -> None:
    wire = Wire(room=1)
    outbox = Outbox(wire.send)
    for name in ("a", "b", "c", "d"):
        outbox.add(wire.transmit(1, event(name, 3_000_000)))
    assert wire.settle(outbox.flush()) == []
    assert wire.sent == [(1, ["a", "b"])]
    assert wire.refused == ["c", "d"]


def test_a_transmit_that_went_in_part_is_not_called_refused() -> None:
    wire = Wire(room=1)
    outbox = Outbox(wire.send)
    outbox.add(wire.transmit(1, *(event(f"m{number}") for number in range(100))))
    outbox.add(wire.transmit(1, event("after")))
    notes = wire.settle(outbox.flush())
    assert wire.refused == ["after"]
    assert [(note.level, note.fields["messages"], note.fields["uuid"]) for note in notes] == [
        ("warning", 36, "m64")
    ]


def test_one_that_cannot_be_encoded_is_refused_alone_with_a_note() -> None:
    wire = Wire()
    outbox = Outbox(wire.send)
    for message in (event("a"), event("huge", 4_000_000), event("b")):
        outbox.add(wire.transmit(1, message))
    notes = wire.settle(outbox.flush())
    assert wire.refused == ["huge"]
    assert [name for _, names in wire.sent for name in names] == ["a", "b"]
    assert [(note.level, note.fields["uuid"], note.fields["reason"]) for note in notes] == [
        ("error", "huge", "TOO_LARGE")
    ]


def test_nothing_to_send_is_nothing() -> None:
    wire = Wire()
    outbox = Outbox(wire.send)
    outbox.add(Transmit(1, ()))
    assert not outbox.waiting
    assert wire.settle(outbox.flush()) == []


def test_a_peer_that_reads_packs_gets_them_and_what_was_not_handed_over_is_refused() -> None:
    wire = Wire(room=2)
    outbox = Outbox(wire.send)
    names = [f"e{number}" for number in range(200)]
    for name in names:
        transmit = wire.transmit(1, event(name))
        transmit.packs = True
        outbox.add(transmit)
    wire.settle(outbox.flush())
    assert wire.frames == [3, 3]
    assert [uuid for _, uuids in wire.sent for uuid in uuids] == names[:128]
    assert wire.refused == names[128:]


def test_any_other_peer_gets_three_frames_for_each() -> None:
    wire = Wire()
    outbox = Outbox(wire.send)
    for name in ("a", "b"):
        outbox.add(wire.transmit(1, event(name)))
    outbox.flush()
    assert wire.frames == [6]
