"""How counts of lone commands are read."""

from __future__ import annotations

from tests.benchmarks.lone import spent, system_calls

SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 58.90    0.001200          12       100           futex
 41.10    0.000800          20        40         3 epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.002000          14       140         3 total
"""


def test_a_summary_of_strace_is_read_with_and_without_errors() -> None:
    assert system_calls(SUMMARY) == {"futex": 100, "epoll_wait": 40}


def test_threads_that_began_meanwhile_count_and_those_that_ended_do_not() -> None:
    before = {"1": (10, 100.0), "2": (5, 5.0)}
    assert spent(before, {"1": (14, 130.0), "3": (2, 7.5)}) == (6, 37.5)
