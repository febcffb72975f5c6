"""The last lines of supervised workers."""

from __future__ import annotations

from zconnector.connector.logbook import MAX_LINES, LogBook


def book(count: int) -> LogBook:
    logs = LogBook()
    for number in range(count):
        logs.add(number, {"worker": f"Ci-1.{number % 2}", "line": str(number)})
    return logs


def lines(found: list[dict[str, object]]) -> list[object]:
    return [line["line"] for line in found]


def test_at_first_the_last_lines_then_each_that_follows() -> None:
    logs = book(10)
    assert lines(logs.read("", 0, 3)) == ["7", "8", "9"]
    assert lines(logs.read("", 4, 3)) == ["4", "5", "6"]  # none is passed over by who follows
    assert lines(logs.read("Ci-1.1", 0, 2)) == ["7", "9"]


def test_the_oldest_go_first() -> None:
    logs = book(MAX_LINES + 5)
    assert lines(logs.read("", 1, 1)) == ["5"]
    assert logs.last == MAX_LINES + 5
