"""Between the messages of zconnector.v1 and the calls of the queue's door: what a worker says and gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from zconnector.errors import Reason, Refusal
from zconnector.messages.fields import FIELDS, check_field
from zconnector.messages.kinds import MAX_MESSAGE, Outcome
from zconnector.messages.message import clipped
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.rpc.convert import HEADROOM, MAX_COMMANDS, Args, version
from zconnector.rpc.v1.convert import DAYS_30, MAX_LEASE, between, lease

MAX_CREDITS = 10_000
MAX_TOPICS = 32
MAX_UNACKED = 4_096
_MAX_UUID = FIELDS["uuid"].limit
MAX_TOKEN = 128
"""Bytes of a fencing token."""
DEFAULT_UNACKED, DEFAULT_EVENT_LEASE, DEFAULT_EVENT_CREDITS = 256, 60_000, 64

ACK, FAIL, NAK, PROGRESS = (
    int(pb.Outcome.ACK),
    int(pb.Outcome.FAIL),
    int(pb.Outcome.NAK),
    int(pb.Outcome.PROGRESS),
)
_OUTCOMES = {ACK: "ack", FAIL: "fail", NAK: "nak", PROGRESS: "progress"}


def worker_args(request: Any) -> Args:
    """worker, major and minor of a Register or PollRequest.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    if not request.worker:
        raise Refusal(Reason.BAD_ARGUMENT, "worker must not be empty: name the process")
    hold("worker", request.worker)
    return {
        "worker": request.worker,
        "major": version("major", request.major),
        "minor": version("minor", request.minor),
    }


def names(commands: Any) -> list[str]:
    """Command names.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    found = list(commands)
    if len(found) > MAX_COMMANDS:
        raise Refusal(Reason.BAD_ARGUMENT, f"{len(found)} commands, limit {MAX_COMMANDS}")
    for name in found:
        if not name:
            raise Refusal(Reason.BAD_ARGUMENT, "the name of a command must not be empty")
        hold("command", name)
    return found


def pools(register: Any) -> list[tuple[list[str], int]]:
    """The pools of a Register: names and credits, `commands` first.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    made: list[tuple[list[str], int]] = []
    if register.commands:
        credits = between("concurrency", register.concurrency or 1, 1, MAX_CREDITS)
        made.append((names(register.commands), credits))
    for pool in register.pools:
        if not pool.commands:
            raise Refusal(Reason.BAD_ARGUMENT, "a pool needs at least one command")
        made.append((names(pool.commands), between("credits", pool.credits, 1, MAX_CREDITS)))
    every = [name for found, _ in made for name in found]
    names(every)
    if len(set(every)) != len(every):
        twice = next(name for name in every if every.count(name) > 1)
        raise Refusal(Reason.BAD_ARGUMENT, f"command {twice} is in two pools")
    return made


def subscription_args(request: Any) -> tuple[Args, int]:
    """`subscribe` for a Subscription, and the credits of its reader.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    broken = check_field("name", request.name)
    if broken:
        raise Refusal(Reason.BAD_ARGUMENT, f"subscription: {broken}")
    if not 1 <= len(request.topics) <= MAX_TOPICS:
        why = f"a subscription has 1 to {MAX_TOPICS} topics (got {len(request.topics)}), limit {MAX_TOPICS}"
        raise Refusal(Reason.BAD_ARGUMENT, why)
    topics: list[dict[str, str]] = []
    for topic in request.topics:
        hold("topic", topic.topic)
        topics.append({"topic": topic.topic})
        if topic.HasField("event"):
            hold("event", topic.event)
            topics[-1]["event"] = topic.event
    args: Args = {
        "subscription": request.name,
        "topics": topics,
        # Not the name that Python has for it: `from`.
        "from": "oldest" if getattr(request, "from") == pb.Subscription.OLDEST else "new",
        "max_unacked": between("max_unacked", request.max_unacked or DEFAULT_UNACKED, 1, MAX_UNACKED),
        "lease": lease(request.lease_ms) or DEFAULT_EVENT_LEASE,
    }
    return args, between("credits", request.credits or DEFAULT_EVENT_CREDITS, 1, MAX_CREDITS)


def outcome_args(outcome: Any, payload: bytes) -> Args:
    """One outcome as `settle` takes it; `payload` is its own, for each look at that field makes a copy.

    Raises:
        Refusal: BAD_ARGUMENT or TOO_LARGE.
    """
    uuid, token, kind = outcome.uuid, outcome.token, outcome.kind
    if not (len(uuid) <= _MAX_UUID and uuid.isascii()):  # as none is that we have made
        hold("uuid", uuid)
    if len(token) > MAX_TOKEN:
        raise Refusal(Reason.BAD_ARGUMENT, f"token is longer than {MAX_TOKEN} bytes, limit {MAX_TOKEN}", uuid)
    name = _OUTCOMES.get(kind)
    if name is None:
        raise Refusal(Reason.BAD_ARGUMENT, f"kind must be ACK, FAIL, NAK or PROGRESS (got {kind})", uuid)
    size = len(payload)
    if size > MAX_MESSAGE - HEADROOM:
        raise Refusal(Reason.TOO_LARGE, f"a payload of {size} bytes, limit {MAX_MESSAGE - HEADROOM}", uuid)
    args: Args = {"uuid": uuid, "token": token, "outcome": name, "size": size}
    if outcome.error:
        args["error"] = clipped(outcome.error)
    if kind == ACK:
        return args
    if kind == NAK and outcome.HasField("delay_ms"):
        args["delay"] = between("delay_ms", outcome.delay_ms, 0, DAYS_30, uuid)
    if kind == PROGRESS:
        args["extend"] = between("extend_ms", outcome.extend_ms, 0, MAX_LEASE, uuid)
        if outcome.event:
            hold("event", outcome.event)
            if outcome.event in (Outcome.SUCCESS, Outcome.FAIL):
                why = f"an event {outcome.event} ends the command: use ACK or FAIL"
                raise Refusal(Reason.BAD_ARGUMENT, why, uuid)
            args["event"] = outcome.event
    return args


def weight(args: Args | list[Args]) -> int:
    """Bytes of one outcome or of several in a header, or a little more."""
    return len(orjson.dumps(args)) + 1


def fill_command(message: Any, item: Mapping[str, Any], payload: bytes) -> None:
    """A Command from what `take` answered."""
    # By name, and the seldom ones looked for at once: what a loop over a table of all fields costs is half as
    # much again.
    get = item.get
    message.uuid = item["uuid"]
    message.token = item["token"]
    message.attempt = get("attempt", 1)
    message.lease_ms = get("lease", 0)
    message.command = get("command", "")
    message.payload = payload
    message.source = get("source", "")
    message.sender = get("worker", "")
    message.type = get("type", "")
    message.major = get("major", 0)
    message.timeout_ms = get("timeout", 0)
    message.timestamp_ms = get("timestamp", 0)
    if not _SELDOM.keys().isdisjoint(item):
        for name, field in _SELDOM.items():
            if value := get(name):
                setattr(message, field, value)


_SELDOM = {
    "command_type": "command_type",
    "admin": "admin",
    "context": "context",
    "command_token": "sender_token",
    "priority": "priority",
    "order_key": "order_key",
    "ttl": "ttl_ms",
    "replay_of": "replay_of",
}
"""Fields of a command's header that few have, and those of its message."""


def fill_delivery(message: Any, subscription: str, item: Mapping[str, Any], payload: bytes) -> None:
    """A Delivery from what `take_events` answered."""
    get = item.get
    message.subscription = subscription
    message.id = item["id"]
    message.uuid = get("uuid", "")
    message.attempt = get("attempt", 1)
    message.topic = get("topic", "")
    message.event = get("event", "")
    message.payload = payload
    message.source = get("source", "")
    message.reference = get("reference", "")
    message.timestamp_ms = get("timestamp", 0)
    message.timeout_ms = get("timeout", 0)
    message.sender_token = get("token", "")


def hold(name: str, value: object) -> None:
    """Hold a value to the rule of the header field of that name.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    broken = check_field(name, value)
    if broken:
        raise Refusal(Reason.BAD_ARGUMENT, broken)
