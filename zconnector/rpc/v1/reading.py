"""One reader of a durable subscription: its events out, its acknowledgements in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from zconnector.errors import Refusal
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.rpc.port import DoorPort
from zconnector.rpc.v1.feed import Feed, Item
from zconnector.rpc.v1.settling import refusal_of
from zconnector.rpc.v1.status import item_refusal
from zconnector.rpc.v1.stream import ANSWERS, FRAME, MUCH
from zconnector.rpc.v1.work_convert import fill_delivery

TOGETHER = 400
"""Acknowledgements of one call: what the door takes, and can answer."""


class Reader:
    """Keeps what is to be written for its stream until `fill` takes it.

    What it holds unacknowledged when the stream ends goes back with the stream's holder.
    """

    def __init__(
        self,
        door: DoorPort,
        name: str,
        holder: str,
        credits: int,
        put: Callable[[], None],
        failed: Callable[[Refusal], None],
    ) -> None:
        self._door = door
        self._holder = holder
        self._put = put
        self._events: list[Item] = []
        self._bytes = 0
        """Payloads of these."""
        self._acked: list[Any] = []
        self._missed = 0
        self._held: dict[int, list[int]] = {}
        """Attempts of each event that the client has: more than one where a lease ended meanwhile."""
        self.name = name
        self.under_way = 0
        """Calls that acknowledge, not yet answered."""
        self.feed = Feed(
            door,
            "take_events",
            {"subscription": name, "holder": holder},
            "events",
            credits,
            self._took,
            failed,
        )

    def _took(self, feed: Feed, items: list[Item], result: Mapping[str, Any]) -> None:
        self._events += items
        self._bytes += sum(len(payload) for _, payload in items)
        self.feed.hold(self._bytes > MUCH)
        for item, _ in items:
            self._held.setdefault(int(item["id"]), []).append(int(item["attempt"]))
        self._missed += int(result.get("missed") or 0)
        self._put()

    @property
    def unread(self) -> int:
        """Answers to acknowledgements that are to be written, or will be; more or less."""
        return len(self._acked) + TOGETHER * self.under_way

    def acknowledge(self, acks: Sequence[Any]) -> None:
        """EventAcks: the client has done with these events, or wants them handed out again."""
        for begin in range(0, len(acks), TOGETHER):
            some = acks[begin : begin + TOGETHER]
            args = {
                "subscription": self.name,
                "holder": self._holder,
                "events": [{"id": ack.id, "ok": ack.ok, "attempt": ack.attempt} for ack in some],
            }
            self.under_way += 1
            asked = self._door.ask("acknowledge", args)
            asked.add_done_callback(partial(self._answered, some))
        for ack in acks:
            self.feed.done(self._let_go(ack))
        self.feed.pull()

    def _let_go(self, ack: Any) -> int:
        """How many hand-outs an acknowledgement ends for the client: its own, and earlier ones."""
        attempts = self._held.get(ack.id, [])
        later = [] if ack.ok or not ack.attempt else [each for each in attempts if each > ack.attempt]
        if later:
            self._held[ack.id] = later
        else:
            self._held.pop(ack.id, None)
        return len(attempts) - len(later)

    def _answered(self, acks: Sequence[Any], asked: asyncio.Future[tuple[dict[str, Any], bytes]]) -> None:
        self.under_way -= 1
        if asked.cancelled():
            return
        error = asked.exception()
        if error is not None and not isinstance(error, Refusal):
            raise error
        results = [] if error is not None else asked.result()[0].get("results", [])
        for place, ack in enumerate(acks):
            told = results[place].get("error") if place < len(results) else None
            refusal = error or refusal_of(told, "")
            self._acked.append(
                pb.EventAcked(
                    subscription=self.name,
                    id=ack.id,
                    refusal=item_refusal(refusal) if refusal is not None else None,
                )
            )
        self._put()

    def missed(self) -> Any | None:
        """What to tell of events that retention took; once."""
        if not self._missed:
            return None
        told = pb.Missed(subscription=self.name, events=self._missed)
        self._missed = 0
        return told

    def fill(self, reply: Any, size: int = 0) -> int:
        """Put what there is into a WorkReply or SubscribeReply, up to a frame.

        `size`: bytes, more or less, that it has already; it is returned with what was added.
        """
        taken = 0
        for item, payload in self._events:
            size += len(payload) + 200
            if size > FRAME and size > len(payload) + 200:
                break  # only one that is alone in its frame may be larger than that
            fill_delivery(reply.events.add(), self.name, item, payload)
            self._bytes -= len(payload)
            taken += 1
        if taken:
            del self._events[:taken]
            self.feed.hold(self._bytes > MUCH)
        if size <= FRAME:
            reply.acked.extend(self._acked[:ANSWERS])
            del self._acked[:ANSWERS]
        return size
