"""Named durable subscriptions: each sees every matching event at least once, and its holders compete.

| an event of a subscription | what happens | next |
|---|---|---|
| beyond `next` | a take, and less than `max_unacked` outstanding | held |
| held | acknowledged, committed | done with |
| held | lease over; ok=false of this hand-out; holder is gone; take cancelled unread | its turn again |
| its turn again | a take: before any that is new, attempt + 1 | held |
| any but done with | retention drops it | lost: counted in `missed` |

Receipts are shown to nobody here: they are never stored. Costs hang on the topics of a subscription and on
what it has outstanding, never on how many events are retained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from zconnector.actions import Actions, Caller, Respond
from zconnector.clock import Deadlines, Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.deliveries import Deliveries, Poisoned
from zconnector.queue.retained import Event, Retained
from zconnector.queue.store import POSITIONS, Delete
from zconnector.queue.subscription import Outstanding, Subscription, Terms, Wait, row_key
from zconnector.queue.subscription_index import SubscriptionIndex

MAX_SUBSCRIPTIONS = 1_000


class Acknowledgement(NamedTuple):
    """What a holder says of an event that it was handed."""

    id: int
    ok: bool
    """Done with; else it is to be handed out again."""
    attempt: int = 0
    """The hand-out that it was; 0: the holder does not say. Work that is done is done, whichever hand-out it
    was; but a late `ok=false` must not free a hand-out that came after the one it is of."""


class Subscriptions:
    """All of them, by name."""

    def __init__(self, commits: Commits, messages: Messages, retained: Retained, poisoned: Poisoned) -> None:
        """`poisoned` makes a dead letter of an event that nobody can be handed."""
        self._commits = commits
        self._retained = retained
        self._index = SubscriptionIndex(commits.agenda)
        self._deliveries = Deliveries(commits, messages, retained, self._index, poisoned)

    def restore(self, name: str, meta: dict[str, Any], now: Instant) -> int:
        """Take a stored subscription back; returns its position."""
        subscription = Subscription.from_meta(name, meta)
        self._index.enter(subscription)
        self._deliveries.restore(subscription, now)
        return subscription.next

    def find(self, name: str) -> Subscription | None:
        """The subscription of that name."""
        return self._index.get(name)

    # ---- to be and not to be

    def subscribe(self, caller: Caller, name: str, terms: Terms, *, oldest: bool, now: Instant) -> Actions:
        """Make a subscription, which begins at the oldest retained event or with what arrives from now on.

        One that is there keeps its position, and has these terms from now on; a topic that is new to it
        begins at that position.
        """
        subscription = self._index.get(name)
        created = subscription is None
        if subscription is None:
            if len(self._index) >= MAX_SUBSCRIPTIONS:
                full = Refusal(Reason.QUEUE_FULL, f"there are {MAX_SUBSCRIPTIONS} subscriptions")
                return [Respond(caller, error=full)]
            subscription = Subscription(name, terms, 0 if oldest else self._retained.end)
            self._index.enter(subscription)
        elif subscription.terms != terms:
            self._index.leave_lanes(subscription)
            subscription.terms = terms
            self._index.enter(subscription)
        made = subscription
        made.commits += 1
        self._deliveries.is_stored(made)

        def then(now: Instant) -> Actions:
            made.commits -= 1
            made.stored = True
            told = Respond(caller, {"created": created, "missed": made.missed})
            return [told, *self._deliveries.serve(made, now), *self._deliveries.settled(now)]

        def failed(now: Instant, error: StorageError) -> Actions:
            made.commits -= 1
            if self._index.get(name) is made:
                if made.stored:
                    self._deliveries.changed(made)  # its terms hold, and are stored as soon as they can be
                elif not made.commits:
                    self._forget(made)
            return [
                Respond(caller, error=Refusal(Reason.STORAGE_FAILED, str(error))),
                *self._deliveries.settled(now),
            ]

        return [self._commits.commit([made.as_put()], then, failed)]

    def unsubscribe(self, caller: Caller, name: str, now: Instant) -> Actions:
        """It is gone with its position, whoever waits on it."""
        subscription = self._index.get(name)
        actions: Actions = []
        if subscription is not None:
            gone = Refusal(Reason.NOT_FOUND, f"subscription {name} was ended")
            for caller_ in list(subscription.waits):
                self._index.unpark(caller_)
                actions.append(Respond(caller_, error=gone))
            self._forget(subscription)
        existed = subscription is not None

        def then(now: Instant) -> Actions:
            return [Respond(caller, {"existed": existed})]

        def failed(now: Instant, error: StorageError) -> Actions:
            if self._index.get(name) is None:  # gone all the same, as soon as it can be
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
        if self._index.waited_on(caller) is not None:
            raise Refusal(Reason.BAD_ARGUMENT, f"call {caller.call} is pending already")
        self._deliveries.holder_lives(holder, now)
        self._index.park(subscription, Wait(caller, holder, limit))
        actions = self._deliveries.serve(subscription, now)
        if self._index.waited_on(caller) is not None and wait is not None:
            if wait <= 0:
                self._index.unpark(caller)
                actions.append(_nothing(caller))
            else:
                self._index.ends(caller, now.mono + wait)
        return actions + self._deliveries.settled(now)

    def acknowledge(
        self, caller: Caller, name: str, holder: str, events: Sequence[Acknowledgement], now: Instant
    ) -> Actions:
        """Events are done with, or to be handed out again; answered after the commit."""
        subscription = self._known(name)
        self._deliveries.holder_lives(holder, now)
        results: list[dict[str, Any]] = []
        settling: dict[int, Outstanding] = {}
        for key, ok, attempt in events:
            out = subscription.open.get(key)
            refusal = self._not_theirs(out, holder, 0 if ok else attempt)
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
                self._deliveries.give_back(subscription, key, out)

        def then(now: Instant) -> Actions:
            for key, out in settling.items():
                out.settling -= 1
                if subscription.open.get(key) is out:
                    subscription.settle(key)
                    self._deliveries.done_with(subscription, key, out)
            told = Respond(caller, {"results": results})
            return [told, *self._deliveries.serve(subscription, now), *self._deliveries.settled(now)]

        def failed(now: Instant, error: StorageError) -> Actions:
            for key, out in settling.items():
                out.settling -= 1
                if not out.settling and not out.held and subscription.open.get(key) is out:
                    subscription.let_go(key, out)  # its lease ended meanwhile
            self._deliveries.changed(subscription)
            told = Respond(caller, error=Refusal(Reason.STORAGE_FAILED, str(error)))
            return [told, *self._deliveries.serve(subscription, now), *self._deliveries.settled(now)]

        actions = self._deliveries.serve(subscription, now)
        self._deliveries.is_stored(subscription)
        return [*actions, self._commits.commit([subscription.as_put()], then, failed)]

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        """The caller of a take is gone: also when it was just answered, and nobody read that."""
        if self._index.waited_on(caller) is None:
            return self._deliveries.unread(caller, now)
        self._index.unpark(caller)
        return []

    def release_holder(self, holder: str, now: Instant) -> Actions:
        """A holder is gone: what it holds is handed out again, and its waits are answered with nothing.

        Of holder "" nobody can say so.
        """
        if not holder:
            return []
        actions: Actions = []
        for caller in self._index.waits_of(holder):
            self._index.unpark(caller)
            actions.append(_nothing(caller))
        return actions + self._deliveries.release(holder, now)

    def holder_lives(self, holder: str, now: Instant) -> None:
        """A holder shows itself (each take and acknowledge does so too)."""
        self._deliveries.holder_lives(holder, now)

    def arrived(self, event: Event, now: Instant) -> Actions:
        """An event has become visible."""
        return self._deliveries.arrived(event, now)

    # ---- time and status

    def tick(self, now: Instant) -> Actions:
        """Ends of leases and of waits; what could not be read; who has missed something."""
        over: Actions = [_nothing(caller) for caller in self._index.overdue(now.mono)]
        return over + self._deliveries.tick(now)

    @property
    def deadlines(self) -> Deadlines:
        """When `tick` is due."""
        return (self._index.deadline, self._deliveries.deadline)

    def depths(self) -> dict[str, Any]:
        """What `zconnector status` shows."""
        return {
            "count": len(self._index),
            "outstanding": sum(len(subscription.open) for subscription in self._index),
            "waiting": self._index.callers,
            "missed": self._deliveries.missed,
        }

    # ---- inside

    def _not_theirs(self, out: Outstanding | None, holder: str, attempt: int) -> dict[str, str] | None:
        """Why not, in few words: one answer has hundreds of them in its header.

        `attempt`: the hand-out after which there may be no other; 0: any.
        """
        if out is None:
            detail = "it is not outstanding: acknowledged, lost to retention, or not handed out yet"
            return {"code": Reason.NOT_FOUND, "detail": detail}
        if self._deliveries.is_anothers(out, holder):
            detail = f"it is with another holder, attempt {out.attempt}"
            return {"code": Reason.FENCED, "detail": detail}
        # A later one than is known here was forgotten by a kill before its commit: it is theirs all the same.
        if attempt and attempt < out.attempt:
            detail = f"it was handed out again: attempt {out.attempt}, not {attempt}"
            return {"code": Reason.FENCED, "detail": detail}
        return None

    def _known(self, name: str) -> Subscription:
        subscription = self._index.get(name)
        if subscription is None or not subscription.stored:
            raise Refusal(Reason.NOT_FOUND, f"no such subscription: {name[:64]!r}")
        return subscription

    def _forget(self, subscription: Subscription) -> None:
        self._index.remove(subscription)
        self._deliveries.forget(subscription)


def _nothing(caller: Caller) -> Respond:
    return Respond(caller, {"events": [], "missed": 0})
