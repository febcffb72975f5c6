"""What the collector leaves alone while a process works, and what it still finds."""

from __future__ import annotations

import asyncio
import gc
import weakref

from zconnector.runtime.garbage import Collector, paused

DEADLINE = 10.0


class Knot:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def old_collections() -> int:
    return int(gc.get_stats()[2]["collections"])


async def test_growth_does_not_collect_what_is_old() -> None:
    before = gc.get_threshold()
    collector = Collector(asyncio.get_running_loop())
    collector.start()
    try:
        counted = old_collections()
        kept = [[number] for number in range(300_000)]
        assert old_collections() == counted, "CPython by itself does it several times for so many"
        assert len(kept) == 300_000
    finally:
        collector.stop()
    assert gc.get_threshold() == before


async def test_old_knots_are_found_in_time() -> None:
    collector = Collector(asyncio.get_running_loop(), every=0.05)
    collector.start()
    try:
        knot = Knot()
        gone = asyncio.Event()
        weakref.finalize(knot, gone.set)
        gc.collect(1)  # it is old now
        del knot
        await asyncio.wait_for(gone.wait(), DEADLINE)
    finally:
        collector.stop()


def test_nothing_is_collected_while_it_is_paused_and_then_as_before() -> None:
    for on in (True, False):
        try:
            (gc.enable if on else gc.disable)()
            with paused():
                assert not gc.isenabled()
            assert gc.isenabled() is on
        finally:
            gc.enable()
