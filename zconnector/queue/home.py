"""Replies to commands that this connector sent to itself: from the worker straight into the event queue.

Such a reply is at its source already, so it takes no turn through the outbox. It takes the outbox's place
in the commit that ends its command (`Outbox.home`), beside a record for the journal.
"""

from __future__ import annotations

from collections.abc import Callable

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.messages import Message, derived_uuid
from zconnector.queue.bodies import Messages
from zconnector.queue.drafts import Draft, Entry, Homecoming
from zconnector.queue.envelope import pack
from zconnector.queue.journal import Journal
from zconnector.queue.retained import Event, Retained
from zconnector.queue.store import EVENTS, Put

Wake = Callable[[list[Event], Instant], Actions]


class Home:
    """Drafts events as the outbox drafts entries. What was accepted is shown to waiters by `wake`."""

    def __init__(
        self,
        name: str,
        messages: Messages,
        retained: Retained,
        journal: Journal,
        wake: Wake,
    ) -> None:
        """`name`: this connector's."""
        self.name = name
        self._messages = messages
        self._retained = retained
        self._journal = journal
        self._wake = wake
        self.unshown: list[Event] = []
        """What `wake` has to show; to be read only. Nobody is told of it: see `LocalQueue.overdue`."""

    def knows(self, uuid: str) -> bool:
        """Whether a reply of that uuid, made here, is here."""
        event = self._retained.find(uuid)
        return event is not None and event.message is None and event.directed and event.source == self.name

    def draft(self, message: Message, now: Instant, *, force: bool) -> Draft | None:
        """Reserve room for a reply; None when there is none (`force`: beyond the bound if need be)."""
        uuid, reply = self._free_uuid(message), message
        if uuid != message.uuid or message.header.get("source") != self.name:
            reply = message.with_fields(source=self.name, uuid=uuid)
        body = pack(reply)
        event = self._retained.admit(reply, len(body), now, force=force)
        if event is None:
            return None
        record = self._journal.add(reply, body, reply=True)
        entry = Entry(event.key, event.uuid, event.topic, self.name, True, now.wall, len(body))
        write = Put(EVENTS, event.key, event.as_meta(now.wall), body)
        return Draft(entry, write, Homecoming(event, record), reply)

    def accept(self, coming: Homecoming, write: Put, reply: Message | None) -> None:
        """It is stored."""
        self._messages.keep(EVENTS, coming.event.key, write.body or b"", reply)
        self.unshown += self._retained.accept(coming.event)
        self._journal.accept(coming.record)

    def abandon(self, coming: Homecoming) -> None:
        """It was not stored."""
        self.unshown += self._retained.abandon(coming.event)
        self._journal.withdraw(coming.record)

    def wake(self, now: Instant) -> Actions:
        """Show what has come to whoever waits for it."""
        if not self.unshown:
            return []
        shown, self.unshown = self.unshown, []
        return self._wake(shown, now)

    def _free_uuid(self, message: Message) -> str:
        """Its own, unless another event has that: a worker that uses a uuid twice must not lose a reply."""
        uuid = message.uuid
        while (known := self._retained.find(uuid)) is not None:
            if known.message is not None:
                self._retained.remove(known)  # a receipt; what is stored counts for more
                break
            uuid = derived_uuid(message.reference, uuid)
        return uuid
