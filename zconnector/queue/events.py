"""Events: published or announced by routers, read by workers through iterators and subscriptions.

Each iterator sees each matching event once, in order of arrival. A wait that finds nothing is parked on its
lane and woken by what arrives there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zconnector.actions import Actions, Caller, Note, Reach, Respond
from zconnector.clock import Deadlines, Instant
from zconnector.errors import DamagedError, Reason, Refusal, StorageError
from zconnector.messages import Kind, Message, Outcome
from zconnector.queue.awaiting import Awaiting
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.dead import DeadLetters
from zconnector.queue.drafts import Draft
from zconnector.queue.envelope import pack, unfit, unpack
from zconnector.queue.home import Home
from zconnector.queue.iterators import Iterators
from zconnector.queue.journal import Journal
from zconnector.queue.lanes import IndexKey, LaneKey
from zconnector.queue.outbox import Outbox
from zconnector.queue.outcomes import OnPublished, Published
from zconnector.queue.retained import Event, Retained
from zconnector.queue.store import EVENTS, Delete, Put, Write
from zconnector.queue.streams import Stream, Streams
from zconnector.queue.subscription import name_in
from zconnector.queue.subscriptions import Subscriptions
from zconnector.settings import QueueSettings

STREAMS_PER_ITERATOR = 4
"""The bound on positions is this times the bound on iterators."""


@dataclass(frozen=True, slots=True)
class _Wait:
    caller: Caller
    stream: Stream
    receipts: bool
    """Whether it is for receipts too."""


class Events:
    """The event side of the queue."""

    def __init__(
        self,
        settings: QueueSettings,
        commits: Commits,
        messages: Messages,
        iterators: Iterators,
        outbox: Outbox,
        dead: DeadLetters,
        counted: Callable[[int], bool],
    ) -> None:
        """`counted`: whether the cursor includes an event of that number already."""
        self._commits = commits
        self._messages = messages
        self._iterators = iterators
        self._outbox = outbox
        self._dead = dead
        self._counted = counted
        self._retained = Retained(settings, commits, messages)
        self.subscriptions = Subscriptions(commits, messages, self._retained, self._poisoned)
        self.awaiting = Awaiting(commits, messages, self._retained)
        self._streams = Streams(commits, STREAMS_PER_ITERATOR * settings.max_iterators)
        self._home: Home | None = None
        self._waits: dict[IndexKey, OrderedDict[Caller, _Wait]] = {}
        self._by_caller: dict[Caller, _Wait] = {}
        self._unreadable: dict[IndexKey, None] = {}
        self._retry_at: float | None = None

    def at_home(self, name: str, journal: Journal) -> None:
        """This connector's name: replies to it go straight into the event queue."""
        self._home = Home(name, self._messages, self._retained, journal, self._wake_each)
        self._outbox.home = self._home

    def come_home(self, now: Instant) -> Actions:
        """Show the replies to ourselves that were stored meanwhile to whoever waits for them."""
        return [] if self._home is None else self._home.wake(now)

    def restore_event(self, key: int, meta: dict[str, Any], size: int, now: Instant) -> None:
        self._retained.restore(key, meta, size, now)

    def restore_position(self, key: str, meta: dict[str, Any], now: Instant) -> None:
        name = name_in(key)
        if name is None:
            position = self._streams.restore(key, meta, self._iterators.__contains__)
        else:
            position = self.subscriptions.restore(name, meta, now)
        self._retained.begin_after(position)

    def forget_iterator(self, iterator: str) -> None:
        self._streams.forget_iterator(iterator)

    def about(self, reference: str, now: Instant) -> list[tuple[int, Event]]:
        """What refers to a uuid, and when it came (wall clock, ms). Walks all events: for operators only."""
        return self._retained.about(reference, now)

    def knows(self, uuid: str) -> bool:
        """Whether an event is stored here."""
        event = self._retained.find(uuid)
        return event is not None and event.stored

    def source(self, uuid: str) -> str:
        """Where a stored event came from; "" when it is unknown or says none."""
        event = self._retained.find(uuid)
        return event.source if event is not None and event.stored else ""

    def was_taken(self, command: str, uuid: str) -> bool:
        """Whether a receipt (while it is announced) or a final reply (while it is retained) is here."""
        return bool(self._signs(command, uuid))

    def taken_by_another(self, command: str, uuid: str, own: str) -> bool:
        """As `was_taken`, by a connector of another name than `own`; or by nobody knows whom."""
        if not self._retained.refers(command, uuid):  # as of all that come for the first time
            return False
        return any(event.source != own for event in self._signs(command, uuid))

    def _signs(self, command: str, uuid: str) -> list[Event]:
        """The first of each kind of event that shows that a command was taken."""
        if not self._retained.refers(command, uuid):
            return []
        names = (Outcome.ON_GOING, Outcome.SUCCESS, Outcome.FAIL)
        found = [self._retained.after((command, name, uuid), 0) for name in names]
        return [event for event in found if event is not None]

    def publish(self, message: Message, now: Instant, *, outbox: bool, done: OnPublished) -> Actions:
        """Store an event, and what must be sent of it, in one commit; then show it to waiters."""
        known = self._retained.find(message.uuid)
        if known is not None and known.message is None:
            if known.stored:
                return done(now, Published("DUPLICATE"))
            known.asked += (done,)
            return []
        if self._counted(message.number("seq")):
            return done(now, Published("DUPLICATE"))
        if known is not None:
            self._retained.remove(known)
        body = pack(message)
        event = self._retained.admit(message, len(body), now)
        if event is None:
            refusal = Refusal(Reason.QUEUE_FULL, "no room for the event", message.uuid)
            return done(now, Published("REFUSED", refusal))
        draft: Draft | None = None
        if outbox and not self._outbox.holds(message.uuid):
            draft = self._outbox.draft(message, now)
            if draft is None:
                shown = self._retained.abandon(event)
                refusal = Refusal(Reason.QUEUE_FULL, "the outbox is full", message.uuid)
                return done(now, Published("REFUSED", refusal)) + self._wake_each(shown, now)
        return self._store(event, message, body, draft, done, now)

    def _store(
        self,
        event: Event,
        message: Message,
        body: bytes,
        draft: Draft | None,
        done: OnPublished,
        now: Instant,
    ) -> Actions:
        reply = event.directed and bool(event.reference)
        writes: list[Write] = [Put(EVENTS, event.key, event.as_meta(now.wall), body)]
        if draft is not None:
            writes.append(draft.write)

        def then(now: Instant) -> Actions:
            self._messages.keep(EVENTS, event.key, body, message)
            shown = self._retained.accept(event)
            if draft is not None:
                self._outbox.accept(draft, now)
            actions: Actions = [Reach("source.reply_after_commit")] if reply else []
            actions += done(now, Published("STORED"))
            for asked in event.asked:
                actions += asked(now, Published("DUPLICATE"))
            event.asked = ()
            return actions + self._wake_each(shown, now)

        def failed(now: Instant, error: StorageError) -> Actions:
            shown = self._retained.abandon(event)
            if draft is not None:
                self._outbox.abandon(draft)
            refusal = Refusal(Reason.STORAGE_FAILED, str(error), message.uuid)
            actions: Actions = []
            for asked in [done, *event.asked]:
                actions += asked(now, Published("FAILED", refusal))
            return actions + self._wake_each(shown, now)

        before: Actions = [Reach("source.reply_before_commit")] if reply else []
        return [*before, self._commits.commit(writes, then, failed)]

    def announce(self, message: Message, now: Instant) -> Actions:
        """Show a receipt to those who wait for it, now or soon; copies of it are one."""
        if self._retained.find(message.uuid) is not None:
            return []
        return self._wake_each(self._retained.announce(message, now), now)

    def wait(
        self,
        caller: Caller,
        iterator: str,
        lane: LaneKey,
        worker: str,
        now: Instant,
        *,
        seen: str | None = None,
        receipts: bool = True,
    ) -> Actions:
        """Answer with the next event of the lane, now or when there is one; without `receipts` with none of
        those that were only announced."""
        refusal = self._iterators.check(iterator, "event")
        if refusal is None and caller in self._by_caller:
            refusal = Refusal(Reason.BAD_ARGUMENT, f"call {caller.call} is pending already")
        if refusal is not None:
            return [Respond(caller, error=refusal)]
        stream = self._streams.open(iterator, lane, worker, self._retained.end)
        before = self._start_over(stream, seen, now) if seen is not None else []
        self._iterators.hold(iterator)
        stream.waits[caller] = None
        wait = _Wait(caller, stream, receipts)
        self._by_caller[caller] = wait
        self._waits.setdefault(lane, OrderedDict())[caller] = wait
        return before + self._serve(wait, now) + self._commits.flush(now)

    def _start_over(self, stream: Stream, seen: str, now: Instant) -> Actions:
        """The reader says what reached it last: that is its position, and an older wait reaches nobody."""
        actions: Actions = []
        for caller in list(stream.waits):
            self._end(self._by_caller[caller], now)
            refusal = Refusal(Reason.REPLACED, "a newer wait of this iterator took its place")
            actions.append(Respond(caller, error=refusal))
        last = self._retained.find(seen) if seen else None
        if last is not None and (last.message is None or last.key <= stream.position):
            self._streams.resume(stream, last.key)
        elif not seen or stream.lane.reference:
            # Nothing yet; or a receipt, which may be forgotten, or announced anew behind a reply that was
            # lost: about one message there is little, and all of it is shown again.
            self._streams.resume(stream, stream.begin)
        elif seen == stream.seen:
            # A receipt that is forgotten. The wait before said the same: what it was handed was lost.
            self._streams.resume(stream, stream.seen_from)
        if not stream.lane.reference:
            stream.seen, stream.seen_from = seen, stream.position
        return actions

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        """The caller is gone; an event that it had just been handed is shown again."""
        self.awaiting.cancel(caller)
        wait = self._by_caller.get(caller)
        if wait is not None:
            self._end(wait, now)
            return []
        stream = self._streams.take_back(caller)
        if stream is None:
            return self.subscriptions.cancel(caller, now)
        return self._serve_lane(stream.lane, now) + self._commits.flush(now)

    def tick(self, now: Instant) -> Actions:
        actions = (
            self.come_home(now)
            + self._retained.tick(now)
            + self.subscriptions.tick(now)
            + self.awaiting.tick(now)
        )
        if self._retry_at is not None and now.mono >= self._retry_at:
            self._retry_at = None
            lanes, self._unreadable = self._unreadable, {}
            for lane in lanes:
                actions += self._serve_lane(lane, now)
        return actions

    @property
    def deadlines(self) -> Deadlines:
        """When `tick` is due; what has come home waits for no time."""
        parts = self._retained.deadline, *self.subscriptions.deadlines, self.awaiting.deadline
        return (self._deadline, *parts)

    def _deadline(self) -> float | None:
        return self._retry_at

    def depths(self) -> dict[str, Any]:
        return {
            **self._retained.depths(),
            "subscriptions": self.subscriptions.depths(),
            "awaiting": len(self.awaiting),
            "positions": len(self._streams),
            "waiting": len(self._by_caller),
        }

    def _wake_each(self, events: list[Event], now: Instant) -> Actions:
        return [action for event in events for action in self._wake(event, now)]

    def _wake(self, event: Event, now: Instant) -> Actions:
        actions: Actions = []
        if self._waits:
            for lane in event.lanes:
                actions += self._serve_lane(lane, now)
        if actions:  # what was shown is not shown again after a restart
            actions += self._commits.flush(now)
        return actions + self.awaiting.arrived(event) + self.subscriptions.arrived(event, now)

    def _serve_lane(self, lane: IndexKey, now: Instant) -> Actions:
        actions: Actions = []
        for wait in list(self._waits.get(lane, {}).values()):
            actions += self._serve(wait, now)
        return actions

    def _serve(self, wait: _Wait, now: Instant) -> Actions:
        actions: Actions = []
        while (event := self._next(wait.stream)) is not None:
            if event.message is not None and not wait.receipts:
                self._streams.skip(wait.stream, event.key)
                continue
            try:
                body = b""
                message = event.message or self._messages.kept(EVENTS, event.key)
                if message is None:
                    body = self._messages.body(EVENTS, event.key)
                    message = unpack(body)
            except DamagedError as error:
                left = Message(Kind.EVENT, {"uuid": event.uuid, "topic": event.topic}, body)
                self._streams.skip(wait.stream, event.key)
                actions += self._poisoned(event, left, now, Reason.STORAGE_FAILED, str(error))
                continue
            except StorageError as error:
                # The wait stays: an error would leave a Gandalf worker deaf for ever.
                self._commits.failed()
                self._unreadable[wait.stream.lane] = None
                self._retry_at = now.mono + RETRY
                self._commits.agenda.by(self._retry_at)
                note = Note("error", "event cannot be read", {"uuid": event.uuid, "error": str(error)})
                return [*actions, note]
            if broken := unfit(message):
                self._streams.skip(wait.stream, event.key)
                if unfit(message, text=False):
                    actions += self._poisoned(event, message, now, *broken)
                else:  # not for this reader; those of zconnector.v1 can have it
                    actions.append(Note("warning", "event passed over: not UTF-8", {"uuid": event.uuid}))
                continue
            self._streams.deliver(wait.stream, event.key, wait.caller)
            self._end(wait, now)
            actions.append(Respond(wait.caller, message.header, message.payload))
            break
        return actions

    def _next(self, stream: Stream) -> Event | None:
        while stream.again:
            event = self._retained.get(stream.again[0])
            if event is not None:
                return event
            stream.again.pop(0)
        return self._retained.after(stream.lane, stream.position)

    def _end(self, wait: _Wait, now: Instant) -> None:
        lane = wait.stream.lane
        del self._by_caller[wait.caller]
        del self._waits[lane][wait.caller]
        if not self._waits[lane]:
            del self._waits[lane]
        del wait.stream.waits[wait.caller]
        self._iterators.let_go(wait.stream.iterator, now)

    def _poisoned(
        self,
        event: Event,
        message: Message,
        now: Instant,
        reason: Reason,
        detail: str,
    ) -> Actions:
        """Nobody can be handed it: a dead letter, and no event any more."""
        letter = self._dead.bury(
            pack(message),
            event.uuid,
            event.topic,
            reason,
            now,
            kind=Kind.EVENT,
            detail=detail,
            source=message.text("source"),
        )
        self._retained.remove(event)
        self._commits.ride(letter, Delete(EVENTS, event.key))
        fields = {"uuid": event.uuid, "reason": str(reason), "detail": detail}
        return [Note("warning", "event is a dead letter", fields)]
