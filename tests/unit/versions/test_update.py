"""When the next look for a newer version is due."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.versions.wanted import Mode, Update, next_due


def ms(text: str) -> int:
    """Milliseconds since 1970 of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def planned(at: str, zone: str) -> Update:
    return Update(Mode.PLANNED, 0.0, at, zone)


def test_manual_is_never_due() -> None:
    assert next_due(Update(), ms("2026-06-01T00:00")) is None


def test_auto_is_due_after_its_interval() -> None:
    assert next_due(Update(Mode.AUTO, 12.5), 1_000) == 13_500


@pytest.mark.parametrize(
    ("at", "zone", "now", "due"),
    [
        ("03:30", "UTC", "2026-06-01T03:29:59.999", "2026-06-01T03:30"),
        ("03:30", "UTC", "2026-06-01T03:30", "2026-06-02T03:30"),
        ("03:30", "UTC", "2026-12-31T04:00", "2027-01-01T03:30"),
        ("03:30:15", "UTC", "2026-06-01T03:30:14.999", "2026-06-01T03:30:15"),
        ("03:30:15", "UTC", "2026-06-01T03:30:15", "2026-06-02T03:30:15"),
        ("23:59:59", "Asia/Kathmandu", "2026-06-01T18:14:58", "2026-06-01T18:14:59"),
        ("03:30", "Europe/Paris", "2026-06-01T00:00", "2026-06-01T01:30"),
        ("03:30", "Europe/Paris", "2026-12-01T00:00", "2026-12-01T02:30"),
        ("00:15", "Asia/Tokyo", "2026-06-01T15:00", "2026-06-01T15:15"),  # tomorrow there
        ("23:45", "America/New_York", "2026-06-01T03:00", "2026-06-01T03:45"),  # yesterday there
        # 2026-03-29 in Paris has no 02:30: clocks go from 02:00 to 03:00.
        ("02:30", "Europe/Paris", "2026-03-28T12:00", "2026-03-29T01:30"),
        ("02:30", "Europe/Paris", "2026-03-29T01:30", "2026-03-30T00:30"),
        ("12:00", "Europe/Paris", "2026-03-28T12:00", "2026-03-29T10:00"),
        # 2026-10-25 in Paris has 02:30 twice: the first counts, the second is not due again.
        ("02:30", "Europe/Paris", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("02:30", "Europe/Paris", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("02:30", "Europe/Paris", "2026-10-25T01:00", "2026-10-26T01:30"),
        # Samoa had no 2011-12-30 at all.
        ("09:00", "Pacific/Apia", "2011-12-29T20:00", "2011-12-30T19:00"),
        ("09:00", "Pacific/Apia", "2011-12-30T19:00", "2011-12-31T19:00"),
    ],
)
def test_planned_is_due_at_that_time_of_the_zone(at: str, zone: str, now: str, due: str) -> None:
    assert next_due(planned(at, zone), ms(now)) == ms(due)


ZONES = st.sampled_from(
    ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
)


@given(ZONES, st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 4_000_000_000_000))
def test_planned_comes_once_a_day(zone: str, hour: int, minute: int, second: int, now: int) -> None:
    update = planned(f"{hour:02}:{minute:02}:{second:02}", zone)
    assert second or next_due(planned(f"{hour:02}:{minute:02}", zone), now) == next_due(update, now)
    due = next_due(update, now)
    assert due is not None
    assert now < due <= now + 50 * 3_600_000
    assert next_due(update, due - 1) == due
    local = datetime.fromtimestamp(due / 1000, UTC).astimezone(ZoneInfo(zone))
    back = local.replace(hour=hour, minute=minute, second=second, microsecond=0)
    exists = back.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == back.replace(tzinfo=None)
    assert (local.hour, local.minute, local.second) == (hour, minute, second) or not exists
    after = next_due(update, due)
    assert after is not None
    assert 22 * 3_600_000 <= after - due <= 50 * 3_600_000
