"""What goes by its age, by a clock that may be wrong."""

from __future__ import annotations

from tests.unit.cluster.bench import WALL
from zconnector.actions import Commit
from zconnector.clock import Instant
from zconnector.cluster.health import Commits
from zconnector.cluster.retention import Retention
from zconnector.cluster.settled import SETTLING
from zconnector.cluster.store import Trim, Trimmed

DAY = 86_400_000


class Bench:
    """Seven days of retention; the store has nothing to delete."""

    def __init__(self) -> None:
        self.mono = 50.0
        self.ahead = 0
        self.retention = Retention(Commits(), 7, 10**9)
        self.trims: list[Trim] = []
        self.retention.start(self.now)

    @property
    def now(self) -> Instant:
        return Instant(self.mono, WALL + int(self.mono * 1000) + self.ahead)

    def passes(self, seconds: float) -> None:
        end = self.mono + seconds
        while (due := self.retention.deadline()) is not None and due <= end:
            self.mono = max(due, self.mono)
            for action in self.retention.tick(self.now):
                assert isinstance(action, Commit)
                self.trims += [write for write in action.writes if isinstance(write, Trim)]
                action.then(self.now, [Trimmed(0, 0)])
        self.mono = end


def test_by_age_nothing_goes_in_the_first_hour() -> None:
    bench = Bench()
    bench.passes(SETTLING - 1)
    assert {(trim.before <= 0, trim.settled) for trim in bench.trims} == {(True, 0)}
    bench.passes(60)
    started = WALL + 50_000
    assert started <= bench.trims[-1].settled <= started + 60_000
    assert bench.trims[-1].before == bench.trims[-1].settled - 7 * DAY


def test_a_clock_that_is_days_ahead_for_less_than_an_hour_takes_nothing() -> None:
    bench = Bench()
    bench.passes(3 * SETTLING)
    jumped = bench.now.wall
    bench.ahead = 8 * DAY
    bench.passes(SETTLING - 60)
    bench.ahead = 0
    bench.passes(3 * SETTLING)
    assert max(trim.settled - bench.now.wall for trim in bench.trims) < 0
    assert [trim for trim in bench.trims if trim.settled > jumped + 4 * SETTLING * 1000] == []


def test_a_clock_that_stays_ahead_is_right_after_an_hour() -> None:
    bench = Bench()
    bench.passes(SETTLING)
    bench.ahead = 8 * DAY
    bench.passes(SETTLING + 60)
    assert bench.now.wall - bench.trims[-1].settled <= SETTLING * 1000 + 60_000


def test_what_is_made_while_the_clock_is_back_is_not_old_at_once() -> None:
    bench = Bench()
    bench.passes(2 * SETTLING)
    bench.ahead = -2 * DAY
    made = bench.now.wall
    bench.passes(SETTLING - 60)
    bench.ahead = 0
    bench.passes(30)
    assert max(trim.settled for trim in bench.trims if trim.settled) > made, "before the jump"
    assert bench.trims[-1].settled <= made + 60_000
