"""Commands of a connector to itself: from the sender straight into its own queue. Pure.

No aggregator and no member sees them on their way: each is stored with a record that tells the cluster's
journal of it. Replies to them come home (`home.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages import Message
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.envelope import pack
from zconnector.queue.events import Events
from zconnector.queue.journal import Journal
from zconnector.queue.offers import Offers
from zconnector.queue.outcomes import Offered, OnOffered
from zconnector.queue.register import Register
from zconnector.queue.store import Write


class OwnCommands:
    """Takes them, and tells them from others."""

    def __init__(self, register: Register, offers: Offers, events: Events, journal: Journal) -> None:
        self._register = register
        self._offers = offers
        self._events = events
        self._journal = journal
        self._name = ""

    def at_home(self, name: str) -> None:
        """This connector's name. Replies to commands of its own come without a turn through the outbox."""
        self._name = name
        self._events.at_home(name, self._journal)

    def holds(self, uuid: str) -> bool:
        """Whether a command of this uuid, sent by this connector, is here."""
        command = self._register.find(uuid)
        return command is not None and bool(self._name) and command.source == self._name

    def taken_elsewhere(self, command: str, uuid: str) -> bool:
        """Whether another connector is known to have taken a command (its name, its uuid) of ours."""
        return self._events.taken_by_another(command, uuid, self._name)

    def offer(
        self,
        command: Message,
        now: Instant,
        done: OnOffered,
        retry: RetryPolicy | None = None,
        *,
        along: Sequence[Write] = (),
        spare: int = 0,
    ) -> Actions:
        """As `LocalQueue.offer`; a record for the journal goes with the command.

        REFUSED with QUEUE_FULL also when the journal has too much to hear. `along` is stored with it;
        `spare`: it may be one of so many beyond the bounds.
        """
        if self._register.find(command.uuid) is not None:
            return self._offers.offer(command, now, done, retry)
        body = pack(command)
        draft = self._journal.draft(command, body, reply=False)
        if draft is None:
            detail = "the cluster's journal is too far behind: too many records wait for it"
            return done(now, Offered("REFUSED", Reason.QUEUE_FULL, detail))
        record, write = draft

        def decided(now: Instant, offered: Offered) -> Actions:
            settle = self._journal.accept if offered.outcome == "STORED" else self._journal.withdraw
            settle(record)
            return done(now, offered)

        return self._offers.offer(command, now, decided, retry, along=(*along, write), spare=spare, body=body)

    def offer_again(
        self,
        message: Message,
        now: Instant,
        done: OnOffered,
        retry: RetryPolicy | None = None,
        *,
        along: Sequence[Write] = (),
    ) -> Actions:
        """A replayed letter: taken as it would be if it came anew."""
        own = bool(self._name) and message.text("source") == self._name
        offer = self.offer if own else self._offers.offer
        return offer(message, now, done, retry, along=along)
