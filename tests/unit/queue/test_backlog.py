"""What a call costs does not grow with the backlog: the same Python lines run at 50 commands as at 5,000.

Lines are counted by a trace function, so nothing here is timed. Heaps and bisections run in C and are
logarithmic.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.subscribers import Subscribers
from zconnector.configuration.pivot import Version
from zconnector.queue.routing import Routing
from zconnector.settings import QueueSettings

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench

SMALL, LARGE = 50, 5_000


def lines_of(call: Callable[[], object], within: str = "zconnector/queue") -> int:
    """How many lines of the queue's own code (or that of another folder) a call runs."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if within not in frame.f_code.co_filename or "memory" in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def commands(bench: Bench, backlog: int) -> None:
    for number in range(backlog):
        bench.offer(bench.command(f"u{number}"))


def offer(bench: Bench, backlog: int) -> int:
    commands(bench, backlog)
    message = bench.command("new")
    return lines_of(lambda: bench.offer(message))


def lease(bench: Bench, backlog: int) -> int:
    commands(bench, backlog)
    iterator = bench.iterator()
    return lines_of(lambda: bench.wait(iterator))


def complete(bench: Bench, backlog: int) -> int:
    commands(bench, backlog)
    bench.wait(bench.iterator())
    return lines_of(lambda: bench.complete("u0"))


def tick(bench: Bench, backlog: int) -> int:
    commands(bench, backlog)
    return lines_of(lambda: (bench.queue.deadline(), bench.do(bench.queue.tick(bench.now))))


def lease_over(bench: Bench, backlog: int) -> int:
    commands(bench, backlog)
    bench.wait(bench.iterator())
    bench.passes(299.0)
    bench.mono += 2.0
    return lines_of(lambda: bench.do(bench.queue.tick(bench.now)))


def wishes(bench: Bench, backlog: int) -> None:
    """Commands of every priority, in chains, with delays and times to live."""
    for number in range(backlog):
        fields: dict[str, Any] = {"priority": number % 10, "order_key": f"k{number % 25}", "ttl": 900_000}
        bench.offer(bench.command(f"u{number}", delay=800_000 * (number % 3 == 1), **fields))


def take(bench: Bench, backlog: int) -> int:
    wishes(bench, backlog)
    return lines_of(lambda: bench.take())


def take_by_share(bench: Bench, backlog: int) -> int:
    """Of two versions, that with the smaller share; the backlog is sorted as far as it was asked for."""
    names = frozenset({"BUILD"})
    table = Routing({Version(1, 0): names, Version(1, 1): names}, shares={Version(1, 1): 10})
    bench.do(bench.queue.route(table, bench.now))
    wishes(bench, backlog)
    bench.take(major=1, limit=5)
    return lines_of(lambda: bench.take(major=1))


def offer_by_share(bench: Bench, backlog: int) -> int:
    """To a waiter, beside a backlog that goes to another version."""
    names = frozenset({"BUILD"})
    table = Routing({Version(1, 0): names, Version(2, 0): names})
    bench.do(bench.queue.route(table, bench.now))
    commands(bench, backlog)
    waiting = bench.take(major=1)
    message = bench.command("new", major=1)
    cost = lines_of(lambda: bench.offer(message))
    assert bench.got_one(waiting) == "new"
    return cost


def nak(bench: Bench, backlog: int) -> int:
    wishes(bench, backlog)
    lease = bench.took()
    return lines_of(lambda: bench.settles(lease, "nak", delay=1_000))


def ack_in_a_chain(bench: Bench, backlog: int) -> int:
    wishes(bench, backlog)
    lease = bench.took()
    return lines_of(lambda: bench.settles(lease, "ack"))


def due(bench: Bench, backlog: int) -> int:
    wishes(bench, backlog)
    bench.settles(bench.took(), "nak", delay=5_000)
    bench.mono += 5.0
    return lines_of(lambda: (bench.do(bench.queue.tick(bench.now)), bench.queue.deadline()))


def drop_oldest(bench: Bench, backlog: int) -> int:
    full = type(bench)(QueueSettings(max_commands=backlog, overflow="drop_oldest"))
    commands(full, backlog)
    message = full.command("new")
    return lines_of(lambda: full.offer(message))


def publish(bench: Bench, backlog: int) -> int:
    for number in range(backlog):
        bench.publish(bench.event(f"e{number}"), outbox=True)
    bench.outbox()
    message = bench.event("new")
    return lines_of(lambda: bench.publish(message, outbox=True))


def read_from_the_middle(bench: Bench, backlog: int) -> int:
    iterator = bench.iterator("event")
    bench.cancel(bench.listen(iterator))
    for number in range(backlog):
        bench.publish(bench.event(f"e{number}"))
    for _ in range(backlog // 2):
        bench.listen(iterator)
    return lines_of(lambda: bench.listen(iterator))


def confirm_in_the_middle(bench: Bench, backlog: int) -> int:
    for number in range(backlog):
        bench.publish(bench.event(f"e{number}"), outbox=True)
    return lines_of(lambda: bench.do(bench.queue.outbox_confirm([f"e{backlog // 2}"], bench.now)))


def take_from_the_middle(bench: Bench, backlog: int) -> int:
    subscribers = halfway(bench, backlog)
    return lines_of(lambda: subscribers.take(limit=10))


def acknowledge_in_the_middle(bench: Bench, backlog: int) -> int:
    subscribers = halfway(bench, backlog)
    ids = subscribers.ids(subscribers.take(limit=10))
    return lines_of(lambda: subscribers.acknowledge(*ids))


def halfway(bench: Bench, backlog: int) -> Subscribers:
    """A subscription that has read half of what is retained."""
    subscribers = Subscribers(bench)
    subscribers.subscribe("s", "BUILDS", "TESTS/DONE")
    for number in range(backlog):
        bench.publish(bench.event(f"e{number}"))
    for _ in range(backlog // 2):
        subscribers.acknowledge(*subscribers.ids(subscribers.take(limit=1)))
    return subscribers


def holder_gone_among_many(bench: Bench, holders: int) -> int:
    subscribers = Subscribers(bench)
    subscribers.subscribe()
    for number in range(holders):
        subscribers.take(holder=f"h{number}")
    return lines_of(lambda: bench.do(bench.queue.subscriptions.release_holder("h7", bench.now)))


@pytest.mark.parametrize(
    "cost",
    [
        holder_gone_among_many,
        offer,
        lease,
        complete,
        tick,
        lease_over,
        take,
        take_by_share,
        offer_by_share,
        nak,
        ack_in_a_chain,
        due,
        drop_oldest,
        publish,
        read_from_the_middle,
        confirm_in_the_middle,
        take_from_the_middle,
        acknowledge_in_the_middle,
    ],
)
def test_the_cost_is_that_of_a_short_queue(
    bench_with: Callable[..., Bench], cost: Callable[[Bench, int], int]
) -> None:
    small, large = cost(bench_with(), SMALL), cost(bench_with(), LARGE)
    assert small > 5, "something was counted"
    assert large <= small + 10


def test_a_full_event_store_makes_room_at_the_same_cost(bench_with: Callable[..., Bench]) -> None:
    costs = []
    for limit in (SMALL, LARGE):
        bench = bench_with(max_events=limit)
        for number in range(limit + 1):
            bench.publish(bench.event(f"e{number}"))
        message = bench.event("new")
        costs.append(lines_of(partial(bench.publish, message)))
    assert costs[1] <= costs[0] + 10
