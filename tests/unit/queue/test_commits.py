"""Riders: written once, last one wins, in order, until stored."""

from __future__ import annotations

from zconnector.actions import Actions, Commit
from zconnector.clock import Instant
from zconnector.errors import StorageError
from zconnector.queue.commits import Commits
from zconnector.queue.store import COMMANDS, Delete, Put

NOW = Instant(10.0, 1)
LATER = Instant(12.0, 2001)


def put(key: int, state: str) -> Put:
    return Put(COMMANDS, key, {"state": state})


def commit_of(actions: Actions) -> Commit:
    (commit,) = actions
    assert isinstance(commit, Commit)
    return commit


def awaited(commits: Commits, *writes: Put) -> Commit:
    return commits.commit(writes, lambda now: [], lambda now, error: [])


def test_riders_go_with_the_next_commit_before_its_own_writes() -> None:
    commits = Commits()
    commits.ride(put(1, "a"))
    commits.ride(put(1, "b"), put(2, "c"))
    commit = awaited(commits, put(3, "d"))
    assert commit.writes == (put(1, "b"), put(2, "c"), put(3, "d"))
    assert awaited(commits, put(4, "e")).writes == (put(4, "e"),)


def test_a_write_of_the_same_row_takes_the_riders_place() -> None:
    commits = Commits()
    commits.ride(put(1, "leased"))
    assert awaited(commits, put(1, "done")).writes == (put(1, "done"),)


def test_one_flush_at_a_time_and_the_next_right_after_it() -> None:
    commits = Commits()
    commits.ride(put(1, "a"))
    first = commit_of(commits.flush(NOW))
    commits.ride(put(1, "b"))
    assert commits.flush(NOW) == []
    assert commits.deadline() is None
    second = commit_of(first.then(NOW, [None]))
    assert second.writes == (put(1, "b"),)
    assert second.then(NOW, [None]) == []


def test_a_rider_that_failed_rides_again_after_a_pause() -> None:
    commits = Commits()
    commits.ride(put(1, "a"), Delete(COMMANDS, 2))
    first = commit_of(commits.flush(NOW))
    first.failed(NOW, StorageError("full"))
    assert not commits.healthy
    assert commits.flush(NOW) == [], "not in a hot loop"
    assert commits.deadline() == 11.0
    again = commit_of(commits.tick(LATER))
    assert again.writes == (put(1, "a"), Delete(COMMANDS, 2))
    again.then(LATER, [None, None])
    assert commits.healthy
    assert commits.deadline() is None


def test_a_rider_that_failed_never_overtakes_what_was_written_since() -> None:
    commits = Commits()
    commits.ride(put(1, "leased"))
    first = commit_of(commits.flush(NOW))
    second = awaited(commits, put(1, "done"))
    first.failed(NOW, StorageError("full"))
    second.then(NOW, [None])
    assert commits.tick(LATER) == []

    commits.ride(put(2, "leased"))
    third = commit_of(commits.tick(LATER))
    commits.ride(put(2, "ready"))
    third.failed(LATER, StorageError("full"))
    assert commit_of(commits.tick(Instant(20.0, 1))).writes == (put(2, "ready"),)


def test_the_riders_of_an_awaited_commit_that_fails_are_kept_and_its_own_writes_are_not() -> None:
    commits = Commits()
    commits.ride(put(1, "a"))
    commit = awaited(commits, put(2, "b"))
    commit.failed(NOW, StorageError("full"))
    assert commit_of(commits.tick(LATER)).writes == (put(1, "a"),)


def test_the_last_commit_waits_for_nothing_that_is_under_way() -> None:
    """A connector that drained lost what rode while a flush was under way, and sent its replies once more."""
    commits = Commits()
    commits.ride(put(1, "a"))
    commit_of(commits.flush(NOW))
    commits.ride(put(2, "b"))
    assert commits.flush(NOW) == []
    assert commit_of(commits.last()).writes == (put(2, "b"),)
    assert commits.last() == []


def test_a_lazy_flush_holds_up_no_lease() -> None:
    commits = Commits()
    commits.ride(Delete(COMMANDS, 1))
    first = commit_of(commits.flush(NOW, lazy=True))
    commits.ride(Delete(COMMANDS, 2))
    assert commits.flush(NOW, lazy=True) == []
    assert commits.deadline() is None
    commits.ride(put(3, "leased"))
    lease = commit_of(commits.flush(NOW))
    assert (first.lazy, lease.lazy) == (True, False)
    assert lease.writes == (Delete(COMMANDS, 2), put(3, "leased"))
    commits.ride(Delete(COMMANDS, 4))
    assert first.then(LATER, [None]) == []
    assert commit_of(lease.then(LATER, [None, None])).writes == (Delete(COMMANDS, 4),)


def test_what_comes_during_a_lazy_flush_is_lazy_too() -> None:
    commits = Commits()
    commits.ride(Delete(COMMANDS, 1))
    first = commit_of(commits.flush(NOW, lazy=True))
    commits.ride(Delete(COMMANDS, 2))
    after = commit_of(first.then(LATER, [None]))
    assert after.lazy
    assert after.writes == (Delete(COMMANDS, 2),)


def test_whoever_was_in_no_hurry_waits_for_company_when_nobody_else_commits() -> None:
    commits = Commits()
    commits.ride(Delete(COMMANDS, 1))
    assert commits.deadline() == 0.0, "it is not forgotten"
    assert commit_of(commits.tick(NOW)).lazy
