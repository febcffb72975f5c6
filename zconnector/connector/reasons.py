"""The one thing that a command waits for, in one sentence. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.connector.waiting import Queued
from zconnector.connector.workers import Registration, Workers
from zconnector.queue.leases import Command
from zconnector.queue.lines import Waiter
from zconnector.queue.local import LocalQueue
from zconnector.queue.pauses import ALL
from zconnector.queue.routing import ANY, Aim, Routing, Target
from zconnector.queue.states import State
from zconnector.shoset.dispatches import Dispatch
from zconnector.shoset.shoset import Shoset


class Reasons:
    """Looks at sessions, workers, waits and the queue; changes nothing."""

    def __init__(self, shoset: Shoset, queue: LocalQueue, workers: Workers) -> None:
        self._shoset = shoset
        self._queue = queue
        self._workers = workers
        self.aggregator = "its aggregator"
        """Logical name of the aggregator, as its instances said."""

    # ---- in the queue

    def queued(self, command: Command, now: Instant) -> str:
        """What a live command of the queue waits for."""
        if command.state is State.STORING:
            return "the commit that stores it"
        if command.state is State.COMPLETING:
            return "the commit of its end"
        if command.state is State.LEASED and command.lease is not None:
            worker = command.lease.worker or "an unnamed worker"
            for_ = lasting(now.mono - command.lease.since)
            return f"leased to {worker} for {for_}, {self._attempt(command)}"
        if command.state is State.DELAYED:
            left = lasting(max(0, command.due - now.wall) / 1000)
            error = f"; the last error: {command.error}" if command.error else ""
            attempt = f" ({self._attempt(command)}{error})" if command.attempt else ""
            return f"delayed for another {left}{attempt}"
        return self._ready(command, now)

    def _attempt(self, command: Command) -> str:
        return f"attempt {command.attempt} of {self._queue.operators.most_attempts(command)}"

    def _ready(self, command: Command, now: Instant) -> str:
        first = command.before
        if first is not None:
            return f"its turn in order key {command.order_key!r}, behind {first.uuid} ({first.state})"
        if not command.admin and self._queue.operators.pauses.holds(command.name):
            name = command.name if command.name in self._queue.operators.pauses.names() else ALL
            return f"paused: `zconnector queue resume {name!r}`"
        what = command.name if command.major == ANY else f"{command.name} in major {command.major}"
        rule = self._queue.rule_of(command)
        goes_to = rule.goes_to(command) if rule else None
        waiters = [
            waiter
            for waiter in self._queue.command_waiters()
            if _takes(waiter, command) and (rule is None or goes_to in rule.allowed(waiter.stands_for))
        ]
        if not waiters:
            return self._nobody(command, what, now)
        ahead = self._ahead(command)
        if ahead:
            return f"its turn: {ahead} of {command.name} are before it"
        return "being read from the disk: its worker waits" if self._queue.healthy else "the disk: it fails"

    def _nobody(self, command: Command, what: str, now: Instant) -> str:
        """Why no worker waits for it."""
        if command.admin:
            return "the admin worker, which does not wait for it now"
        routing, rule = self._queue.routing, self._queue.rule_of(command)
        able = [
            (registration, silent)
            for registration, silent in self._workers.registrations()
            if command.name in registration.commands and _meet(registration.major, command.major)
        ]
        of_major = f" of major {command.major}" if command.major != ANY else ""
        if not able and routing.active:
            active = ", ".join(_dotted(version) for version in sorted(routing.active))
            return f"no active version{of_major} declares {command.name} (active: {active})"
        if not able:
            return f"no worker{of_major} registered {command.name}"
        here = [registration for registration, silent in able if not silent]
        if not here:
            silent_ = max(able, key=lambda pair: pair[0].heard)[0]
            return f"{_who(silent_)} registered it, and is silent for {_since(silent_, now)}"
        goes_to = rule.goes_to(command) if rule else None
        able_now = [r for r in here if not routing.bars(r.worker, (_version(r),))]
        if rule is not None:
            able_now = [r for r in able_now if goes_to in (_version(r), Aim(r.worker))]
        if not able_now:
            why = ", ".join(sorted({_aside(r, routing) for r in here})[:5])
            return f"no active version{of_major} declares {command.name}: {why}"
        leases = [c.lease for c in self._queue.operators.leased() if c.name == command.name and c.lease]
        busy = sum(1 for lease in leases if rule is None or lease.version == goes_to)
        ahead = self._ahead(command)
        leased = f"{busy} are leased; {ahead} are before it" if ahead else f"{busy} are leased"
        workers = ", ".join(sorted({_who(registration) for registration in able_now})[:5])
        of = f" of version {_dotted(goes_to)}, which it goes to," if goes_to else ""
        return f"no worker{of} is free: {workers} registered {what} and asks for none, {leased}"

    def _ahead(self, command: Command) -> int:
        """How many ready commands are handed out before this one to those who may have it."""
        rule = self._queue.rule_of(command)
        goes_to = rule.goes_to(command) if rule else None
        return sum(
            _is_before(other, command) and (rule is None or rule.goes_to(other) == goes_to)
            for other in self._queue.live_commands(command.name)
        )

    # ---- on its way

    def sending(self, dispatch: Dispatch[Queued], now: Instant) -> str:
        """What a command waits for that is being tried."""
        serial = dispatch.serial
        if serial.current is None:
            return "the next instance"
        left = lasting(max(0.0, serial.current_ends - now.mono))
        tried = [peer.instance for peer in serial.tried if peer is not serial.current]
        before = f"; tried before: {', '.join(tried)}" if tried else ""
        at = f"instance {serial.current.instance} of {self.aggregator}"
        return f"a receipt, asked for over {at} ({left} left of its share{before})"

    def place(self, queued: Queued, now: Instant) -> str:
        """What a command waits for that is not being tried yet."""
        left = lasting(max(0.0, queued.ends - now.mono))
        if why := self.unreachable():
            return f"{why} ({left} left)"
        live = ", ".join(peer.instance for peer in self._shoset.peers(upward=True))
        return f"a place: too many commands are under way at the instances {live} ({left} left)"

    def unknown(self, uuid: str, now: Instant) -> str:
        """What a command waits for of which nothing definite was heard."""
        due = self._queue.unknown_until(uuid, now)
        until = "" if due is None else f" until {_clock(due)}, when a FAIL follows"
        what = f"a receipt or a reply{until}"
        why = self.unreachable()
        return f"{why}: {what}" if why else what

    def unreachable(self) -> str:
        """That no aggregator instance is live; "" when one is."""
        if self._shoset.peers(upward=True):
            return ""
        count = len(self._shoset.status()["up"])
        if count == 0:
            return f"no instance of {self.aggregator} is known"
        which = {1: "the only instance", 2: "both instances"}.get(count, f"all {count} instances")
        return f"{which} of {self.aggregator} unreachable"


def lasting(seconds: float) -> str:
    """How long, in a sentence."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"


def _clock(wall: int) -> str:
    return datetime.fromtimestamp(wall / 1000, UTC).strftime("%H:%M:%S UTC")


def _meet(major: int, other: int) -> bool:
    return major == other or ANY in (major, other)


def _takes(waiter: Waiter, command: Command) -> bool:
    names = waiter.names or (waiter.name,)
    fits = command.name in names and waiter.admin is command.admin and not waiter.barred
    return fits and _meet(waiter.major, command.major)


def _is_before(other: Command, command: Command) -> bool:
    """Whether another ready command is handed out earlier to the same waiters."""
    return (
        other.state is State.READY
        and other is not command
        and other.before is None
        and _meet(other.major, command.major)
        and (-other.priority, other.key) < (-command.priority, command.key)
    )


def _who(registration: Registration) -> str:
    return registration.worker or f"a worker of version {registration.major}.{registration.minor}"


def _version(registration: Registration) -> Version:
    return Version(registration.major, registration.minor)


def _dotted(version: Target) -> str:
    return f"of {version.worker}" if isinstance(version, Aim) else f"{version.major}.{version.minor}"


def _aside(registration: Registration, routing: Routing) -> str:
    """Why one that registered it is given none."""
    what = "drained" if registration.worker in routing.drained else "held back"
    return f"{_who(registration)} of version {_dotted(_version(registration))} is {what}"


def _since(registration: Registration, now: Instant) -> str:
    return lasting(now.mono - registration.heard)
