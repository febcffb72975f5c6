"""The local queue, assembled: what the connector's router calls.

Pure: every method takes the time and returns actions; what has an outcome takes a continuation, which is
called after the fsync. `restore` is given everything that the store holds and brings all of it
back; what is told to anybody outside was committed first.

One queue belongs to one connector, hence to one tenant: uuids are unique in it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from zconnector.actions import Actions, Caller
from zconnector.agenda import Agenda
from zconnector.clock import Deadlines, Instant, first_of
from zconnector.configuration.pivot import Version
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.messages import Message
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.awaiting import Awaiting
from zconnector.queue.bodies import Messages
from zconnector.queue.command_side import CommandSide
from zconnector.queue.commands import Commands
from zconnector.queue.commits import Commits
from zconnector.queue.cursor import Cursor
from zconnector.queue.dead import DeadLetters
from zconnector.queue.documents import Documents
from zconnector.queue.events import Events
from zconnector.queue.iterators import Created, Iterators
from zconnector.queue.journal import Journal
from zconnector.queue.lanes import LaneKey
from zconnector.queue.leases import Lease
from zconnector.queue.lines import Waiter
from zconnector.queue.operators import Operators
from zconnector.queue.outbox import BATCH, Outbox, OutboxEntry
from zconnector.queue.outcomes import Completed, Offered, OnCompleted, OnOffered, OnPublished, Published
from zconnector.queue.own import OwnCommands
from zconnector.queue.pauses import Pauses
from zconnector.queue.replays import Replays
from zconnector.queue.restoring import Restoring
from zconnector.queue.routing import Serves
from zconnector.queue.store import Bodies, Row
from zconnector.queue.subscriptions import Subscriptions
from zconnector.queue.unknowns import Remembered, Unknowns
from zconnector.settings import QueueSettings

__all__ = [
    "Completed",
    "Lease",
    "LocalQueue",
    "Offered",
    "OutboxEntry",
    "Published",
    "Version",
]


class LocalQueue(CommandSide):
    """Commands, events, outbox, cursor and small documents of one connector."""

    def __init__(self, settings: QueueSettings, bodies: Bodies, rng: random.Random) -> None:
        self._commits = Commits()
        self._messages = messages = Messages(bodies)
        self._dead = DeadLetters(settings, self._commits, messages)
        self._outbox = Outbox(settings, self._commits, messages, self._dead)
        self._iterators = Iterators(settings, self._commits, rng)
        self._commands = Commands(
            settings, self._commits, messages, self._iterators, self._outbox, self._dead, rng
        )
        self._register = self._commands.register
        self._cursor = Cursor(self._commits)
        self._events = Events(
            settings,
            self._commits,
            messages,
            self._iterators,
            self._outbox,
            self._dead,
            self._cursor.includes,
        )
        self._iterators.on_evict = self._events.forget_iterator
        self._unknowns = Unknowns(
            self._commits, self._publish_here, self._events.was_taken, settings.max_unknown
        )
        self._documents = Documents(self._commits)
        self.journal = Journal(settings, self._commits, messages)
        """What the cluster's journal is still to be told."""
        self._pauses = Pauses(self._commits)
        self.own = OwnCommands(self._register, self._commands.offers, self._events, self.journal)
        """Commands of this connector to itself."""
        replays = Replays(self._commits, self._dead, self.own.offer_again, rng)
        self.operators = Operators(
            self._commands, self._dead, self._pauses, replays, self._events, self._outbox
        )

    # --- time, health, restart ---------------------------------------------------------------------

    def restore(self, rows: Iterable[Row], now: Instant) -> None:
        """Take everything back that a store holds. Once, before anything else.

        Leases keep their holder, and last `lease_limit` from now at most; what was in the outbox is due now.

        Raises:
            StorageError: a row is not what was written; nothing may be called afterwards.
        """
        parts = Restoring(
            self._iterators,
            self._register,
            self._events,
            self._outbox,
            self._dead,
            self._cursor,
            self._unknowns,
            self.journal,
            self._pauses,
            self._documents,
        )
        parts.restore(rows, now)

    def tick(self, now: Instant) -> Actions:
        """Do everything that is due. `outbox_due` and `gap` are the caller's to ask after it."""
        actions = self._commands.tick(now)
        actions += self._events.tick(now)
        actions += self._outbox.tick(now)
        actions += self._unknowns.tick(now)
        actions += self._iterators.tick(now)
        self._cursor.tick(now)
        self._dead.tick()
        return actions + self._commits.tick(now)

    @property
    def deadlines(self) -> Deadlines:
        """Of all parts; also the next resend, a gap to fetch, and what is `overdue`."""
        return (
            *self._commands.deadlines,
            *self._events.deadlines,
            self._outbox.deadline,
            self._unknowns.deadline,
            self._iterators.deadline,
            self._cursor.deadline,
            self._dead.deadline,
            self.overdue,
        )

    def overdue(self) -> float | None:
        """The deadlines that the agenda is not told: all parts would be asked for nothing.

        Within its step what rides mostly finds a commit, and what came into the outbox, or home, leaves.
        """
        home = self._outbox.home
        if self._outbox.unseen or (home is not None and home.unshown):
            return 0.0
        return self._commits.deadline()

    @property
    def agenda(self) -> Agenda:
        """Where all other parts say when they are due; the router above says so there too."""
        return self._commits.agenda

    def deadline(self) -> float | None:
        """Monotonic time of the next thing due."""
        return first_of(self.deadlines)

    def last_writes(self) -> Actions:
        """The process ends: commit what would have gone along with a later commit."""
        return self._commits.last()

    @property
    def healthy(self) -> bool:
        """False after a failed commit or read, True again after a commit that succeeded."""
        return self._commits.healthy

    # --- commands received -------------------------------------------------------------------------

    def offer(
        self, command: Message, now: Instant, done: OnOffered, retry: RetryPolicy | None = None
    ) -> Actions:
        """A command arrived for a worker of this connector. `retry` None: as the settings say.

        `done` hears STORED after the commit; DUPLICATE for a uuid known with the same body (its
        reply is due again when the command has ended; if the first copy is still being stored, when
        that is over); REFUSED with CONFLICT, EXPIRED or QUEUE_FULL; FAILED with STORAGE_FAILED.
        """
        return self._commands.offers.offer(command, now, done, retry)

    @property
    def retry_policy(self) -> RetryPolicy:
        """That of the settings."""
        return self._commands.policy

    def come_home(self, now: Instant) -> Actions:
        """Show such replies that were stored meanwhile to whoever waits; `tick` does so too."""
        return self._events.come_home(now)

    def knows_command(self, uuid: str) -> bool:
        """Whether a command of this uuid was taken here and is not forgotten yet."""
        return self._register.find(uuid) is not None

    def wait_command(
        self,
        caller: Caller,
        iterator: str,
        name: str,
        major: int,
        worker: str,
        serving: Version | None,
        now: Instant,
        *,
        seen: str | None = None,
        serves: Serves | None = None,
    ) -> Actions:
        """Respond with the oldest command of a name and version, now or when there is one.

        `Respond.args` are its header fields. A waiter of major 0 takes any version; a command of major 0
        goes to any waiter. Admin commands go to the worker "ADMIN" only, and it gets no others.
        `seen`: uuid of the last command of this iterator that reached its reader ("": none yet), which has
        done with it: whatever else is leased to the iterator was lost on the way. `serves`: all versions
        that it may stand for, where workers of several look alike (None: `serving`). NOT_FOUND for an
        iterator that is unknown or not for commands.
        """
        return self._commands.handing.wait(
            caller, iterator, name, major, worker, serving, now, seen=seen, serves=serves
        )

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        """The caller of a wait is gone: nothing stays swallowed, and its iterator's leases are freed.

        Also for a call that was just answered, when its CANCEL and the answer crossed.
        """
        return self._commands.handing.cancel(caller, now) + self._events.cancel(caller, now)

    def complete(self, reply: Message, now: Instant, done: OnCompleted) -> Actions:
        """An event with a reference came from a worker of this connector.

        `done` hears COMPLETED (SUCCES or FAIL, committed with the reply in the outbox), PROGRESS (other
        event of a live command, committed to the outbox), LATE (the command has ended already),
        NOT_MINE (no command of this queue: an event like others), or FAILED with the refusal.
        """
        return self._commands.endings.complete(reply, now, done)

    def release(self, holder: Callable[[Lease], bool], why: str, now: Instant) -> Actions:
        """Give what matching leases of iterators hold back to the queue: the worker is gone."""
        return self._commands.returns.release(holder, why, now)

    def pass_over(self, worker: str, now: Instant) -> list[Waiter]:
        """Take the waits of a worker that is silent out of their lines, and return them."""
        return self._commands.handing.pass_over(worker, now)

    def publish(self, event: Message, now: Instant, *, outbox: bool, done: OnPublished) -> Actions:
        """Store an event, and with `outbox` an outbox entry in the same commit; then show it to waiters.

        Deduplicated by uuid and by cursor. Full: the oldest broadcast event goes, and a directed one only
        when no broadcast one is left. With `outbox` a broadcast event is REFUSED (QUEUE_FULL) when the outbox
        is at nine tenths. `header["recipient"]`, where set, is whom the outbox entry is for.
        """
        return self._events.publish(event, now, outbox=outbox, done=done)

    def announce(self, event: Message, now: Instant) -> Actions:
        """Show a receipt, which is never stored, once to each iterator that waits for it now or soon."""
        return self._events.announce(event, now)

    def create_iterator(self, kind: str, now: Instant, done: Created) -> Actions:
        """Make an iterator of kind "command" or "event"; `done` gets its id once stored, or a Refusal."""
        return self._iterators.create(kind, now, done)

    def wait_event(
        self,
        caller: Caller,
        iterator: str,
        topic: str,
        event: str | None,
        reference: str,
        worker: str,
        now: Instant,
        *,
        seen: str | None = None,
        receipts: bool = True,
    ) -> Actions:
        """Respond with the next event of (topic, event, reference), now or when there is one.

        `event` None: any of the topic; `reference` "": any. Each iterator sees each matching event once, in
        order of arrival, over restarts too. Where it begins is fixed at its first wait: with a reference
        at the oldest retained event; else after the last one delivered for (worker, topic, event); a worker
        of a new name begins with what arrives after its first wait (see `streams.py`). `seen`: uuid of the
        last event that reached its reader ("": none yet); what was handed out after it is shown again.
        Without `receipts` what was only announced is passed over.
        """
        lane = LaneKey(topic, event, reference)
        return self._events.wait(caller, iterator, lane, worker, now, seen=seen, receipts=receipts)

    @property
    def subscriptions(self) -> Subscriptions:
        """Named durable subscriptions to the events here."""
        return self._events.subscriptions

    @property
    def awaiting(self) -> Awaiting:
        """Calls that wait for the final reply to a command sent from here."""
        return self._events.awaiting

    def refused(self, command: str, uuid: str, refusal: Refusal) -> Actions:
        """A command of ours (its name, its uuid) was refused: tell who waits for its reply.

        Unless an earlier copy may be out, or was taken: its reply still comes.
        """
        if self._unknowns.holds(uuid) or self.own.holds(uuid) or self._events.was_taken(command, uuid):
            return []
        return self.awaiting.refused(uuid, refusal)

    def knows_event(self, uuid: str) -> bool:
        """Whether an event is stored here (announcements are not)."""
        return self._events.knows(uuid)

    def event_source(self, uuid: str) -> str:
        """The connector that a stored event came from; "" for one that is not (or no longer) here."""
        return self._events.source(uuid)

    def _publish_here(self, event: Message, now: Instant, done: OnPublished) -> Actions:
        return self._events.publish(event, now, outbox=False, done=done)

    # --- outbox ------------------------------------------------------------------------------------

    def outbox_due(self, now: Instant, limit: int = BATCH, *, broadcast: int = BATCH) -> list[OutboxEntry]:
        """What is to be sent now, at most `limit`: replies, then up to `broadcast` events, the oldest first.

        Marks nothing: see `outbox_sent`. More may be due: ask again after marking these.
        """
        return self._outbox.due(now, limit, broadcast=broadcast)

    def outbox_sent(self, key: int, now: Instant) -> None:
        """It was handed to a socket: it is due again after 1 s doubling to 30 s."""
        self._outbox.sent(key, now)

    def outbox_wake(self, recipient: str | None = None) -> None:
        """Everything is due now (a session came up), or all that is for one connector (it is back)."""
        self._outbox.wake(recipient)

    def outbox_confirm(self, uuids: Iterable[str], now: Instant) -> Actions:
        """These have been committed where they had to go; they leave the outbox."""
        return self._outbox.confirm(uuids, now)

    # --- cursor ------------------------------------------------------------------------------------

    @property
    def cursor(self) -> int | None:
        """Every event up to this number of the tenant's sequence is stored; None: no number told yet."""
        return self._cursor.value

    def sequenced(self, seq: int, now: Instant) -> None:
        """The event of that number is stored here (call it after that commit)."""
        self._cursor.sequenced(seq, now)

    def gap(self, latest: int, now: Instant) -> tuple[int, int] | None:
        """What to FETCH now, (after, upto): something up to `latest` has been missing for 200 ms.

        Given again after a second without `fetched`. Without a cursor, `latest` becomes it.
        """
        return self._cursor.gap(latest, now)

    def fetched(self, upto: int, latest: int, missed: int, now: Instant) -> Actions:
        """A FETCH was answered, and what came is committed: all up to `upto` is accounted for."""
        return self._cursor.fetched(upto, latest, missed, now)

    # --- unknown outcomes --------------------------------------------------------------------------

    def remember_unknown(self, command: Message, now: Instant, done: Remembered) -> Actions:
        """A command was sent and nothing definite heard. `done` gets None once that is committed.

        Unless forgotten, a FAIL event (reason UNRECEIPTED) is published here at the latest `accept_until` of
        its copies + 30 s.
        """
        return self._unknowns.remember(command, now, done)

    def check_unknown_room(self, uuid: str, under_way: int, uuids: Callable[[], Iterable[str]]) -> None:
        """A new command may be sent, and end UNKNOWN, as those `under_way` may; `uuids` says which those are.

        Raises:
            Refusal: BUSY.
        """
        if not self._unknowns.has_room(under_way, uuids):
            detail = f"{self._unknowns.limit} commands are under way, or of unknown outcome"
            raise Refusal(Reason.BUSY, detail, uuid)

    def is_unknown(self, uuid: str) -> bool:
        """Whether an earlier copy of this uuid may be stored somewhere, and nothing was heard of it yet."""
        return self._unknowns.holds(uuid)

    def unknown_until(self, uuid: str, now: Instant) -> int | None:
        """When a FAIL is published for it (wall clock, ms), unless something is heard; None: not unknown."""
        return self._unknowns.until(uuid, now)

    def forget_unknown(self, uuid: str, now: Instant) -> Actions:
        """A receipt or a reply was heard."""
        return self._unknowns.forget(uuid, now)

    # --- documents and status ----------------------------------------------------------------------

    def remember(self, name: str, document: dict[str, Any], now: Instant) -> Actions:
        """Keep a small JSON document under a name; recalled at once, and after a restart."""
        return self._documents.remember(name, document, now)

    def remember_then(self, name: str, document: dict[str, Any], then: Callable[[], Actions]) -> Actions:
        """As `remember`; `then` is called when it is stored, or could not be."""
        return self._documents.remember_then(name, document, then)

    def watch_leases(self, ended: Callable[[str], None] | None) -> None:
        """`ended` is told the worker of each lease that is over, until another takes its place."""
        self._register.on_unlease = ended

    def keep(
        self, name: str, document: Any, done: Callable[[Instant, StorageError | None], Actions]
    ) -> Actions:
        """As `remember`; `done` hears whether it is stored."""
        return self._documents.keep(name, document, done)

    def recall(self, name: str) -> dict[str, Any] | None:
        """The document last remembered under a name."""
        return self._documents.recall(name)

    def depths(self) -> dict[str, Any]:
        """What `zconnector status` shows."""
        return {
            "healthy": self.healthy,
            "storage_failures": self._commits.failures,
            "commands": {
                **self._register.depths(),
                "waiting": self._commands.handing.waiting,
                "late": self._commands.endings.late,
                "fenced": self._commands.settling.fenced,
                "dropped": self._commands.overflow.dropped,
            },
            "events": self._events.depths(),
            "outbox": self._outbox.depths(),
            "journal": self.journal.depths(),
            "iterators": {"count": len(self._iterators), "evicted": self._iterators.evicted},
            "cursor": self.cursor,
            "missed": self._cursor.missed,
            "unknown": len(self._unknowns),
            "dead": self._dead.depths(),
            "paused": self._pauses.names(),
        }
