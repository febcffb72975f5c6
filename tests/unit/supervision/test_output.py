"""Output of workers as bounded lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.supervision.masking import Mask
from zconnector.supervision.output import LINES_AT_ONCE, MAX_LINE, Output

NOTHING = Mask()


def fed(*chunks: bytes, hide: Mask = NOTHING) -> list[str]:
    output = Output(hide, 0.0)
    return [line for chunk in chunks for line in output.feed(chunk, 0.0)] + list(output.end(0.0))


@given(st.lists(st.text("ab\n", max_size=20).map(str.encode), max_size=20))
def test_lines_are_the_same_however_they_arrive(chunks: list[bytes]) -> None:
    whole = b"".join(chunks).decode()
    expected = whole.split("\n")
    if not expected[-1]:
        expected.pop()
    assert fed(*chunks) == expected


@given(st.integers(1, 3 * MAX_LINE), st.integers(1, MAX_LINE * 2))
def test_a_long_line_is_cut_once(length: int, chunk: int) -> None:
    data = b"x" * length + b"\nnext\n"
    lines = fed(*(data[begin : begin + chunk] for begin in range(0, len(data), chunk)))
    assert lines == ["x" * min(length, MAX_LINE) + (" [cut]" if length > MAX_LINE else ""), "next"]


def test_too_many_lines_are_counted_not_kept() -> None:
    output = Output(NOTHING, 0.0)
    most = int(LINES_AT_ONCE)
    assert len(list(output.feed(b"line\n" * (most + 70), 0.0))) == most
    assert output.dropped == 70
    assert list(output.feed(b"half", 0.0)) == []
    assert list(output.feed(b" and half\n", 1.0)) == ["half and half"]


def test_reading_pauses_after_a_flood_and_goes_on() -> None:
    output = Output(NOTHING, 0.0)
    assert output.pause(0.0) == 0
    list(output.feed(b"x" * 4_000_000, 0.0))
    pause = output.pause(0.0)
    assert 0 < pause < 1
    assert output.pause(pause) == 0


def test_secrets_are_masked_and_control_characters_shown() -> None:
    assert fed(b"key=s3cret s3cret-long\x1b[31m\r\n", hide=Mask(("s3cret", "s3cret-long", ""))) == [
        "key=*** ***\ufffd[31m"
    ]
    cut = fed(b"x" * (MAX_LINE - 3) + b"s3cret\n", hide=Mask(("s3cret",)))
    assert "s3c" not in cut[0]


def test_bytes_that_are_no_text() -> None:
    assert fed(b"\xff\xfe\n") == ["\ufffd\ufffd"]


def test_a_number_is_masked_where_it_stands_alone() -> None:
    hide = Mask(numbers=("4711", "12.5678"))
    assert fed(b"pin=4711 -4711 [4711,4711.0] 12.5678 x_4711\n", hide=hide) == [
        "pin=*** -*** [***,***.0] *** x_***"
    ]
    others = "147110 47110 0x4711f deadbeef4711 v4711 12.56789"
    assert fed(f"{others}\n".encode(), hide=hide) == [others]
    cut = fed(b"x" * (MAX_LINE - 3) + b" 4711\n", hide=hide)
    assert " 47" not in cut[0]
