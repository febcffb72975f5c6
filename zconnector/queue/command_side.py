"""What `LocalQueue` offers for streams of zconnector.v1, and for operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from zconnector.actions import Actions, Caller
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.errors import Reason, Refusal
from zconnector.messages import Message
from zconnector.queue.bodies import Messages
from zconnector.queue.commands import Commands
from zconnector.queue.commits import Commits
from zconnector.queue.leases import Command, Lease
from zconnector.queue.lines import Waiter
from zconnector.queue.outcomes import Done
from zconnector.queue.register import Register
from zconnector.queue.routing import Routing, Rule
from zconnector.queue.settling import Settled, Settlement, all_of
from zconnector.queue.store import COMMANDS
from zconnector.queue.tally import Tally


class CommandSide:
    """The part of `LocalQueue` that the Gandalf API does not need."""

    _commands: Commands
    _commits: Commits
    _messages: Messages
    _register: Register

    # --- streams of zconnector.v1 ------------------------------------------------------------------

    def take_commands(
        self,
        caller: Caller,
        names: Iterable[str],
        worker: str,
        version: Version,
        now: Instant,
        *,
        holder: str = "",
        limit: int = 1,
        lease_ms: int = 0,
        wait_ms: int = 0,
    ) -> Actions:
        """Respond with `commands`, up to `limit` of these names (1 at least), as soon as there is one.

        Each has the token of its lease, which belongs to the stream `holder` ("": ended by time alone); the
        payloads follow one another. With none within `wait_ms` (0: no limit, -1: at once) the list is empty.
        """
        names = tuple(dict.fromkeys(names))
        return self._commands.handing.take(
            caller,
            names,
            worker,
            version,
            now,
            holder=holder,
            limit=limit,
            lease_ms=lease_ms,
            wait_ms=wait_ms,
        )

    def settle(self, settlements: Sequence[Settlement], now: Instant, done: Settled) -> Actions:
        """A holder tells what became of its leases; `done` hears of all, in order, after the commits."""
        if not settlements:
            return done(now, [])
        settle = self._commands.settling.settle
        actions: Actions = []
        for settlement, told in zip(settlements, all_of(len(settlements), done), strict=True):
            actions += settle(settlement, now, told)
        return actions

    def adopt(
        self, caller: Caller, leases: Iterable[tuple[str, str]], holder: str, worker: str, now: Instant
    ) -> tuple[list[str], Actions]:
        """A stream takes up leases (uuid, token) of an earlier one; the uuids of those that last."""
        adopt = self._commands.settling.adopt
        valid = [uuid for uuid, token in leases if adopt(uuid, token, holder, worker, caller.client, now)]
        return valid, self._commits.flush(now)

    def give_back(
        self, leases: Sequence[tuple[str, str]], why: str, now: Instant, *, unseen: bool
    ) -> tuple[int, Actions]:
        """These leases are over. `unseen`: no worker saw the commands, so they cost no attempt."""
        return self._commands.settling.give_back(leases, why, now, unseen=unseen)

    def give_back_all(self, holder: str, why: str, now: Instant, *, unseen: bool) -> tuple[int, Actions]:
        """All leases of a stream are over."""
        held = self._register.held_by(f"holder/{holder}") if holder else []
        return len(held), self._commands.returns.give_back(held, why, now, unseen=unseen)

    def end_takes(self, why: Refusal, now: Instant, holder: str | None = None) -> Actions:
        """Refuse what a stream (None: everybody) waits for with `take_commands`."""
        if holder is None:
            return self._commands.handing.end_takes(why, now)
        return self._commands.handing.end_waits(f"holder/{holder}", why, now)

    def on_lost(self, told: Callable[[Command, Lease, str, Instant], Actions]) -> None:
        """Tell this of leases of streams that ended without their doing: limit, EXPIRED, CANCELLED, ..."""
        self._register.on_lost = told

    # --- operators ---------------------------------------------------------------------------------

    def find_command(self, uuid: str) -> Command | None:
        """What is in memory of a command, live or ended and not forgotten yet; to be read only."""
        return self._register.find(uuid)

    def live_commands(self, name: str | None = None) -> Iterator[Command]:
        """The live commands of a name, or all, in order of arrival. Walks all: for operators only."""
        return self._register.live(name)

    def command_body(self, command: Command) -> Message:
        """A live command with header and payload. Raises StorageError."""
        return self._messages.message(COMMANDS, command.key)

    @property
    def tally(self) -> Tally:
        """Commands by (name, major, state), and bytes of the live ones by (name, major)."""
        return self._register.tally

    def cancel_command(self, uuid: str, reason: Reason, detail: str, now: Instant, done: Done) -> Actions:
        """Make a live command a dead letter: CANCELLED, PURGED. Its stream, if one holds it, is told.

        `done` hears None after the commit, else why it was not done: NOT_FOUND, FENCED (it has
        ended), STORAGE_FAILED.
        """
        return self._commands.burials.cancel(uuid, reason, detail, now, done)

    def hold_back(self, held: Callable[[str], bool]) -> None:
        """Ask this before each hand-out whether commands of that name are held back (paused)."""
        self._commands.picking.held = held

    def wake(self, name: str | None, now: Instant) -> Actions:
        """Commands of a name (None: of all) are no longer held back: serve who waits for them."""
        return self._commands.handing.wake(name, now)

    def route(self, routing: Routing, now: Instant) -> Actions:
        """From now on these versions are active or gated, with these shares and pins.

        Who waits is served by that. The first table has no version: whoever waits may have what comes.
        """
        return self._commands.handing.route(routing, now)

    @property
    def routing(self) -> Routing:
        """The table in force."""
        return self._register.routing

    def rule_of(self, command: Command) -> Rule | None:
        """What says which version a command goes to; None: whoever waits for it may have it."""
        return None if command.admin else self._register.routing.rule(command.name)

    def command_waiters(self) -> list[Waiter]:
        """Everybody who waits for a command, in the order in which they came."""
        return self._commands.handing.waiters()
