"""The model's part on named subscriptions, and on who awaits replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.model_events import EventRules
from tests.simulation.rules import tenant_of
from tests.simulation.scheduler import MS, SECOND
from zconnector.errors import Reason

HEARD_WITHIN = 100 * MS
_ASK_AGAIN = (Reason.TIMED_OUT, Reason.STORAGE_FAILED, Reason.BUSY)
"""Told to who awaits a reply where that says nothing of the reply."""
COUNT_LOST = int(1.5 * SECOND)
"""A crash may take from the count of missed events what was lost within its last second."""


@dataclass(slots=True)
class _HeldEvent:
    holder: str
    call: int
    until: int
    ended: bool = False
    """Something happened by which such a lease ends."""


@dataclass(slots=True)
class _Subscription:
    """One name at one connector."""

    lease: int
    since: int
    held: dict[str, _HeldEvent] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    """Acknowledged, and whether that was stored nobody was told."""
    ids: dict[int, str] = field(default_factory=dict)
    missed: int = 0


@dataclass(slots=True, eq=False)
class Awaiter:
    """A call that waits for the final reply to a command."""

    node: str
    uuid: str
    at: int
    due: int = 0
    """When that reply was there."""


class SubscriptionRules(EventRules):
    """Broadcast between subscriptions, competing inside one."""

    def __init__(self) -> None:
        super().__init__()
        self._subscriptions: dict[tuple[str, str], _Subscription] = {}
        self._awaiters: dict[Awaiter, None] = {}
        self.retention = 0
        """Microseconds after which events may be lost; 0: none are."""

    def subscription_made(self, at: int, node: str, name: str, lease_ms: int) -> None:
        """A subscriber is told that its subscription is stored."""
        if (node, name) not in self._subscriptions:
            self._subscriptions[node, name] = _Subscription(lease_ms * MS, at)

    def events_taken(
        self,
        at: int,
        node: str,
        name: str,
        holder: str,
        call: int,
        events: Sequence[Mapping[str, Any]],
        missed: int,
    ) -> None:
        """A subscription's events are handed to a holder."""
        subscription = self._subscriptions[node, name]
        subscription.missed += missed
        for event in events:
            uuid = str(event["uuid"])
            self.counts["events taken"] += 1
            self.checked["subscription"] += 1
            subscription.ids[int(event["id"])] = uuid
            subscription.said.discard(uuid)
            if uuid in subscription.acknowledged:
                text = f"{name} of {node} was handed {uuid} after it had acknowledged it"
                self._broken(at, "subscription", uuid, text)
            held = subscription.held.get(uuid)
            if held is not None and not held.ended and at < held.until:
                text = f"{name} of {node} handed {uuid} to {holder} while {held.holder} has it"
                self._broken(at, "subscription", uuid, text)
            subscription.held[uuid] = _HeldEvent(holder, call, at + int(subscription.lease * 0.99))

    def events_unread(self, node: str, name: str, holder: str, call: int) -> None:
        """A take was cancelled: nothing of it counts."""
        for held in self._subscriptions[node, name].held.values():
            if held.call == call and held.holder == holder:
                held.ended = True

    def missed_unread(self, node: str, name: str, missed: int) -> None:
        """A count of missed events that reached nobody."""
        self._subscriptions[node, name].missed -= missed

    def acknowledging(self, node: str, name: str, number: int, *, ok: bool) -> None:
        """A holder says that it is done with an event, or cannot do it."""
        subscription = self._subscriptions[node, name]
        uuid = subscription.ids.get(number, "")
        held = subscription.held.get(uuid)
        if held is not None:
            held.ended = True
        if ok and uuid:
            subscription.said.add(uuid)

    def not_acknowledged(self, node: str, name: str, number: int) -> None:
        """It is told that this had no effect."""
        subscription = self._subscriptions[node, name]
        subscription.said.discard(subscription.ids.get(number, ""))

    def acknowledged(self, at: int, node: str, name: str, number: int) -> None:
        """It is told that its acknowledgement is stored."""
        subscription = self._subscriptions[node, name]
        subscription.acknowledged.setdefault(subscription.ids[number], at)
        self.counts["events acknowledged"] += 1

    def holder_gone(self, node: str, holder: str) -> None:
        """A holder's stream ended."""
        for (of, _), subscription in self._subscriptions.items():
            if of == node:
                for held in subscription.held.values():
                    held.ended = held.ended or held.holder == holder

    def _subscriptions_ended(self, node: str) -> None:
        """A connector's process ended: which hand-outs are durable nobody knows."""
        for (of, _), subscription in self._subscriptions.items():
            if of == node:
                for held in subscription.held.values():
                    held.ended = True
        for awaiter in [awaiter for awaiter in self._awaiters if awaiter.node == node]:
            del self._awaiters[awaiter]

    def _finish_subscriptions(self, at: int) -> None:
        for (node, name), subscription in self._subscriptions.items():
            lost: list[str] = []
            for (tenant, uuid), event in self._events.items():
                if tenant != tenant_of(node) or event.stored.get(node, 0) <= subscription.since:
                    continue
                self.checked["subscription"] += 1
                if uuid not in subscription.acknowledged and uuid not in subscription.said:
                    lost.append(uuid)
            untold = len(lost) - subscription.missed
            if untold > 0 and not self._may_be_miscounted(node, lost, untold):
                text = (
                    f"{name} of {node} never acknowledged {len(lost)} events, among them {lost[0]},"
                    f" and was told of {subscription.missed} missed"
                )
                self._broken(at, "subscription", lost[0], text)

    def _may_be_miscounted(self, node: str, lost: Sequence[str], untold: int) -> bool:
        """Whether so many of these were lost to retention just before a crash."""
        if not self.retention:
            return False
        tenant, count = tenant_of(node), 0
        for uuid in lost:
            gone = self._events[tenant, uuid].stored[node] + self.retention
            count += any(
                gone - SECOND <= end and (end <= gone + COUNT_LOST or self._troubled(node, gone, end))
                for end in self._ends.get(node, ())
            )
        return count >= untold

    # ---- replies

    def awaiting(self, at: int, node: str, uuid: str) -> Awaiter:
        """A client calls for the final reply to a command."""
        awaiter = Awaiter(node, uuid, at)
        if self._has_reply(node, uuid):
            awaiter.due = at
        self._awaiters[awaiter] = None
        return awaiter

    def _has_reply(self, node: str, uuid: str) -> bool:
        raise NotImplementedError

    def _reply_there(self, at: int, node: str, uuid: str) -> None:
        for awaiter in self._awaiters:
            if awaiter.node == node and awaiter.uuid == uuid and not awaiter.due:
                awaiter.due = at

    def heard(self, at: int, awaiter: Awaiter, reference: str) -> None:
        """It is answered with a reply about `reference`; "": with a refusal."""
        self._awaiters.pop(awaiter, None)
        self.checked["unheard"] += 1
        self.counts["replies awaited"] += bool(reference)
        uuid, node = awaiter.uuid, awaiter.node
        if reference not in (uuid, ""):
            self._broken(
                at, "wrong uuid", uuid, f"who awaits the reply to {uuid} was given one to {reference}"
            )
        late = at - awaiter.due - HEARD_WITHIN
        if awaiter.due and late > 0 and not self._troubled(node, awaiter.due, at):
            self._broken(
                at, "unheard", uuid, f"who awaits the reply to {uuid} heard {late / MS:.0f} ms too late"
            )

    def let_down(self, at: int, awaiter: Awaiter, reason: str, *, gone: bool) -> None:
        """It is refused; `gone`: because its connector ended."""
        self._awaiters.pop(awaiter, None)
        if gone or reason in _ASK_AGAIN:
            return
        self.heard(at, awaiter, "")
        if self._is_accepted(awaiter.node, awaiter.uuid):
            text = f"who awaits the reply to {awaiter.uuid}, which was ACCEPTED, was told {reason}"
            self._broken(at, "unheard", awaiter.uuid, text)

    def _is_accepted(self, node: str, uuid: str) -> bool:
        raise NotImplementedError

    def _finish_awaiters(self, at: int) -> None:
        for awaiter in self._awaiters:
            self.checked["unheard"] += 1
            if awaiter.due:
                text = f"who awaits the reply to {awaiter.uuid} at {awaiter.node} never heard it"
                self._broken(at, "unheard", awaiter.uuid, text)
