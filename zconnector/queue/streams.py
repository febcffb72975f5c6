"""Positions: how far an iterator has read in each lane, and how far a worker's name has.

A **stream** is one iterator on one lane. Its position is fixed at its first wait:

- with a reference uuid: before the oldest retained event, since the reply may have come before the wait;
- without one: after the last event delivered for (worker, topic, event), the **history** of that
  name, so that a restarted worker does not run old events again;
- with neither: at the end. A worker of a new name begins with what arrives after its first wait,
  and that wait begins its history: what arrives while it is away is there when it returns.

A worker that gives no name has no history. Waits with a reference neither use nor move one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from zconnector.actions import Caller
from zconnector.queue.commits import Commits
from zconnector.queue.lanes import LaneKey
from zconnector.queue.store import POSITIONS, Delete, Put

REMEMBERED = 4
"""Hand-offs of one stream that a cancel may still take back."""

StreamKey = tuple[str, LaneKey]
HistoryKey = tuple[str, str, str | None]


@dataclass(slots=True, eq=False)
class Stream:
    """Invariants: each event of the lane beyond `position`, and each in `again`, is still to be shown. A
    reader that says once more that `seen` is the last that reached it has nothing of what was handed to it
    beyond `seen_from`."""

    iterator: str
    lane: LaneKey
    worker: str
    begin: int
    """Where it stood at its first wait."""
    position: int
    seen: str = ""
    """What its last wait said that had reached it last; "": nothing."""
    seen_from: int = 0
    """Where it stood when that wait began."""
    again: list[int] = field(default_factory=list)
    """Keys up to `position` whose hand-off was cancelled after a later one."""
    handed: deque[tuple[Caller, int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """(caller, key, position before) of the last hand-offs."""
    waits: dict[Caller, None] = field(default_factory=dict)


class Streams:
    """All positions. Bounded; the least recently used go, never one that is waited on."""

    def __init__(self, commits: Commits, limit: int) -> None:
        self._commits = commits
        self._limit = limit
        self._streams: OrderedDict[StreamKey, Stream] = OrderedDict()
        self._of_iterator: dict[str, dict[LaneKey, None]] = {}
        self._history: OrderedDict[HistoryKey, int] = OrderedDict()
        self._handed: dict[Caller, Stream] = {}

    def restore(self, key: str, meta: dict[str, Any], exists: Callable[[str], bool]) -> int:
        """Take a stored position back; returns it. `exists`: whether there is such an iterator."""
        position = int(meta["at"])
        match orjson.loads(key):
            case ["i", iterator, topic, event, reference] if exists(iterator):
                lane = LaneKey(topic, event, reference)
                begin = int(meta.get("begin", position))
                seen, seen_from = str(meta.get("seen", "")), int(meta.get("seen_from", 0))
                again = list(meta["again"])
                stream = Stream(iterator, lane, meta["worker"], begin, position, seen, seen_from, again)
                self._streams[iterator, lane] = stream
                self._of_iterator.setdefault(iterator, {})[lane] = None
            case ["w", worker, topic, event]:
                self._history[worker, topic, event] = position
            case _:
                self._commits.ride(Delete(POSITIONS, key))
        return position

    def open(self, iterator: str, lane: LaneKey, worker: str, end: int) -> Stream:
        """The stream of a wait, made at its first one."""
        stream = self._streams.get((iterator, lane))
        if stream is not None:
            self._streams.move_to_end((iterator, lane))
            return stream
        history = (worker, lane.topic, lane.event)
        position = 0 if lane.reference else self._history.get(history, end)
        stream = Stream(iterator, lane, worker, position, position)
        self._streams[iterator, lane] = stream
        self._of_iterator.setdefault(iterator, {})[lane] = None
        if not lane.reference:
            self._store(stream)
            if worker and history not in self._history:
                self._move_history(history, position)
        self._bound()
        return stream

    def deliver(self, stream: Stream, key: int, caller: Caller) -> None:
        """An event was handed to a caller."""
        before = stream.position
        if key in stream.again:
            stream.again.remove(key)
        else:
            stream.position = key
        if len(stream.handed) == REMEMBERED:
            self._handed.pop(stream.handed[0][0], None)
        stream.handed.append((caller, key, before))
        self._handed[caller] = stream
        self._store(stream)
        if stream.worker and not stream.lane.reference:
            history = (stream.worker, stream.lane.topic, stream.lane.event)
            if self._history.get(history, -1) < key:
                self._move_history(history, key)

    def resume(self, stream: Stream, position: int) -> None:
        """The reader has everything up to a position and nothing beyond it."""
        if position in stream.again:
            stream.again.remove(position)
        if stream.position == position:
            return
        for caller, _, _ in stream.handed:
            self._handed.pop(caller, None)
        stream.handed.clear()
        stream.again = [key for key in stream.again if key < position]
        stream.position = position
        self._store(stream)

    def skip(self, stream: Stream, key: int) -> None:
        """An event is not for this stream to show: its payload cannot be handed out, or is not asked for."""
        if key in stream.again:
            stream.again.remove(key)
        else:
            stream.position = key

    def take_back(self, caller: Caller) -> Stream | None:
        """A caller is gone who had been handed an event: it is to be shown again."""
        stream = self._handed.pop(caller, None)
        if stream is None:
            return None
        for index, (holder, key, before) in enumerate(stream.handed):
            if holder == caller:
                del stream.handed[index]
                history = (stream.worker, stream.lane.topic, stream.lane.event)
                if stream.position == key and before < key:
                    stream.position = before
                    if not stream.lane.reference and self._history.get(history) == key:
                        self._move_history(history, before)
                else:
                    stream.again.append(key)
                    stream.again.sort()
                self._store(stream)
                return stream
        return None

    def forget_iterator(self, iterator: str) -> None:
        """The iterator is gone, and its streams with it."""
        for lane in self._of_iterator.pop(iterator, {}):
            self._forget(self._streams.pop((iterator, lane)))

    def __len__(self) -> int:
        return len(self._streams)

    def _store(self, stream: Stream) -> None:
        key = orjson.dumps(["i", stream.iterator, *stream.lane]).decode()
        meta: dict[str, Any] = {
            "at": stream.position,
            "begin": stream.begin,
            "worker": stream.worker,
            "again": list(stream.again),
        }
        if stream.seen:
            meta |= {"seen": stream.seen, "seen_from": stream.seen_from}
        self._commits.ride(Put(POSITIONS, key, meta))

    def _move_history(self, history: HistoryKey, position: int) -> None:
        self._history[history] = position
        self._history.move_to_end(history)
        self._commits.ride(Put(POSITIONS, orjson.dumps(["w", *history]).decode(), {"at": position}))
        if len(self._history) > self._limit:
            oldest, _ = self._history.popitem(last=False)
            self._commits.ride(Delete(POSITIONS, orjson.dumps(["w", *oldest]).decode()))

    def _bound(self) -> None:
        for _ in range(len(self._streams)):
            if len(self._streams) <= self._limit:
                return
            key, stream = next(iter(self._streams.items()))
            if stream.waits:
                self._streams.move_to_end(key)
                continue
            del self._streams[key]
            lanes = self._of_iterator[stream.iterator]
            lanes.pop(stream.lane, None)
            if not lanes:
                del self._of_iterator[stream.iterator]
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        for caller, _, _ in stream.handed:
            self._handed.pop(caller, None)
        key = orjson.dumps(["i", stream.iterator, *stream.lane]).decode()
        self._commits.ride(Delete(POSITIONS, key))
