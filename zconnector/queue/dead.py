"""Dead letters: what was refused, poisoned or undeliverable after it had been taken.

A letter is **settled** when no write of it is under way. Only settled letters are edited, replayed, purged or
dropped: a letter whose own commit may still fail is not one yet, and of two operators who replay the same
one only the first does.

Bounded by count and bytes: beyond either the oldest settled letter goes, counted.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import DamagedError, Reason, Refusal, StorageError
from zconnector.messages import Kind, Message, clipped
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.envelope import pack, unpack
from zconnector.queue.letters import Letter, LetterFilter
from zconnector.queue.outcomes import Done
from zconnector.queue.store import DEAD, Delete, Put
from zconnector.settings import QueueSettings


class Page(NamedTuple):
    """Some of the letters that a filter meets, oldest first."""

    letters: list[Letter]
    after: int
    """Where the next page begins; 0: this was the last one."""


class DeadLetters:
    """What decides about letters is in memory; the letters are in the store.

    Invariant: `_bytes` is the weight of all letters.
    """

    def __init__(self, settings: QueueSettings, commits: Commits, messages: Messages) -> None:
        self._settings = settings
        self._commits = commits
        self._messages = messages
        self._letters: OrderedDict[int, Letter] = OrderedDict()
        self._bytes = 0
        self._next = 1
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._letters)

    def restore(self, key: int, meta: dict[str, Any], size: int) -> None:
        self._enter(Letter.from_meta(key, meta, size))
        self._next = max(self._next, key + 1)

    def bury(
        self,
        body: bytes,
        uuid: str,
        name: str,
        reason: str,
        now: Instant,
        *,
        kind: Kind = Kind.COMMAND,
        detail: str = "",
        attempts: int = 0,
        error: str = "",
        source: str = "",
    ) -> Put:
        """The write that makes a packed message a dead letter; call `undo` when its commit fails."""
        letter = Letter(
            key=self._next,
            uuid=uuid,
            kind=kind.name,
            name=name,
            reason=str(reason),
            at=now.wall,
            size=len(body),
            detail=clipped(detail),
            attempts=attempts,
            error=clipped(error),
            source=source,
        )
        self._next += 1
        self._enter(letter)
        return Put(DEAD, letter.key, letter.as_meta(), body)

    def undo(self, letter: Put) -> None:
        """It was not stored."""
        if isinstance(letter.key, int) and letter.key in self._letters:
            self._leave(self._letters[letter.key])

    # ---- looking

    def find(self, uuid: str) -> Letter | None:
        """The (newest) letter of a uuid."""
        return next((letter for letter in reversed(self._letters.values()) if letter.uuid == uuid), None)

    def page(self, wanted: LetterFilter, limit: int, after: int = 0) -> Page:
        """At most `limit` letters that a filter meets, of those that came after the letter `after`."""
        found = list(islice(self._meeting(wanted, after), limit + 1))
        more = len(found) > limit
        return Page(found[:limit], found[limit - 1].key if more else 0)

    def read(self, letter: Letter) -> Message:
        """The message itself; of one that is damaged, what is left of it is the payload.

        Raises StorageError.
        """
        body = self._messages.body(DEAD, letter.key)
        try:
            return unpack(body)
        except DamagedError:
            return Message(Kind[letter.kind], {"uuid": letter.uuid, "command": letter.name}, body)

    def is_settled(self, letter: Letter) -> bool:
        """Whether no write of it is under way (and it is one at all)."""
        return self._letters.get(letter.key) is letter and self._commits.is_settled(DEAD, letter.key)

    # ---- changing

    def edit(self, letter: Letter, payload: bytes, now: Instant, done: Done) -> Actions:
        """Replace the payload; everything else of it stays."""
        if not self.is_settled(letter):
            return done(now, busy(letter))
        try:
            message = self.read(letter)
        except StorageError as error:
            self._commits.failed()
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error), letter.uuid))
        body = pack(Message(message.kind, message.header, payload, message.flags))
        edited = now.wall

        def then(now: Instant) -> Actions:
            self._messages.keep(DEAD, letter.key, body)
            self._bytes += len(body) - letter.size
            letter.size, letter.edited = len(body), edited
            return done(now, None)

        def failed(now: Instant, error: StorageError) -> Actions:
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error), letter.uuid))

        put = Put(DEAD, letter.key, {**letter.as_meta(), "edited": edited}, body)
        return [self._commits.commit([put], then, failed)]

    def purge(self, letters: Sequence[Letter], now: Instant, done: Done) -> Actions:
        """Remove letters for good, all or none."""
        for letter in letters:
            if not self.is_settled(letter):
                return done(now, busy(letter))
        if not letters:
            return done(now, None)

        def then(now: Instant) -> Actions:
            for letter in letters:
                self.gone(letter)
            return done(now, None)

        def failed(now: Instant, error: StorageError) -> Actions:
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error)))

        writes = [Delete(DEAD, letter.key) for letter in letters]
        return [self._commits.commit(writes, then, failed)]

    def gone(self, letter: Letter) -> None:
        """Its removal is stored."""
        if self._letters.get(letter.key) is letter:
            self._leave(letter)

    # ---- time

    def tick(self) -> None:
        """Beyond a bound the oldest go."""
        while self._over and (oldest := self._oldest()) is not None:
            self._leave(oldest)
            self._commits.ride(Delete(DEAD, oldest.key))
            self.dropped += 1

    def deadline(self) -> float | None:
        """Overdue (time 0) while there is one to drop."""
        settings = self._settings
        if len(self._letters) <= settings.max_dead and self._bytes <= settings.max_dead_bytes:
            return None  # as it mostly is
        return 0.0 if self._over and self._oldest() is not None else None

    def depths(self) -> dict[str, Any]:
        return {
            "count": len(self._letters),
            "bytes": self._bytes,
            "dropped": self.dropped,
            "by_reason": dict(Counter(letter.reason for letter in self._letters.values())),
        }

    @property
    def _over(self) -> bool:
        """Whether those that are stored are too many: one whose commit may fail costs no other."""
        count, size = len(self._letters), self._bytes
        limit, byte_limit = self._settings.max_dead, self._settings.max_dead_bytes
        if count <= limit and size <= byte_limit:
            return False
        for letter in reversed(self._letters.values()):
            if self.is_settled(letter):
                break
            count, size = count - 1, size - letter.weight
        return count > limit or size > byte_limit

    def _oldest(self) -> Letter | None:
        """The oldest settled one of the first few: what is under way now is so for one commit only."""
        return next((letter for letter in islice(self._letters.values(), 8) if self.is_settled(letter)), None)

    def _meeting(self, wanted: LetterFilter, after: int) -> Iterator[Letter]:
        return (
            letter for letter in list(self._letters.values()) if letter.key > after and wanted.meets(letter)
        )

    def _enter(self, letter: Letter) -> None:
        self._letters[letter.key] = letter
        self._bytes += letter.weight

    def _leave(self, letter: Letter) -> None:
        del self._letters[letter.key]
        self._messages.forget(DEAD, letter.key)
        self._bytes -= letter.weight


def busy(letter: Letter) -> Refusal:
    """What is told about a letter that is not settled."""
    return Refusal(Reason.BUSY, "another change of this letter is being stored: ask again", letter.uuid)
