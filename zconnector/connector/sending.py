"""Events that our workers send: completions, replies to events, broadcasts. Pure.

| the event's reference | what it is | where it goes |
|---|---|---|
| a command in our queue | completion (SUCCES, FAIL) or progress | the command's source, from the outbox |
| an event that came from another connector | reply to it | that connector, from the outbox |
| an event of ours, or unknown | | the local queue only |
| none | broadcast | the local queue, and everybody from the outbox |
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from zconnector.actions import Actions, Caller, Respond, Then
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, WireError
from zconnector.messages.codec import encode_one
from zconnector.messages.fields import broken_rule_of
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.queue.local import Completed, LocalQueue, Published
from zconnector.settings import ConnectorSettings
from zconnector.shoset.identity import Identity, fresh_uuid


class EventSending:
    """From a worker's SendEventMessage to the queue."""

    def __init__(
        self,
        identity: Identity,
        queue: LocalQueue,
        settings: ConnectorSettings,
        rng: random.Random,
        flush: Then,
    ) -> None:
        """`flush` sends what is due in the outbox."""
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._queue = queue
        self._settings = settings
        self._rng = rng
        self._flush = flush

    def send(self, caller: Caller, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        """A worker sends an event; `caller` is answered once it is stored.

        Raises:
            Refusal: BAD_ARGUMENT, WRONG_TENANT, TOO_LARGE.
        """
        event = self._event(args, payload, now)
        if not event.reference:
            return self._publish(caller, event, now, outbox=True)
        return self._queue.complete(
            event, now, lambda later, done: self._completed(caller, event, done, later)
        )

    def _completed(self, caller: Caller, event: Message, done: Completed, now: Instant) -> Actions:
        self.counters[f"replies.{done.outcome}"] += 1
        if done.outcome == "FAILED":
            refusal = done.refusal or Refusal(Reason.STORAGE_FAILED, "the reply was not stored")
            return [Respond(caller, error=refusal)]
        if done.outcome != "NOT_MINE":
            return [Respond(caller, {"uuid": event.uuid}), *self._flush(now)]
        source = self._queue.event_source(event.reference)
        if source and source != self._identity.name:
            return self._publish(caller, event.with_fields(recipient=source), now, outbox=True)
        return self._publish(caller, event, now, outbox=False)

    def _publish(self, caller: Caller, event: Message, now: Instant, *, outbox: bool) -> Actions:
        def published(later: Instant, result: Published) -> Actions:
            if result.outcome in ("STORED", "DUPLICATE"):
                return [Respond(caller, {"uuid": event.uuid}), *self._flush(later)]
            refusal = result.refusal or Refusal(Reason.STORAGE_FAILED, "not stored", event.uuid)
            return [Respond(caller, error=refusal)]

        self.counters["events_sent"] += 1
        return self._queue.publish(event, now, outbox=outbox, done=published)

    def _event(self, args: Mapping[str, Any], payload: bytes, now: Instant) -> Message:
        header: dict[str, Any] = {
            "uuid": args.get("uuid") or fresh_uuid(self._rng),
            "tenant": args.get("tenant") or self._identity.tenant,
            "source": self._identity.name,
            "topic": args.get("topic", ""),
            "event": args.get("event", ""),
            "timestamp": now.wall,
        }
        for name in ("reference", "timeout", "token", "worker"):
            if args.get(name):
                header[name] = args[name]
        if broken := broken_rule_of(header):
            raise Refusal(Reason.BAD_ARGUMENT, broken)
        if not header["topic"]:
            raise Refusal(Reason.BAD_ARGUMENT, "topic is missing", header["uuid"])
        if header["tenant"] != self._identity.tenant:
            # No instance would ever take it from the outbox.
            detail = (
                f"this connector belongs to tenant {self._identity.tenant}, not to {header['tenant']!r:.140}"
            )
            raise Refusal(Reason.WRONG_TENANT, detail, header["uuid"])
        event = Message(Kind.EVENT, header, payload)
        try:
            encode_one(event.with_fields(recipient="r" * 128, seq=2**53))
        except WireError as error:
            raise Refusal(error.reason, error.detail, event.uuid) from None
        return event
