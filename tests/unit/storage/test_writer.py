"""The group-commit thread, over a store that the test holds by the hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from zconnector.errors import StorageError
from zconnector.storage.writer import MAX_MERGED, GroupCommit

DEADLINE = 10.0


class GatedStore:
    """Each transaction waits until the test lets it; a write "bad" cannot be stored."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.stored: list[Any] = []
        self.transactions: list[list[Any]] = []
        self.full = False
        self.defect: Exception | None = None

    def commit(self, writes: Sequence[Any]) -> list[Any]:
        self.entered.release()
        assert self.gate.acquire(timeout=DEADLINE)
        self.transactions.append(list(writes))
        if self.defect is not None:
            raise self.defect
        if self.full or "bad" in writes:
            raise StorageError("will not")
        self.stored.extend(writes)
        return [f"did {write}" for write in writes]

    def close(self) -> None:
        """Nothing to release."""

    def allow(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()


class Heard:
    """Collects callbacks and says when there are so many."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, Any]] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def of(self, name: str) -> Any:
        def on_done(outcome: list[Any] | StorageError) -> None:
            self.outcomes.append((name, str(outcome) if isinstance(outcome, StorageError) else outcome))
            for count, future in self._waiting:
                if len(self.outcomes) >= count and not future.done():
                    future.set_result(None)

        return on_done

    async def until(self, count: int) -> None:
        future = asyncio.get_running_loop().create_future()
        if len(self.outcomes) < count:
            self._waiting.append((count, future))
            await asyncio.wait_for(future, DEADLINE)


async def test_what_arrives_during_a_commit_is_the_next_one_in_order() -> None:
    store, heard = GatedStore(), Heard()
    writer = GroupCommit(store, asyncio.get_running_loop())
    writer.submit(["a"], heard.of("a"))
    assert await asyncio.to_thread(store.entered.acquire, timeout=DEADLINE)
    writer.submit(["b1", "b2"], heard.of("b"))
    writer.submit([], heard.of("empty"))
    writer.submit(["c"], heard.of("c"))
    store.allow(2)
    await heard.until(4)
    assert store.transactions == [["a"], ["b1", "b2", "c"]]
    assert heard.outcomes == [
        ("a", ["did a"]),
        ("b", ["did b1", "did b2"]),
        ("empty", []),
        ("c", ["did c"]),
    ]
    await writer.close()


async def test_before_and_after_stand_around_what_one_turn_tells() -> None:
    store, heard = GatedStore(), Heard()
    store.allow(1)

    def mark(what: str) -> Callable[[], None]:
        return lambda: heard.outcomes.append((what, []))

    loop = asyncio.get_running_loop()
    writer = GroupCommit(store, loop, before=mark("before"), after=mark("after"))
    writer.submit(["a"], heard.of("a"))
    writer.submit(["b"], heard.of("b"))
    await heard.until(3)
    assert heard.outcomes == [("before", []), ("a", ["did a"]), ("b", ["did b"]), ("after", [])]
    await writer.close()


async def test_what_nobody_awaits_goes_with_what_somebody_does() -> None:
    store, heard = GatedStore(), Heard()
    store.allow(2)
    writer = GroupCommit(store, asyncio.get_running_loop())
    writer.submit(["lease"], heard.of("lease"), lazy=True)
    writer.submit(["awaited"], heard.of("awaited"))
    await heard.until(2)
    assert store.transactions == [["lease", "awaited"]]
    await writer.close()


async def test_what_nobody_awaits_is_not_left_alone_for_long() -> None:
    store, heard = GatedStore(), Heard()
    store.allow(1)
    writer = GroupCommit(store, asyncio.get_running_loop())
    writer.submit(["lease"], heard.of("lease"), lazy=True)
    await heard.until(1)
    assert store.stored == ["lease"]
    await writer.close()


async def test_closing_waits_for_what_nobody_awaits() -> None:
    store, heard = GatedStore(), Heard()
    store.allow(1)
    writer = GroupCommit(store, asyncio.get_running_loop())
    writer.submit(["lease"], heard.of("lease"), lazy=True)
    await asyncio.wait_for(writer.close(), DEADLINE)
    assert store.stored == ["lease"]


async def test_a_bad_commit_harms_nobody_else() -> None:
    store, heard = GatedStore(), Heard()
    writer = GroupCommit(store, asyncio.get_running_loop())
    writer.submit(["first"], heard.of("first"))
    assert await asyncio.to_thread(store.entered.acquire, timeout=DEADLINE)
    for name in ("a", "bad", "c"):
        writer.submit([name], heard.of(name))
    store.allow(5)
    await heard.until(4)
    assert heard.outcomes[1:] == [("a", ["did a"]), ("bad", "will not"), ("c", ["did c"])]
    assert store.stored == ["first", "a", "c"]
    await writer.close()


async def test_a_full_disk_fails_each_and_room_again_is_used() -> None:
    store, heard = GatedStore(), Heard()
    store.allow(10)
    store.full = True
    writer = GroupCommit(store, asyncio.get_running_loop())
    writer.submit(["a"], heard.of("a"))
    await heard.until(1)
    store.full = False
    writer.submit(["b"], heard.of("b"))
    await heard.until(2)
    assert heard.outcomes == [("a", "will not"), ("b", ["did b"])]
    await writer.close()


async def test_close_flushes_also_what_callbacks_submit() -> None:
    store, heard = GatedStore(), Heard()
    store.allow(10)
    writer = GroupCommit(store, asyncio.get_running_loop())

    def again(outcome: list[Any] | StorageError) -> None:
        writer.submit(["second"], heard.of("second"))

    writer.submit(["first"], again)
    await asyncio.wait_for(writer.close(), DEADLINE)
    assert store.stored == ["first", "second"]
    assert heard.outcomes == [("second", ["did second"])]
    writer.submit(["late"], heard.of("late"))
    await heard.until(2)
    assert heard.outcomes[1] == ("late", "the store is closed")
    assert store.stored == ["first", "second"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_defect_of_the_store_leaves_nobody_waiting() -> None:
    store, heard = GatedStore(), Heard()
    store.defect = ValueError("a defect")
    writer = GroupCommit(store, asyncio.get_running_loop())
    writer.submit(["a"], heard.of("a"))
    assert await asyncio.to_thread(store.entered.acquire, timeout=DEADLINE)
    writer.submit(["b"], heard.of("b"))
    store.allow(1)
    await heard.until(2)
    writer.submit(["c"], heard.of("c"))
    await heard.until(3)
    assert [name for name, _ in heard.outcomes] == ["a", "b", "c"]
    assert all("a defect" in outcome for _, outcome in heard.outcomes)
    await asyncio.wait_for(writer.close(), DEADLINE)


async def test_a_callback_that_raises_does_not_silence_the_others() -> None:
    store, heard = GatedStore(), Heard()
    loop = asyncio.get_running_loop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    writer = GroupCommit(store, loop)

    def raises(outcome: list[Any] | StorageError) -> None:
        raise ValueError("in a callback")

    writer.submit(["x"], heard.of("x"))
    assert await asyncio.to_thread(store.entered.acquire, timeout=DEADLINE)
    writer.submit(["a"], raises)
    writer.submit(["b"], heard.of("b"))
    store.allow(2)
    await heard.until(2)
    assert [name for name, _ in heard.outcomes] == ["x", "b"]
    assert isinstance(reported[0]["exception"], ValueError)
    await writer.close()


async def test_one_transaction_takes_a_bounded_number_of_commits() -> None:
    store, heard = GatedStore(), Heard()
    writer = GroupCommit(store, asyncio.get_running_loop())
    writer.submit([-1], heard.of("first"))
    assert await asyncio.to_thread(store.entered.acquire, timeout=DEADLINE)
    for number in range(MAX_MERGED + 5):
        writer.submit([number], heard.of(str(number)))
    store.allow(3)
    await heard.until(MAX_MERGED + 6)
    assert [len(writes) for writes in store.transactions] == [1, MAX_MERGED, 5]
    assert store.stored == list(range(-1, MAX_MERGED + 5))
    await writer.close()
