"""Dead letters that are commands again.

A replayed command has a fresh uuid (the old one is remembered as ended, with its FAIL, for the dedupe window)
and names the old one in `replay_of`. It is stored in the commit that removes its letter: a crash leaves one
of the two, never both, never neither.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError, WireError
from zconnector.messages import Kind, Message
from zconnector.messages.fields import check_header
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.commits import Commits
from zconnector.queue.dead import DeadLetters, busy
from zconnector.queue.envelope import unfit
from zconnector.queue.letters import Letter
from zconnector.queue.outcomes import Offered, OnOffered
from zconnector.queue.store import DEAD, Delete, Write
from zconnector.shoset.identity import fresh_uuid

_SPENT = ("budget", "delay")
"""Fields of the first sending that say nothing about this one."""

Check = Callable[[Message], Refusal | None]
"""Why a command may not be stored, as for one that arrives."""
Policy = Callable[[Message], RetryPolicy | None]
"""How often and when it is tried; None: as the settings say."""


@dataclass(slots=True)
class Replayed:
    """What became of some letters."""

    uuids: list[tuple[str, str]] = field(default_factory=list)
    """Old and new uuid of those that are commands again."""
    refused: list[Refusal] = field(default_factory=list)
    """Why others stay letters; each names its uuid."""


OnReplayed = Callable[[Instant, Replayed], Actions]


class Offer(Protocol):
    """`Offers.offer`."""

    def __call__(
        self,
        message: Message,
        now: Instant,
        done: OnOffered,
        retry: RetryPolicy | None = None,
        *,
        along: Sequence[Write] = (),
    ) -> Actions: ...


class Replays:
    """Offers the messages of letters to the queue anew."""

    def __init__(self, commits: Commits, dead: DeadLetters, offer: Offer, rng: random.Random) -> None:
        self._commits = commits
        self._dead = dead
        self._offer = offer
        self._rng = rng

    def replay(
        self, letters: Sequence[Letter], check: Check, policy: Policy, now: Instant, done: OnReplayed
    ) -> Actions:
        """Each letter that may be a command again becomes one; `done` hears of all of them together."""
        outcome = Replayed()
        open_ = len(letters) + 1
        actions: Actions = []

        def one_less(now: Instant) -> Actions:
            nonlocal open_
            open_ -= 1
            return [] if open_ else done(now, outcome)

        for letter in letters:
            command = self._command(letter, check, now)
            if isinstance(command, Refusal):
                outcome.refused.append(command)
                actions += one_less(now)
            else:
                actions += self._one(letter, command, policy(command), outcome, one_less, now)
        return actions + one_less(now)

    def _one(
        self,
        letter: Letter,
        command: Message,
        retry: RetryPolicy | None,
        outcome: Replayed,
        one_less: Callable[[Instant], Actions],
        now: Instant,
    ) -> Actions:
        def offered(now: Instant, offered: Offered) -> Actions:
            if offered.outcome == "STORED":
                self._dead.gone(letter)
                outcome.uuids.append((letter.uuid, command.uuid))
            else:
                reason = offered.reason or Reason.CONFLICT
                outcome.refused.append(Refusal(reason, offered.detail, letter.uuid))
            return one_less(now)

        return self._offer(command, now, offered, retry, along=[Delete(DEAD, letter.key)])

    def _command(self, letter: Letter, check: Check, now: Instant) -> Message | Refusal:
        if letter.kind != Kind.COMMAND.name:
            return Refusal(Reason.BAD_ARGUMENT, "it is an event: only commands are replayed", letter.uuid)
        if not self._dead.is_settled(letter):
            return busy(letter)
        try:
            message = self._dead.read(letter)
            check_header(Kind.COMMAND, message.flags, dict(message.header))
        except StorageError as error:
            self._commits.failed()
            return Refusal(Reason.STORAGE_FAILED, str(error), letter.uuid)
        except WireError as error:  # of a damaged one only the payload is left
            return Refusal(error.reason, f"its header is not whole: {error.detail}", letter.uuid)
        refusal = check(message)
        if refusal is not None:
            return Refusal(refusal.reason, refusal.detail, letter.uuid)
        command = message.without(*_SPENT).with_fields(
            uuid=fresh_uuid(self._rng),
            replay_of=letter.uuid,
            accept_until=now.wall + message.number("timeout"),
        )
        # Bytes are for workers of zconnector.v1; what died of being no text would do so again.
        if broken := unfit(command, text=letter.reason == Reason.INVALID_PAYLOAD):
            return Refusal(*broken, letter.uuid)
        return command
