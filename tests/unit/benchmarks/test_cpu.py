"""CPU time from /proc, by process and component."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.benchmarks.cpu import TICK, Meter, Usage, seconds_of, used, used_by_thread

STAT = "4711 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 300 45 13 14 15 16 17 18 19\n"


def test_user_and_system_time_whatever_the_name() -> None:
    assert seconds_of(STAT) == pytest.approx(345 * TICK)


def test_its_own_time_grows_with_its_work() -> None:
    before = used(os.getpid())
    while used(os.getpid()) < before + 5 * TICK:
        sum(range(10_000))
    name, seconds = used_by_thread(os.getpid())[os.getpid()]
    assert name
    assert 0 < seconds <= used(os.getpid())


def test_a_meter_adds_up_the_processes_of_a_component_from_reading_to_reading() -> None:
    meter = Meter({"both": [os.getpid(), os.getpid()], "none": []})
    before = used(os.getpid())
    while used(os.getpid()) < before + 5 * TICK:
        sum(range(10_000))
    first = meter.read().seconds
    assert first["both"] >= 2 * 5 * TICK * 0.99
    assert first["none"] == 0
    assert meter.read().seconds["both"] < first["both"]


def test_a_process_that_is_gone_is_an_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(FileNotFoundError):
        Meter({"gone": [process.pid]})


def test_microseconds_a_command() -> None:
    assert Usage({"worker": 0.5}).per_command(1000) == {"worker": 500.0}
    with pytest.raises(ValueError, match="without a command"):
        Usage({"worker": 0.5}).per_command(0)
