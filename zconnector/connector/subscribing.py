"""The door's operations on named subscriptions (WIRE.md section 14): arguments are checked here. Pure."""

from __future__ import annotations

from zconnector.actions import Actions, Caller
from zconnector.clock import Instant
from zconnector.connector.arguments import Args, number, objects, text
from zconnector.errors import Reason, Refusal
from zconnector.messages.fields import is_name
from zconnector.queue.lanes import LaneKey
from zconnector.queue.local import LocalQueue
from zconnector.queue.subscription import Terms, disjoint
from zconnector.queue.subscriptions import Acknowledgement

MAX_TOPICS = 32
MAX_UNACKED = 4_096
DEFAULT_UNACKED = 256
DEFAULT_LEASE = 60_000
MIN_LEASE = 1_000
MAX_LEASE = 86_400_000
MAX_TAKE = 64
MAX_WAIT = 86_400_000
MAX_ACKNOWLEDGED = 400
"""Of one call: that many refusals fit into the header of its RESULT."""
MAX_ATTEMPT = (1 << 32) - 1
_TOPIC = 256
_HOLDER = 64


class Subscribing:
    """Each method answers one operation. All raise Refusal (BAD_ARGUMENT, NOT_FOUND)."""

    def __init__(self, queue: LocalQueue) -> None:
        self._queue = queue

    def subscribe(self, caller: Caller, args: Args, now: Instant) -> Actions:
        """Make a subscription, or give one other terms."""
        topics = [_topic(item) for item in _some(args, "topics", MAX_TOPICS)]
        terms = Terms(
            disjoint(topics),
            number(args, "max_unacked", 1, MAX_UNACKED, DEFAULT_UNACKED),
            number(args, "lease", MIN_LEASE, MAX_LEASE, DEFAULT_LEASE),
        )
        begin = text(args, "from") or "new"
        if begin not in ("new", "oldest"):
            raise Refusal(Reason.BAD_ARGUMENT, f"from must be new or oldest (got {begin[:40]!r})")
        oldest = begin == "oldest"
        return self._queue.subscriptions.subscribe(caller, _name(args), terms, oldest=oldest, now=now)

    def take_events(self, caller: Caller, args: Args, now: Instant) -> Actions:
        """Events for one holder, now or when there are any."""
        wait_ms = number(args, "wait_ms", -1, MAX_WAIT, 0)
        wait = {0: None, -1: 0.0}.get(wait_ms, wait_ms / 1000)
        limit = number(args, "limit", 1, MAX_TAKE, 1)
        holder = text(args, "holder", limit=_HOLDER)
        return self._queue.subscriptions.take(caller, _name(args), holder, limit, wait, now)

    def acknowledge(self, caller: Caller, args: Args, now: Instant) -> Actions:
        """Done with events, or not able to do them."""
        events: list[Acknowledgement] = []
        for item in _some(args, "events", MAX_ACKNOWLEDGED):
            if type(item.get("id")) is not int:
                raise Refusal(Reason.BAD_ARGUMENT, f"each of events must have an int id (got {item!r:.80})")
            ok = item.get("ok", True)
            if type(ok) is not bool:
                raise Refusal(Reason.BAD_ARGUMENT, f"ok must be bool, not {type(ok).__name__}")
            attempt = number(item, "attempt", 0, MAX_ATTEMPT, 0)
            events.append(Acknowledgement(item["id"], ok, attempt))
        holder = text(args, "holder", limit=_HOLDER)
        return self._queue.subscriptions.acknowledge(caller, _name(args), holder, events, now)

    def unsubscribe(self, caller: Caller, args: Args, now: Instant) -> Actions:
        """End a subscription."""
        return self._queue.subscriptions.unsubscribe(caller, _name(args), now)


def _name(args: Args) -> str:
    name = text(args, "subscription", limit=128)
    if not is_name(name):
        rule = "subscription must be 1 to 128 of A-Z a-z 0-9 _ . -"
        raise Refusal(Reason.BAD_ARGUMENT, f"{rule} (got {name[:40]!r})")
    return name


def _some(args: Args, name: str, limit: int) -> list[Args]:
    """As `objects`, but at least one."""
    found = objects(args, name, limit)
    if not found:
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} is empty, or missing")
    return found


def _topic(item: Args) -> LaneKey:
    topic = text(item, "topic", limit=_TOPIC)
    if not topic:
        raise Refusal(Reason.BAD_ARGUMENT, "topic is missing in topics")
    event = None if item.get("event") is None else text(item, "event", limit=_TOPIC)
    return LaneKey(topic, event or None, "")
