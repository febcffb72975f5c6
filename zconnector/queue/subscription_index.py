"""The subscriptions by name, by topic, and by who waits on them."""

from __future__ import annotations

from collections.abc import Iterator

from zconnector.actions import Caller
from zconnector.agenda import Agenda
from zconnector.alarms import Alarms
from zconnector.queue.lanes import IndexKey
from zconnector.queue.retained import Event
from zconnector.queue.subscription import Subscription, Wait


class SubscriptionIndex:
    """Invariant: one is in the lanes of its topics, and in `_waiting` of them while it is waited on; a call
    that waits is in `_callers`, and among those of its holder."""

    def __init__(self, agenda: Agenda) -> None:
        self._all: dict[str, Subscription] = {}
        self._of_lane: dict[IndexKey, dict[str, Subscription]] = {}
        self._waiting: dict[IndexKey, dict[str, Subscription]] = {}
        self._callers: dict[Caller, Subscription] = {}
        self._of_holder: dict[str, dict[Caller, None]] = {}
        self._ends: Alarms[Caller] = Alarms(agenda)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._all.values())

    def get(self, name: str) -> Subscription | None:
        return self._all.get(name)

    def __getitem__(self, name: str) -> Subscription:
        return self._all[name]

    @property
    def callers(self) -> int:
        """How many calls wait."""
        return len(self._callers)

    def enter(self, subscription: Subscription) -> None:
        """One more; or one with other topics, which it left before."""
        self._all[subscription.name] = subscription
        for lane in subscription.terms.topics:
            self._of_lane.setdefault(lane, {})[subscription.name] = subscription
            if subscription.waits:
                self._waiting.setdefault(lane, {})[subscription.name] = subscription

    def leave_lanes(self, subscription: Subscription) -> None:
        """It has no topics for now."""
        for lane in subscription.terms.topics:
            for index in (self._of_lane, self._waiting):
                _discard(index, lane, subscription.name)

    def remove(self, subscription: Subscription) -> None:
        """It is gone; nobody waits on it."""
        self.leave_lanes(subscription)
        del self._all[subscription.name]

    def of(self, event: Event) -> Iterator[Subscription]:
        """Those that an event is for."""
        if self._of_lane:
            for lane in event.lanes:
                yield from self._of_lane.get(lane, {}).values()

    def waiting_for(self, event: Event) -> list[Subscription]:
        """Those of them that somebody waits on."""
        if not self._waiting:  # as it is for most replies
            return []
        return [each for lane in event.lanes for each in self._waiting.get(lane, {}).values()]

    # ---- waits

    def park(self, subscription: Subscription, wait: Wait) -> None:
        subscription.waits[wait.caller] = wait
        self._callers[wait.caller] = subscription
        self._of_holder.setdefault(wait.holder, {})[wait.caller] = None
        for lane in subscription.terms.topics:
            self._waiting.setdefault(lane, {})[subscription.name] = subscription

    def ends(self, caller: Caller, at: float) -> None:
        """When a parked wait is over (monotonic)."""
        self._ends.set(caller, at)

    def waited_on(self, caller: Caller) -> Subscription | None:
        """What a call waits on."""
        return self._callers.get(caller)

    def waits_of(self, holder: str) -> list[Caller]:
        """The calls of a holder that wait."""
        return list(self._of_holder.get(holder, ()))

    def unpark(self, caller: Caller) -> None:
        """It waits no longer."""
        subscription = self._callers.pop(caller)
        holder = subscription.waits.pop(caller).holder
        group = self._of_holder[holder]
        del group[caller]
        if not group:
            del self._of_holder[holder]
        self._ends.cancel(caller)
        if not subscription.waits:
            for lane in subscription.terms.topics:
                _discard(self._waiting, lane, subscription.name)

    def overdue(self, mono: float) -> list[Caller]:
        """Take out the waits whose time is over."""
        due = self._ends.due(mono)
        for caller in due:
            self.unpark(caller)
        return due

    def deadline(self) -> float | None:
        """When a wait is over next."""
        return self._ends.deadline()


def _discard(index: dict[IndexKey, dict[str, Subscription]], lane: IndexKey, name: str) -> None:
    group = index.get(lane)
    if group is not None:
        group.pop(name, None)
        if not group:
            del index[lane]
