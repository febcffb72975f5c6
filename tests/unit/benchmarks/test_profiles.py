"""Where CPU time goes: samples and threads by kind of work."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.benchmarks.profiles import count, kind_of_stack, kind_of_thread, spent, split

LOOP = "run (asyncio/runners.py:190);BaseEventLoop._run_once (asyncio/base_events.py:1922)"
HANDLE = f"{LOOP};Handle._run (asyncio/events.py:80)"


@pytest.mark.parametrize(
    ("innermost", "kind"),
    [
        ("", "asyncio"),
        (";EpollSelector.select (selectors.py:468)", "asyncio"),
        (";Drain._look (zconnector/shoset/drain.py:99);Flag.__and__ (enum.py:1516)", "zmq calls"),
        (
            ";Sockets.transmit (zconnector/runtime/sockets.py:9);Socket.send (zmq/sugar/socket.py:7)",
            "zmq calls",
        ),
        (";Driver._enter (zconnector/runtime/driver.py:9)", "driver"),
        (";Shoset.tick (zconnector/shoset/shoset.py:9)", "core"),
        (";Shoset.frames (zconnector/shoset/shoset.py:9);decode (zconnector/messages/codec.py:7)", "codec"),
        (";Handle._run (asyncio/events.py:80)", "grpc"),
        (";GandalfService.send_stop (zconnector/rpc/gandalf.py:9)", "grpc"),
    ],
)
def test_a_stack_belongs_to_its_innermost_known_frame(innermost: str, kind: str) -> None:
    assert kind_of_stack(LOOP + innermost) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ZMQbg/IO/0", "crypto and TCP (zmq)"), ("group-commit", "sqlite"), ("python", None)],
)
def test_a_thread_by_its_name(name: str, kind: str | None) -> None:
    assert kind_of_thread(name) == kind


def test_samples_are_counted_for_each_thread() -> None:
    lines = [
        f"thread (7): MainThread;{HANDLE} 3",
        f"thread (7): MainThread;{LOOP} 1\n",
        "thread (0x9): group-commit;Condition.wait (threading.py:320) 2",
        "nonsense",
    ]
    assert count(lines) == {7: Counter(grpc=3, asyncio=1), 9: Counter(sqlite=2)}


def test_no_samples_are_no_profile() -> None:
    with pytest.raises(ValueError, match="not one sample"):
        count(["nonsense"])


def test_the_kernels_time_is_divided_as_the_samples_are() -> None:
    before = {7: ("python", 1.0)}
    after = {7: ("python", 5.0), 8: ("ZMQbg/IO/0", 2.0), 9: ("python", 0.5)}
    kinds = split(spent(before, after), {7: Counter(grpc=3, asyncio=1)})
    assert kinds == {"grpc": 3.0, "asyncio": 1.0, "crypto and TCP (zmq)": 2.0, "other": 0.5}
