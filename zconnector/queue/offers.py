"""Commands that arrive: taken once, receipted after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from sys import intern as _intern

from zconnector.actions import Actions, Reach
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.messages import Message, body_digest
from zconnector.messages.fields import WISHES
from zconnector.messages.late import GRACE_MS
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.endings import Endings
from zconnector.queue.envelope import pack
from zconnector.queue.finish import ask_again
from zconnector.queue.leases import MAX_CONTEXT, Command
from zconnector.queue.outcomes import Offered, OnOffered
from zconnector.queue.overflow import Overflow
from zconnector.queue.register import Alarm, Register
from zconnector.queue.states import ENDED, READY, State, Step
from zconnector.queue.store import COMMANDS, Put, Write

_WISHES = frozenset(WISHES)
_BEFORE_COMMIT, _AFTER_COMMIT = Reach("target.before_commit"), Reach("target.after_commit")
_IS_STORED = Step.STORED
_STORED = Offered("STORED")


class Offers:
    """New commands, and copies of known ones."""

    def __init__(
        self, commits: Commits, messages: Messages, register: Register, endings: Endings, overflow: Overflow
    ) -> None:
        self._commits = commits
        self._messages = messages
        self._register = register
        self._endings = endings
        self._overflow = overflow

    def offer(
        self,
        message: Message,
        now: Instant,
        done: OnOffered,
        retry: RetryPolicy | None = None,
        *,
        along: Sequence[Write] = (),
        spare: int = 0,
        body: bytes | None = None,
    ) -> Actions:
        """A command arrived: `done` hears what may be receipted. `retry` None: as the settings say.

        `along` is stored with it, or not at all; `spare`: it may be one of so many beyond the bounds.
        `body` is its stored form, where that was made before.
        """
        uuid: str = message.header["uuid"]
        known = self._register.find(uuid)
        if known is not None:
            return self._offered_again(known, body_digest(message), now, done)
        if body is None:
            body = pack(message)
        size = len(body)
        refusal = self._late(message, now)
        room: Actions = []
        if refusal is None:
            if self._overflow.drops:
                room = self._overflow.make_room(size, now)
            refusal = self._register.no_room(size, uuid, spare)
        if refusal is not None:
            return room + done(now, Offered("REFUSED", refusal.reason, refusal.detail))
        command = self._new(message, size, retry, now)
        self._register.add(command)

        def then(later: Instant) -> Actions:
            self._messages.keep(COMMANDS, command.key, body, message)
            if command.ttl:
                self._register.set_time_to_live(command, now.mono + command.ttl / 1000)
            if command.delay:
                self._register.set_alarm(command, Alarm.DUE, now.mono + command.delay / 1000)
            self._register.step(command, Step.STORED_DELAYED if command.delay else _IS_STORED, later)
            actions: Actions = [_AFTER_COMMIT, *done(later, _STORED)]
            if command.after:
                actions += ask_again(command, later)
            if command.state is READY:
                actions += self._register.on_ready(command, later)
            return actions

        def failed(later: Instant, error: StorageError) -> Actions:
            actions = self._register.drop(command, later)
            actions += done(later, Offered("FAILED", Reason.STORAGE_FAILED, str(error)))
            return actions + ask_again(command, later)

        state = State.DELAYED if command.delay else READY
        put = Put(COMMANDS, command.key, command.as_meta(state), body)
        return [*room, _BEFORE_COMMIT, self._commits.commit((put, *along), then, failed)]

    def _new(self, message: Message, size: int, retry: RetryPolicy | None, now: Instant) -> Command:
        """Its record, STORING. Delay and time to live begin with its arrival."""
        header = message.header  # which was held to the tables of fields where it came in
        get = header.get
        context = get("context", "")
        command = Command(
            key=self._register.next_key(),
            uuid=header["uuid"],
            digest=body_digest(message),
            name=_intern(get("command", "")),
            major=get("major", 0),
            admin=bool(get("admin")),
            source=_intern(get("source", "")),
            tenant=_intern(get("tenant", "")),
            accept_until=get("accept_until", 0),
            size=size,
            at=now.wall,
            context=context and _intern(context if len(context.encode()) <= MAX_CONTEXT else ""),
            policy=retry,
        )
        if not _WISHES.isdisjoint(header):
            self._wish(command, message, now)
        return command

    @staticmethod
    def _wish(command: Command, message: Message, now: Instant) -> None:
        """What its sender asks for, as few do."""
        command.priority = message.number("priority")
        command.order_key = message.text("order_key")
        command.lease_ms = message.number("lease")
        command.delay, command.ttl = message.number("delay"), message.number("ttl")
        if command.delay:
            command.due = now.wall + command.delay
        if command.ttl:
            command.expires = now.wall + command.ttl

    def _late(self, message: Message, now: Instant) -> Refusal | None:
        """Why an unknown command comes too late."""
        accept_until = message.header.get("accept_until", 0)
        late = now.wall - accept_until - GRACE_MS
        if late > 0:
            detail = f"first seen {late} ms after accept_until + {GRACE_MS} ms"
            return Refusal(Reason.EXPIRED, detail, message.uuid)
        if self._register.may_be_forgotten(message.header.get("source", ""), accept_until):
            detail = "commands of this source with a later accept_until are forgotten already"
            return Refusal(Reason.EXPIRED, detail, message.uuid)
        return None

    def _offered_again(self, command: Command, digest: str, now: Instant, done: OnOffered) -> Actions:
        if command.digest != digest:
            detail = "this uuid was used for another command"
            return done(now, Offered("REFUSED", Reason.CONFLICT, detail))
        if command.state is State.STORING:

            def decided(now: Instant) -> Actions:
                if self._register.find(command.uuid) is command:
                    return self._offered_again(command, digest, now, done)
                return done(now, Offered("FAILED", Reason.STORAGE_FAILED, "the first copy was not stored"))

            command.after += (decided,)
            return []
        if command.state not in ENDED:
            return done(now, Offered("DUPLICATE"))
        return self._endings.reply_again(command, now) + done(now, Offered("DUPLICATE"))
