"""Events on their way to the holders of subscriptions, and back when a lease ends (`subscriptions.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zconnector.actions import Actions, Caller, Note, Respond
from zconnector.alarms import Alarms
from zconnector.clock import Instant, earliest
from zconnector.errors import DamagedError, Reason, StorageError
from zconnector.messages import Kind, Message
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.envelope import unfit, unpack
from zconnector.queue.holders import Holders
from zconnector.queue.listing import Listing
from zconnector.queue.retained import Event, Retained
from zconnector.queue.store import EVENTS
from zconnector.queue.subscription import Outstanding, Subscription, Wait
from zconnector.queue.subscription_index import SubscriptionIndex

AFTER_RESTART = 15.0
"""Seconds that a restored lease waits for its holder to show itself."""
COUNT_EVERY = 1.0
"""Seconds between two writes of what was missed: so much of the count a crash may take."""

Poisoned = Callable[[Event, Message, Instant, Reason, str], Actions]


class Deliveries:
    """Leases of events, and what was missed. What changes is in `_changed` until `ride`."""

    def __init__(
        self,
        commits: Commits,
        messages: Messages,
        retained: Retained,
        index: SubscriptionIndex,
        poisoned: Poisoned,
    ) -> None:
        """`poisoned` makes a dead letter of an event that nobody can be handed."""
        self._commits = commits
        self._messages = messages
        self._retained = retained
        self._index = index
        self._poisoned = poisoned
        self._lease_ends: Alarms[tuple[str, int]] = Alarms(commits.agenda)
        self._holders = Holders()
        self._changed: dict[str, Subscription] = {}
        self._stirred: dict[str, Subscription] = {}
        """Those that have something to tell whoever waits on them since an event was lost."""
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

    def restore(self, subscription: Subscription, now: Instant) -> None:
        """Its leases go on, those of streams as long as these may come back."""
        lease = subscription.terms.lease_ms / 1000
        for key, out in subscription.open.items():
            if out.held:
                self._holders.took(out, subscription.name, key)
                self._holders.doubt(out.holder)
                ends = min(lease, AFTER_RESTART) if out.holder else lease
                self._lease_ends.set((subscription.name, key), now.mono + ends)

    def changed(self, subscription: Subscription) -> None:
        """It is to be stored, unless it is gone."""
        if self._index.get(subscription.name) is subscription:
            self._changed[subscription.name] = subscription

    def is_stored(self, subscription: Subscription) -> None:
        """What it is now is in a commit."""
        self._changed.pop(subscription.name, None)

    def forget(self, subscription: Subscription) -> None:
        """It is gone, and all its leases."""
        for marked in (self._changed, self._stirred, self._unread, self._behind):
            marked.pop(subscription.name, None)
        if subscription.told is not None:
            self._told.pop(subscription.told[0], None)
        for key, out in subscription.open.items():
            self.done_with(subscription, key, out)
        subscription.open.clear()
        subscription.again.clear()

    # ---- what ends a lease

    def unread(self, caller: Caller, now: Instant) -> Actions:
        """A call was answered, and nobody read that: nothing of it counts."""
        told = self._told.pop(caller, None)
        if told is not None and told.told is not None:
            told.missed += told.told[1]
            told.told = None
            self._changed[told.name] = self._stirred[told.name] = told
            self._commits.agenda.doubt()
        return self._give_back(self._holders.handed_to(caller), now, unseen=True)

    def release(self, holder: str, now: Instant) -> Actions:
        """A holder is gone: what it holds is handed out again."""
        return self._give_back(self._holders.held_by(holder), now, unseen=False)

    def holder_lives(self, holder: str, now: Instant) -> None:
        """A holder shows itself: what it held before a restart is its for a whole lease from now."""
        for name, key in self._holders.believe(holder):
            self._lease_ends.set((name, key), now.mono + self._index[name].terms.lease_ms / 1000)

    def is_anothers(self, out: Outstanding, holder: str) -> bool:
        """Whether an event is with somebody else, who may be alive."""
        return out.held and out.holder != holder and not self._holders.is_doubted(out.holder)

    def give_back(self, subscription: Subscription, key: int, out: Outstanding) -> None:
        """Nobody holds it any more."""
        self.done_with(subscription, key, out)
        subscription.let_go(key, out)
        self._changed[subscription.name] = subscription

    def done_with(self, subscription: Subscription, key: int, out: Outstanding) -> None:
        """No lease of it any more."""
        self._holders.left(out, subscription.name, key)
        self._lease_ends.cancel((subscription.name, key))

    def _give_back(self, held: Iterable[tuple[str, int]], now: Instant, *, unseen: bool) -> Actions:
        actions: Actions = []
        touched: dict[str, Subscription] = {}
        for name, key in held:
            subscription = touched[name] = self._index[name]
            out = subscription.open[key]
            out.attempt -= unseen
            self.give_back(subscription, key, out)
        for subscription in touched.values():
            actions += self.serve(subscription, now)
        return actions + self.settled(now)

    # ---- what happens to events

    def arrived(self, event: Event, now: Instant) -> Actions:
        """An event has become visible."""
        actions: Actions = []
        if event.message is None:
            for subscription in self._index.waiting_for(event):
                actions += self.serve(subscription, now)
        return actions + self.settled(now) if self._changed else actions

    def ride(self) -> None:
        """What has changed goes with the next commit."""
        changed, self._changed = self._changed, {}
        self._commits.ride(*(s.as_put() for s in changed.values() if s.stored))

    def settled(self, now: Instant) -> Actions:
        """Store what has changed; what others let ride is theirs to hurry."""
        if not self._changed:
            return []
        self.ride()
        return self._commits.flush(now)

    def _lost(self, event: Event) -> None:
        """Retention drops an event: whoever has not acknowledged it has missed it."""
        for subscription in self._index.of(event):
            if event.key > subscription.next or event.key in subscription.open:
                self._miss(subscription, event.key)

    def _miss(self, subscription: Subscription, key: int) -> None:
        out = subscription.settle(key)
        if out is not None:
            self.done_with(subscription, key, out)
        self._behind[subscription.name] = subscription
        self._commits.agenda.doubt()
        if out is None or not out.settling:
            subscription.missed += 1
            self.missed += 1
        if subscription.waits:
            self._stirred[subscription.name] = subscription

    # ---- time

    def tick(self, now: Instant) -> Actions:
        """Ends of leases; what could not be read; who has missed something."""
        actions: Actions = []
        for name, key in self._lease_ends.due(now.mono):
            subscription = self._index[name]
            self.give_back(subscription, key, subscription.open[key])
            self._stirred[name] = subscription
        if self._retry_at is not None and now.mono >= self._retry_at:
            self._retry_at = None
            self._stirred.update(self._unread)
            self._unread = {}
        stirred, self._stirred = self._stirred, {}
        for subscription in stirred.values():
            actions += self.serve(subscription, now)
        if self._count_at is not None and now.mono >= self._count_at:
            self._count_at = None
            self._changed.update(self._behind)
            self._behind = {}
        elif self._behind and self._count_at is None:
            self._count_at = now.mono + COUNT_EVERY
        return actions + self.settled(now)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        if self._stirred or (self._behind and self._count_at is None):
            return 0.0
        return earliest(self._lease_ends.deadline(), self._retry_at, self._count_at)

    # ---- to hand out

    def serve(self, subscription: Subscription, now: Instant) -> Actions:
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
            self._index.unpark(wait.caller)
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
                self._commits.agenda.by(self._retry_at)
                fields = {"uuid": event.uuid, "error": str(error)}
                actions.append(Note("error", "event cannot be read", fields))
                break
            header = len(body) - len(message.payload)  # a little more than its header has
            if not listing.takes(header, len(message.payload)):
                break
            if broken := unfit(message, text=False):
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
        self._lease_ends.set((subscription.name, key), now.mono + subscription.terms.lease_ms / 1000)
        return out
