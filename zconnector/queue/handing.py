"""Handing out: waiters meet commands; the first one that fits goes to whoever waits longest.

Nothing here walks the backlog: waiters and commands meet in the lines of their name (`lines.py`).
"""

from __future__ import annotations

from zconnector.actions import Actions, Caller, Reach, Respond
from zconnector.alarms import Alarms
from zconnector.clock import Deadlines, Instant
from zconnector.configuration.pivot import Version
from zconnector.errors import Reason, Refusal
from zconnector.queue.commits import Commits
from zconnector.queue.iterators import Iterators
from zconnector.queue.leases import Command
from zconnector.queue.lines import Waiter
from zconnector.queue.picking import Picking
from zconnector.queue.register import LineKey, Register, rank
from zconnector.queue.returns import Returns
from zconnector.queue.routing import Routing, Serves
from zconnector.queue.taking import Taking

_AFTER_LEASE = Reach("target.after_lease")


class Handing:
    """Waits, and what they are answered with."""

    def __init__(
        self,
        commits: Commits,
        iterators: Iterators,
        register: Register,
        returns: Returns,
        picking: Picking,
    ) -> None:
        self._commits = commits
        self._iterators = iterators
        self._register = register
        self._returns = returns
        self._picking = picking
        self._taking = Taking(register, picking)
        self._waiting: dict[Caller, Waiter] = {}
        self._parked: dict[str, dict[Caller, None]] = {}
        """Callers that wait, by iterator (or stream)."""
        self._impatient: Alarms[Caller] = Alarms(commits.agenda)
        """Callers that wait for so long and no longer."""
        self._order = 0
        register.on_ready = self._ready

    def wait(
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
        """Answer with the oldest command of that name and version, now or when there is one.

        `serves`: the versions that it may stand for; None: the one it is serving, if any.
        """
        refusal = self._iterators.check(iterator, "command") or self._pending(caller)
        if refusal is not None:
            return [Respond(caller, error=refusal)]
        before = self._start_over(iterator, seen, now) if seen is not None else []
        self._order += 1
        if serves is None:
            serves = () if serving is None else (serving,)
        waiter = Waiter(caller, iterator, name, major, worker, serving, self._order, serves=serves)
        self._park(waiter)
        return before + self._serve(waiter, now)

    def take(
        self,
        caller: Caller,
        names: tuple[str, ...],
        worker: str,
        version: Version,
        now: Instant,
        *,
        holder: str = "",
        limit: int = 1,
        lease_ms: int = 0,
        wait_ms: int = 0,
    ) -> Actions:
        """Answer with up to `limit` commands of these names, as soon as there is one.

        `wait_ms`: after so long with none, the longest being 0 (no limit); -1: at once.
        """
        refusal = self._pending(caller)
        if refusal is not None:
            return [Respond(caller, error=refusal)]
        self._order += 1
        waiter = Waiter(
            caller,
            "",
            names[0],
            version.major,
            worker,
            version,
            self._order,
            names=names,
            holder=holder,
            limit=limit,
            lease_ms=lease_ms,
            serves=(version,),
        )
        self._park(waiter)
        actions = self._serve(waiter, now)
        if caller not in self._waiting:
            return actions
        if wait_ms < 0:
            return actions + self._give_up(waiter, now)
        if wait_ms:
            self._impatient.set(caller, now.mono + wait_ms / 1000)
        return actions

    def _pending(self, caller: Caller) -> Refusal | None:
        if caller not in self._waiting:
            return None
        return Refusal(Reason.BAD_ARGUMENT, f"call {caller.call} is pending already")

    def _start_over(self, iterator: str, seen: str, now: Instant) -> Actions:
        """Whoever takes one command at a time waits: what this iterator took after `seen` has not reached it.

        So it was lost with a connection, a front end or this process, and nobody works on it; an
        older wait can reach nobody any more. `seen` itself did reach it: that it could not be
        completed is no reason to run it again at once.
        """
        why = Refusal(Reason.REPLACED, "a newer wait of this iterator took its place")
        actions = self.end_waits(iterator, why, now)
        held = [command for command in self._register.held_by(iterator) if command.uuid != seen]
        return actions + self._returns.give_back(held, "lost on the way to its worker", now, unseen=True)

    def end_waits(self, holder: str, why: Refusal, now: Instant) -> Actions:
        """Refuse what an iterator or stream (`Waiter.held_by`) waits for."""
        actions: Actions = []
        for caller in list(self._parked.get(holder, ())):
            self._leave(self._waiting[caller], now)
            actions.append(Respond(caller, error=why))
        return actions

    def end_takes(self, why: Refusal, now: Instant) -> Actions:
        """Refuse all that `take` waits for."""
        actions: Actions = []
        for waiter in [waiter for waiter in self._waiting.values() if waiter.names]:
            self._leave(waiter, now)
            actions.append(Respond(waiter.caller, error=why))
        return actions

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        """The caller is gone without an answer, or without having used it; so are its iterator's leases.

        On a shared socket this is the only sign that a worker died. Commands just handed to that call go
        back as well: its RESULT and the CANCEL crossed, so nobody has seen them.
        """
        waiter = self._waiting.get(caller)
        if waiter is not None:
            self._leave(waiter, now)
            iterators = {waiter.iterator}
            actions: Actions = []
        else:
            unseen = self._register.handed_to(caller)
            iterators = {command.lease.iterator for command in unseen if command.lease is not None}
            actions = self._returns.give_back(unseen, "wait cancelled", now, unseen=True)
        for iterator in iterators - {""}:
            actions += self._returns.give_back(self._register.held_by(iterator), "wait cancelled", now)
        return actions

    def pass_over(self, worker: str, now: Instant) -> list[Waiter]:
        """Hand nothing to the waits of this worker; who they are. Whoever cancels them cancels nothing."""
        waiters = [w for w in self._waiting.values() if w.worker == worker and not w.names]
        for waiter in waiters:
            self._leave(waiter, now)
        return waiters

    def wake(self, name: str | None, now: Instant) -> Actions:
        """Commands of a name, or of all, may be handed out again."""
        actions: Actions = []
        for key in self._register.lines_of(name):
            actions += self._serve_all(key, now)
        return actions

    def route(self, routing: Routing, now: Instant) -> Actions:
        """Other versions, shares or pins hold from now on.

        Who was barred, and who is aimed at now or no longer, stands at the end of the lines.
        """
        self._register.route(routing)
        for waiter in self._waiting.values():
            barred, aim = self._bars(waiter), routing.aim(waiter.worker)
            if aim != waiter.aim and not waiter.barred:
                self._step_out(waiter)
                waiter.barred = True
            waiter.aim = aim
            if barred and not waiter.barred:
                self._step_out(waiter)
            elif waiter.barred and not barred:
                self._order += 1
                waiter.order = self._order
                self._stand(waiter)
            waiter.barred = barred
        actions: Actions = []
        for key in self._register.lines_of(None):
            actions += self._serve_all(key, now)
        return actions

    def tick(self, now: Instant) -> Actions:
        actions: Actions = []
        for key in self._picking.readable_again(now):
            actions += self._serve_all(key, now)
        for caller in self._impatient.due(now.mono):
            actions += self._give_up(self._waiting[caller], now)
        return actions

    @property
    def deadlines(self) -> Deadlines:
        return (self._picking.deadline, self._impatient.deadline)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def waiters(self) -> list[Waiter]:
        """Everybody who waits for a command, in the order in which they came."""
        return list(self._waiting.values())

    def _ready(self, command: Command, now: Instant) -> Actions:
        """A command has become ready: it may be the one that a waiter waits for."""
        if command.before is not None:
            return []  # told again when that one has ended
        line = self._register.line((command.name, command.admin))
        line.push(command.major, rank(command))
        if not line.waiting:
            return []
        sorting = line.sorting
        waiter = line.first(command.major) if sorting is None else sorting.first(command)
        return [] if waiter is None else self._serve(waiter, now)

    def _serve_all(self, key: LineKey, now: Instant) -> Actions:
        """Serve who waits at a line. Where one gets nothing, the others of its kind need not ask."""
        line = self._register.line(key)
        actions: Actions = []
        if not line.holds_commands:
            self._register.tidy(key)
            return actions
        in_vain: set[tuple[int, Serves]] = set()
        for waiter in sorted(line.waiters(), key=lambda waiter: waiter.order):
            kind = (waiter.major, waiter.stands_for)
            if kind in in_vain or waiter.caller not in self._waiting:
                continue
            actions += self._serve(waiter, now)
            if waiter.caller in self._waiting:
                in_vain.add(kind)
        return actions

    def _serve(self, waiter: Waiter, now: Instant) -> Actions:
        """Hand what fits to a parked waiter; it stays parked if there is nothing."""
        actions: Actions = []
        if waiter.barred:
            return actions
        fill = self._taking.fill if waiter.names else self._next
        answer = fill(waiter, now, actions)
        if answer is None:
            for key in waiter.lines:
                self._register.tidy(key)
            return actions
        self._leave(waiter, now)
        return [*actions, *self._commits.flush(now), answer, _AFTER_LEASE]

    def _next(self, waiter: Waiter, now: Instant, actions: Actions) -> Respond | None:
        picked = self._picking.pick((waiter.name, waiter.admin), waiter, now, actions)
        if picked is None:
            return None
        self._iterators.hold(waiter.iterator)
        command, message = picked
        self._picking.lease(command, waiter, now)
        return Respond(waiter.caller, message.header, message.payload)

    def _give_up(self, waiter: Waiter, now: Instant) -> Actions:
        self._leave(waiter, now)
        return [Respond(waiter.caller, {"commands": []})]

    def _park(self, waiter: Waiter) -> None:
        self._iterators.hold(waiter.iterator)
        self._waiting[waiter.caller] = waiter
        self._parked.setdefault(waiter.held_by, {})[waiter.caller] = None
        routing = self._register.routing
        if routing.bars_some:
            waiter.aim, waiter.barred = routing.aim(waiter.worker), self._bars(waiter)
        if waiter.barred:
            return
        for key in waiter.lines:
            self._register.line(key).park(waiter)

    def _bars(self, waiter: Waiter) -> bool:
        return not waiter.admin and self._register.routing.bars(waiter.worker, waiter.serves)

    def _stand(self, waiter: Waiter) -> None:
        for key in waiter.lines:
            self._register.line(key).park(waiter)

    def _step_out(self, waiter: Waiter) -> None:
        for key in waiter.lines:
            self._register.line(key).leave(waiter)
            self._register.tidy(key)

    def _leave(self, waiter: Waiter, now: Instant) -> None:
        for key in () if waiter.barred else waiter.lines:
            self._register.line(key).leave(waiter)
            self._register.tidy(key)
        del self._waiting[waiter.caller]
        self._impatient.cancel(waiter.caller)
        parked = self._parked[waiter.held_by]
        del parked[waiter.caller]
        if not parked:
            del self._parked[waiter.held_by]
        self._iterators.let_go(waiter.iterator, now)
