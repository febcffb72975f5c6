"""Named durable subscriptions: each sees every matching event at least once, and its holders compete.

| an event of a subscription | what happens | next |
|---|---|---|
| beyond `next` | a take, and less than `max_unacked` outstanding | held |
| held | acknowledged, committed | done with |
| held | lease over; ok=false; its holder is gone; the take was cancelled unread | its turn again |
| its turn again | a take: before any that is new, attempt + 1 | held |
| any but done with | retention drops it | lost: counted in `missed` |

Receipts are shown to nobody here: they are never stored. Costs hang on the topics of a subscription and on
what it has outstanding, never on how many events are retained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zconnector.actions import Actions, Caller, Note, Respond
from zconnector.clock import Instant, earliest
from zconnector.errors import DamagedError, Reason, Refusal, StorageError
from zconnector.messages import Kind, Message
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.deadlines import Deadlines
from zconnector.queue.envelope import unlistable, unpack
from zconnector.queue.holders import Holders
from zconnector.queue.lanes import LaneKey
from zconnector.queue.listing import Listing
from zconnector.queue.retained import Event, Retained
from zconnector.queue.store import EVENTS, POSITIONS, Delete
from zconnector.queue.subscription import Outstanding, Subscription, Terms, Wait, row_key

MAX_SUBSCRIPTIONS = 1_000
AFTER_RESTART = 15.0
"""Seconds that a restored lease waits for its holder to show itself."""

COUNT_EVERY = 1.0
"""Seconds between two writes of what was missed: so much of the count a crash may take."""

Poisoned = Callable[[Event, Message, Instant, Reason, str], Actions]


class Subscriptions:
    """All of them, by name. What changes is in `_changed` until `ride`."""

    def __init__(self, commits: Commits, messages: Messages, retained: Retained, poisoned: Poisoned) -> None:
        """`poisoned` makes a dead letter of an event that nobody can be handed."""
        self._commits = commits
        self._messages = messages
        self._retained = retained
        self._poisoned = poisoned
        self._all: dict[str, Subscription] = {}
        self._of_lane: dict[LaneKey, dict[str, Subscription]] = {}
        self._waiting: dict[LaneKey, dict[str, Subscription]] = {}
        """Those of `_of_lane` that somebody waits on."""
        self._callers: dict[Caller, Subscription] = {}
        """Who waits."""
        self._wait_ends: Deadlines[Caller] = Deadlines()
        self._lease_ends: Deadlines[tuple[str, int]] = Deadlines()
        self._holders = Holders()
        self._changed: dict[str, Subscription] = {}
        self._stirred: dict[str, Subscription] = {}
        """Those waited on that have something to tell since an event was lost."""
        self._unread: dict[str, Subscription] = {}
        self._retry_at: float | None = None
        self._behind: dict[str, Subscription] = {}
        """Those whose count of missed events is not stored yet: one that lags would be written with every
        event that retention drops."""
        self._count_at: float | None = None
        self._told: dict[Caller, Subscription] = {}
        """Who was told last what a subscription missed."""
        self.missed = 0
        """Events lost unacknowledged, of all subscriptions, since the start."""
        retained.on_remove = self._lost

    # ---- restart

    def restore(self, name: str, meta: dict[str, Any], now: Instant) -> int:
        """Take a stored subscription back; returns its position."""
        subscription = Subscription.from_meta(name, meta)
        self._enter(subscription)
        lease = subscription.terms.lease_ms / 1000
        for key, out in subscription.open.items():
            if out.held:
                self._holders.took(out, name, key)
                self._holders.doubt(out.holder)
                ends = min(lease, AFTER_RESTART) if out.holder else lease
                self._lease_ends.put((name, key), now.mono + ends)
        return subscription.next

    # ---- to be and not to be

    def find(self, name: str) -> Subscription | None:
        """The subscription of that name."""
        return self._all.get(name)

    def subscribe(self, caller: Caller, name: str, terms: Terms, *, oldest: bool, now: Instant) -> Actions:
        """Make a subscription, which begins at the oldest retained event or with what arrives from now on.

        One that is there keeps its position, and has these terms from now on; a topic that is new to it
        begins at that position.
        """
        subscription = self._all.get(name)
        created = subscription is None
        if subscription is None:
            if len(self._all) >= MAX_SUBSCRIPTIONS:
                full = Refusal(Reason.QUEUE_FULL, f"there are {MAX_SUBSCRIPTIONS} subscriptions")
                return [Respond(caller, error=full)]
            subscription = Subscription(name, terms, 0 if oldest else self._retained.end)
            self._enter(subscription)
        elif subscription.terms != terms:
            self._leave_lanes(subscription)
            subscription.terms = terms
            self._enter(subscription)
        made = subscription
        made.commits += 1
        self._changed.pop(name, None)

        def then(now: Instant) -> Actions:
            made.commits -= 1
            made.stored = True
            told = Respond(caller, {"created": created, "missed": made.missed})
            return [told, *self._serve(made, now), *self._settled(now)]

        def failed(now: Instant, error: StorageError) -> Actions:
            made.commits -= 1
            if self._all.get(name) is made:
                if made.stored:
                    self._changed[name] = made  # its terms hold, and are stored as soon as they can be
                elif not made.commits:
                    self._forget(made)
            return [Respond(caller, error=Refusal(Reason.STORAGE_FAILED, str(error))), *self._settled(now)]

        return [self._commits.commit([made.as_put()], then, failed)]

    def unsubscribe(self, caller: Caller, name: str, now: Instant) -> Actions:
        """It is gone with its position, whoever waits on it."""
        subscription = self._all.get(name)
        actions: Actions = []
        if subscription is not None:
            gone = Refusal(Reason.NOT_FOUND, f"subscription {name} was ended")
            for wait in list(subscription.waits.values()):
                self._end_wait(subscription, wait)
                actions.append(Respond(wait.caller, error=gone))
            self._forget(subscription)
        existed = subscription is not None

        def then(now: Instant) -> Actions:
            return [Respond(caller, {"existed": existed})]

        def failed(now: Instant, error: StorageError) -> Actions:
            if name not in self._all:  # gone all the same, as soon as it can be
                self._commits.ride(Delete(POSITIONS, row_key(name)))
            return [Respond(caller, error=Refusal(Reason.STORAGE_FAILED, str(error)))]

        return [*actions, self._commits.commit([Delete(POSITIONS, row_key(name))], then, failed)]

    # ---- to take and to acknowledge

    def take(
        self, caller: Caller, name: str, holder: str, limit: int, wait: float | None, now: Instant
    ) -> Actions:
        """Answer with up to `limit` events, or with what was missed; now, or when there is something.

        `wait`: seconds until the answer is that there is nothing; 0: at once; None: no limit.
        """
        subscription = self._known(name)
        if caller in self._callers:
            raise Refusal(Reason.BAD_ARGUMENT, f"call {caller.call} is pending already")
        self.holder_lives(holder, now)
        waiting = Wait(caller, holder, limit)
        subscription.waits[caller] = waiting
        self._callers[caller] = subscription
        for lane in subscription.terms.topics:
            self._waiting.setdefault(lane, {})[name] = subscription
        actions = self._serve(subscription, now)
        if caller in subscription.waits and wait is not None:
            if wait <= 0:
                self._end_wait(subscription, waiting)
                actions.append(_nothing(caller))
            else:
                self._wait_ends.put(caller, now.mono + wait)
        return actions + self._settled(now)

    def acknowledge(
        self, caller: Caller, name: str, holder: str, events: Sequence[tuple[int, bool]], now: Instant
    ) -> Actions:
        """Events are done with (True), or to be handed out again (False); answered after the commit."""
        subscription = self._known(name)
        self.holder_lives(holder, now)
        results: list[dict[str, Any]] = []
        settling: dict[int, Outstanding] = {}
        for key, ok in events:
            out = subscription.open.get(key)
            refusal = self._not_theirs(out, key, holder)
            if out is None or refusal is not None:
                results.append({"id": key, "error": refusal})
                continue
            results.append({"id": key})
            if ok and key not in settling:
                settling[key] = out
                if not out.held and not out.settling:
                    subscription.again.remove(key)
                out.settling += 1
            elif not ok and out.held and not out.settling:
                self._return(subscription, key, out)
        self._changed.pop(name, None)

        def then(now: Instant) -> Actions:
            for key, out in settling.items():
                out.settling -= 1
                if subscription.open.get(key) is out:
                    subscription.settle(key)
                    self._done_with(subscription, key, out)
            told = Respond(caller, {"results": results})
            return [told, *self._serve(subscription, now), *self._settled(now)]

        def failed(now: Instant, error: StorageError) -> Actions:
            for key, out in settling.items():
                out.settling -= 1
                if not out.settling and not out.held and subscription.open.get(key) is out:
                    subscription.let_go(key, out)  # its lease ended meanwhile
            if self._all.get(name) is subscription:
                self._changed[name] = subscription
            told = Respond(caller, error=Refusal(Reason.STORAGE_FAILED, str(error)))
            return [told, *self._serve(subscription, now), *self._settled(now)]

        actions = self._serve(subscription, now)
        self._changed.pop(name, None)
        return [*actions, self._commits.commit([subscription.as_put()], then, failed)]

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        """The caller of a take is gone: also when it was just answered, and nobody read that."""
        subscription = self._callers.get(caller)
        if subscription is not None:
            self._end_wait(subscription, subscription.waits[caller])
            return []
        told = self._told.pop(caller, None)
        if told is not None and told.told is not None:
            told.missed += told.told[1]
            told.told = None
            self._changed[told.name] = self._stirred[told.name] = told
        return self._give_back(self._holders.handed_to(caller), now, unseen=True)

    def release_holder(self, holder: str, now: Instant) -> Actions:
        """A holder is gone: what it holds is handed out again, and its waits are answered with nothing."""
        actions: Actions = []
        for subscription in {s.name: s for s in self._callers.values()}.values():
            for wait in [w for w in subscription.waits.values() if holder and w.holder == holder]:
                self._end_wait(subscription, wait)
                actions.append(_nothing(wait.caller))
        return actions + self._give_back(self._holders.held_by(holder), now, unseen=False)

    def holder_lives(self, holder: str, now: Instant) -> None:
        """A holder shows itself: what it held before a restart is its for a whole lease from now."""
        for name, key in self._holders.believe(holder):
            lease = self._all[name].terms.lease_ms / 1000
            self._lease_ends.put((name, key), now.mono + lease)

    # ---- what happens to events

    def arrived(self, event: Event, now: Instant) -> Actions:
        """An event has become visible."""
        actions: Actions = []
        if event.message is None:
            for lane in event.lanes:
                for subscription in list(self._waiting.get(lane, {}).values()):
                    actions += self._serve(subscription, now)
        return actions + self._settled(now)

    def ride(self) -> None:
        """What has changed goes with the next commit."""
        changed, self._changed = self._changed, {}
        self._commits.ride(*(s.as_put() for s in changed.values() if s.stored))

    def _lost(self, event: Event) -> None:
        """Retention drops an event: whoever has not acknowledged it has missed it."""
        for lane in event.lanes:
            for subscription in self._of_lane.get(lane, {}).values():
                if event.key <= subscription.next and event.key not in subscription.open:
                    continue
                self._miss(subscription, event.key)

    def _miss(self, subscription: Subscription, key: int) -> None:
        out = subscription.settle(key)
        if out is not None:
            self._done_with(subscription, key, out)
        self._behind[subscription.name] = subscription
        if out is None or not out.settling:
            subscription.missed += 1
            self.missed += 1
        if subscription.waits:
            self._stirred[subscription.name] = subscription

    # ---- time

    def tick(self, now: Instant) -> Actions:
        """Ends of leases and of waits; what could not be read; who has missed something."""
        actions: Actions = []
        for name, key in self._lease_ends.due(now.mono):
            subscription = self._all[name]
            self._return(subscription, key, subscription.open[key])
            self._stirred[name] = subscription
        for caller in self._wait_ends.due(now.mono):
            subscription = self._callers[caller]
            self._end_wait(subscription, subscription.waits[caller])
            actions.append(_nothing(caller))
        if self._retry_at is not None and now.mono >= self._retry_at:
            self._retry_at = None
            self._stirred.update(self._unread)
            self._unread = {}
        stirred, self._stirred = self._stirred, {}
        for subscription in stirred.values():
            actions += self._serve(subscription, now)
        if self._count_at is not None and now.mono >= self._count_at:
            self._count_at = None
            self._changed.update(self._behind)
            self._behind = {}
        elif self._behind and self._count_at is None:
            self._count_at = now.mono + COUNT_EVERY
        return actions + self._settled(now)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        if self._stirred or (self._behind and self._count_at is None):
            return 0.0
        return earliest(self._lease_ends.first(), self._wait_ends.first(), self._retry_at, self._count_at)

    def depths(self) -> dict[str, Any]:
        """What `zconnector status` shows."""
        return {
            "count": len(self._all),
            "outstanding": sum(len(subscription.open) for subscription in self._all.values()),
            "waiting": len(self._callers),
            "missed": self.missed,
        }

    # ---- inside

    def _serve(self, subscription: Subscription, now: Instant) -> Actions:
        """Answer who waits, in order of arrival, as long as there is something to tell."""
        actions: Actions = []
        while subscription.waits and subscription.stored:
            wait = next(iter(subscription.waits.values()))
            listing = Listing()
            actions += self._collect(subscription, wait, listing, now)
            if not listing and not subscription.missed:
                break
            told = {"events": listing.items, "missed": subscription.missed}
            if subscription.missed:
                self._tell_missed(subscription, wait.caller)
            self._changed[subscription.name] = subscription
            self._end_wait(subscription, wait)
            actions.append(Respond(wait.caller, told, listing.payload))
        return actions

    def _tell_missed(self, subscription: Subscription, caller: Caller) -> None:
        if subscription.told is not None:
            self._told.pop(subscription.told[0], None)
        subscription.told = (caller, subscription.missed)
        self._told[caller] = subscription
        subscription.missed = 0

    def _collect(self, subscription: Subscription, wait: Wait, listing: Listing, now: Instant) -> Actions:
        actions: Actions = []
        while len(listing) < wait.limit and (event := self._next(subscription)) is not None:
            try:
                body = self._messages.body(EVENTS, event.key)
                message = unpack(body)
            except DamagedError as error:
                left = Message(Kind.EVENT, {"uuid": event.uuid, "topic": event.topic}, body)
                actions += self._poisoned(event, left, now, Reason.STORAGE_FAILED, str(error))
                continue
            except StorageError as error:
                self._commits.failed()
                self._unread[subscription.name] = subscription
                self._retry_at = now.mono + RETRY
                fields = {"uuid": event.uuid, "error": str(error)}
                actions.append(Note("error", "event cannot be read", fields))
                break
            header = len(body) - len(message.payload)  # a little more than its header has
            if not listing.takes(header, len(message.payload)):
                break
            if broken := unlistable(message):
                actions += self._poisoned(event, message, now, *broken)
                continue
            out = self._hand_out(subscription, event.key, wait, now)
            listing.add(message.header, header, message.payload, id=event.key, attempt=out.attempt)
        return actions

    def _next(self, subscription: Subscription) -> Event | None:
        while subscription.again:
            event = self._retained.get(subscription.again[0])
            if event is not None:
                return event
            self._miss(subscription, subscription.again[0])  # of a topic that is not subscribed any more
        while subscription.has_room:
            found = [self._retained.after(lane, subscription.next) for lane in subscription.terms.topics]
            events = [event for event in found if event is not None]
            if not events:
                return None
            event = min(events, key=lambda event: event.key)
            if event.message is None:
                return event
            subscription.next = event.key  # a receipt
        return None

    def _hand_out(self, subscription: Subscription, key: int, wait: Wait, now: Instant) -> Outstanding:
        out = subscription.open.get(key)
        if out is None:
            out = subscription.open[key] = Outstanding(0)
            subscription.next = key
        else:
            subscription.again.pop(0)
        out.attempt += 1
        out.held, out.holder, out.caller = True, wait.holder, wait.caller
        self._holders.took(out, subscription.name, key)
        self._lease_ends.put((subscription.name, key), now.mono + subscription.terms.lease_ms / 1000)
        return out

    def _not_theirs(self, out: Outstanding | None, key: int, holder: str) -> dict[str, str] | None:
        if out is None:
            detail = f"event {key} is not outstanding: acknowledged, lost to retention, or not handed out yet"
            return {"code": Reason.NOT_FOUND, "detail": detail}
        if out.held and out.holder != holder and not self._holders.is_doubted(out.holder):
            detail = f"event {key} is with another holder, attempt {out.attempt}"
            return {"code": Reason.FENCED, "detail": detail}
        return None

    def _give_back(self, held: Iterable[tuple[str, int]], now: Instant, *, unseen: bool) -> Actions:
        actions: Actions = []
        touched: dict[str, Subscription] = {}
        for name, key in held:
            subscription = touched[name] = self._all[name]
            out = subscription.open[key]
            out.attempt -= unseen
            self._return(subscription, key, out)
        for subscription in touched.values():
            actions += self._serve(subscription, now)
        return actions + self._settled(now)

    def _return(self, subscription: Subscription, key: int, out: Outstanding) -> None:
        self._done_with(subscription, key, out)
        subscription.let_go(key, out)
        self._changed[subscription.name] = subscription

    def _done_with(self, subscription: Subscription, key: int, out: Outstanding) -> None:
        """No lease of it any more."""
        self._holders.left(out, subscription.name, key)
        self._lease_ends.drop((subscription.name, key))

    def _settled(self, now: Instant) -> Actions:
        self.ride()
        return self._commits.flush(now)

    def _known(self, name: str) -> Subscription:
        subscription = self._all.get(name)
        if subscription is None or not subscription.stored:
            raise Refusal(Reason.NOT_FOUND, f"no such subscription: {name[:64]!r}")
        return subscription

    def _enter(self, subscription: Subscription) -> None:
        self._all[subscription.name] = subscription
        for lane in subscription.terms.topics:
            self._of_lane.setdefault(lane, {})[subscription.name] = subscription
            if subscription.waits:
                self._waiting.setdefault(lane, {})[subscription.name] = subscription

    def _leave_lanes(self, subscription: Subscription) -> None:
        for lane in subscription.terms.topics:
            for index in (self._of_lane, self._waiting):
                _discard(index, lane, subscription.name)

    def _forget(self, subscription: Subscription) -> None:
        self._leave_lanes(subscription)
        del self._all[subscription.name]
        for marked in (self._changed, self._stirred, self._unread, self._behind):
            marked.pop(subscription.name, None)
        if subscription.told is not None:
            self._told.pop(subscription.told[0], None)
        for key, out in subscription.open.items():
            self._done_with(subscription, key, out)
        subscription.open.clear()
        subscription.again.clear()

    def _end_wait(self, subscription: Subscription, wait: Wait) -> None:
        del subscription.waits[wait.caller]
        del self._callers[wait.caller]
        self._wait_ends.drop(wait.caller)
        if not subscription.waits:
            for lane in subscription.terms.topics:
                _discard(self._waiting, lane, subscription.name)


def _discard(index: dict[LaneKey, dict[str, Subscription]], lane: LaneKey, name: str) -> None:
    group = index.get(lane)
    if group is not None:
        group.pop(name, None)
        if not group:
            del index[lane]


def _nothing(caller: Caller) -> Respond:
    return Respond(caller, {"events": [], "missed": 0})
