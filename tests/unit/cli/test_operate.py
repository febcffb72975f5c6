"""What the operators' commands share: durations, sizes, and which connectors are meant."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from zconnector.cli.operate import DURATION, confirm, connectors_in, lasting, sizes, the_connector, when


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("90s", 90.0),
        ("1.5", 1.5),
        ("15m", 900.0),
        ("2h", 7_200.0),
        ("7d", 604_800.0),
        ("0", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1w", "1 h", "1e3", "nan", "inf", "h", "１", "9" * 400])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="duration"):
        DURATION.convert(text, None, None)


def test_times_and_sizes_for_people() -> None:
    spans = [lasting(ms) for ms in (None, 0, 59_900, 60_000, 3_600_000, 172_800_000)]
    assert spans == ["-", "0.0 s", "59.9 s", "1 min", "1 h", "2 d"]
    assert [sizes(n) for n in (0, 9_999, 10_000, 12_345_678)] == ["0 B", "9999 B", "10 kB", "12 MB"]
    assert when(0) == "-"
    assert when(1_000_000_000_000).startswith("2001-09-")


def test_which_connectors_are_meant(tmp_path: Path) -> None:
    assert connectors_in(tmp_path, "") == [tmp_path], "a component's own directory"
    assert the_connector(tmp_path, "") == tmp_path
    for name in ("git", "ci"):
        (tmp_path / "connector" / name).mkdir(parents=True)
    (tmp_path / "connector" / "a file").write_text("")
    assert [path.name for path in connectors_in(tmp_path, "")] == ["ci", "git"]
    assert the_connector(tmp_path, "git").name == "git"
    with pytest.raises(click.UsageError, match="ci, git"):
        the_connector(tmp_path, "")
    with pytest.raises(click.UsageError, match=r"no connector 'x'.*ci, git"):
        connectors_in(tmp_path, "x")


def test_nobody_to_ask_is_told_to_say_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    confirm("Remove it?", True)
    with pytest.raises(click.UsageError, match=r"Remove it\? Give --yes"):
        confirm("Remove it?", False)
