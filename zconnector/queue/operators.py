"""What operators do to the local queue: pauses and dead letters (`LocalQueue.operators`)."""

from __future__ import annotations

from collections.abc import Sequence

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Refusal
from zconnector.messages import Message
from zconnector.queue.commands import Commands
from zconnector.queue.dead import DeadLetters, Page
from zconnector.queue.events import Events
from zconnector.queue.leases import Command
from zconnector.queue.letters import Letter, LetterFilter
from zconnector.queue.outbox import Outbox
from zconnector.queue.outcomes import Done
from zconnector.queue.pauses import ALL, Pauses
from zconnector.queue.purges import OnPurged, Purges
from zconnector.queue.replays import Check, OnReplayed, Policy, Replays
from zconnector.queue.retained import Event
from zconnector.queue.states import State


class Operators:
    """Every change is durable before its continuation is called, and is one commit."""

    def __init__(
        self,
        commands: Commands,
        dead: DeadLetters,
        pauses: Pauses,
        replays: Replays,
        events: Events,
        outbox: Outbox,
    ) -> None:
        self._events = events
        self._outbox = outbox
        self._commands = commands
        self._purges = Purges(commands.register, commands.burials)
        self._dead = dead
        self._replays = replays
        self.pauses = pauses
        commands.picking.held = pauses.holds

    # ---- pauses

    def pause(self, name: str, now: Instant, done: Done) -> Actions:
        """Hand out no command of that name ("*": of any) until it is resumed, over restarts too."""
        return self.pauses.pause(name, now, done)

    def resume(self, name: str, now: Instant, done: Done) -> Actions:
        """Hand them out again; "*": all that is paused, whatever its name."""

        def resumed(now: Instant, refusal: Refusal | None) -> Actions:
            told = done(now, refusal)
            if refusal is not None:
                return told
            return told + self._commands.handing.wake(None if name == ALL else name, now)

        return self.pauses.resume(name, now, resumed)

    # ---- commands

    def purge(self, name: str | None, state: State | None, now: Instant, done: OnPurged) -> Actions:
        """End the READY and DELAYED commands of a name (None: of any), or those in one of the two states."""
        return self._purges.purge(name, state, now, done)

    def leased(self) -> list[Command]:
        """The commands that somebody has."""
        return self._commands.register.leased()

    def most_attempts(self, command: Command) -> int:
        """How often a command may be handed out."""
        return self._commands.returns.most_attempts(command)

    def told_of(self, uuid: str, now: Instant) -> list[tuple[int, Event]]:
        """Receipts and replies here that refer to a uuid, and when they came (wall clock, ms)."""
        return self._events.about(uuid, now)

    def reply_waits(self, reply: str, now: Instant) -> tuple[int, float] | None:
        """How often a reply was sent from the outbox, and in how many seconds again; None: confirmed."""
        return self._outbox.waits(reply, now)

    # ---- dead letters

    def letters(self, wanted: LetterFilter, limit: int, after: int = 0) -> Page:
        """A page of dead letters, oldest first."""
        return self._dead.page(wanted, limit, after)

    def letter(self, uuid: str) -> Letter | None:
        """The newest dead letter of a uuid."""
        return self._dead.find(uuid)

    def read(self, letter: Letter) -> Message:
        """The whole message of a letter. Raises StorageError."""
        return self._dead.read(letter)

    def edit(self, letter: Letter, payload: bytes, now: Instant, done: Done) -> Actions:
        """Replace a letter's payload, which the caller has checked."""
        return self._dead.edit(letter, payload, now, done)

    def purge_letters(self, letters: Sequence[Letter], now: Instant, done: Done) -> Actions:
        """Remove letters for good, all or none."""
        return self._dead.purge(letters, now, done)

    def replay(
        self, letters: Sequence[Letter], check: Check, policy: Policy, now: Instant, done: OnReplayed
    ) -> Actions:
        """Make letters commands again, each in one commit with the removal of its letter."""
        return self._replays.replay(letters, check, policy, now, done)
