"""Chaos on real processes: traffic both ways, faults by schedule, and a record that is judged at the end."""

from __future__ import annotations

import asyncio
import bisect
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.chaos.cast import MEMBER, Cast
from tests.chaos.clients import Clients
from tests.chaos.faults import Faults
from tests.chaos.operators import Operator, Readers
from tests.chaos.partitions import AUTO
from tests.chaos.record import Record
from tests.chaos.releases import Releases
from tests.chaos.report import Done, Report
from tests.chaos.schedule import KINDS, Fault, schedule
from tests.chaos.senders import Senders
from tests.chaos.stalls import Stalls
from tests.chaos.version_asking import Asking
from tests.chaos.version_calm import Calm
from tests.chaos.version_faults import VersionFaults
from tests.chaos.version_people import Chief
from tests.chaos.version_schedule import LAST_ACTS, ROUTER, TARGETS, VERSION_KINDS, Act, acts
from tests.chaos.version_schedule import faults as version_faults
from tests.chaos.version_senders import VersionSenders
from tests.chaos.worker import AUDITED
from zconnector.cli.traffic import CI, GIT
from zconnector.errors import NotRunningError

COMMAND_PAUSE, EVENT_PAUSE, WISHED_PAUSE, VERSION_PAUSE = 0.08, 0.3, 0.3, 0.4
"""Seconds between two commands, two events, two commands with wishes, and two to versions, of one side."""
LONG_STALL = 1.0
"""Seconds in any four that the machine was not to be had: a worker's beats may have failed to come."""
MOST_AT_ONCE = 4
"""Faults under way: with more, on a slow machine, nothing is ever up for long enough to be tormented."""
SETTLED = 2.0
"""Seconds without any fault before one that is measured."""
S = TypeVar("S")
PROBED = 60.0
"""Seconds of a run after which there is time to look at which version commands go to."""
SETTLE = 90.0
"""Seconds after the traffic in which everything must come to its end."""


class Chaos:
    """One run. `kinds`: names of the kinds of faults (none: all); `partitions`: what makes them; `versions`:
    whether there is a connector whose workers are versions, and who changes them."""

    def __init__(
        self,
        state_dir: Path,
        seconds: float,
        seed: int,
        say: Callable[[str], None],
        kinds: Sequence[str] = (),
        partitions: str = AUTO,
        versions: bool = True,
    ) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._seconds = seconds
        self._seed = seed
        self._say = say
        self._kinds = kinds
        self._record = Record(state_dir / "record.jsonl")
        self._cast = Cast(state_dir, self._record, self._died, partitions, versions)
        self._state_dir = state_dir
        self._versions = versions
        self._chief: Chief | None = None
        self._calm: Calm | None = None
        self._stalls = Stalls(state_dir, self._answering, self._beating)
        self._deaths: list[str] = []
        self._changed = asyncio.Event()
        self._locks: dict[str, asyncio.Lock] = {}
        self._turn = asyncio.Condition()
        self._under_way: Counter[bool] = Counter()
        """Faults, by whether they are of versions."""
        self._patient = 0
        """Faults that are measured, or wait for that."""
        self._done: list[tuple[Fault, float, float, dict[str, object]]] = []

    async def run(self) -> Report:
        """Start, torment, settle, judge; all processes are gone when this returns or raises."""
        try:
            await self._cast.start()
            self._stalls.start()
            times = await self._torment()
            complaints = self._cast.complaints()
        finally:
            await self._cast.stop()
            await self._stalls.stop()
        try:
            return self._report(*times, complaints)
        finally:
            self._record.close()

    def _sides(self) -> list[str]:
        return [GIT.name, CI.name, *([ROUTER] if self._versions else [])]

    async def _torment(self) -> tuple[float, float, float | None]:
        """When it began and ended, and `_settle`."""
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            chief: Chief | None = None
            if self._versions:
                chief = await stack.enter_async_context(self._make_chief())
                chief.begin()  # while the others start
            await self._cast.start_front_ends()
            addresses = self._cast.addresses()
            traffic = (self._record, self._stalls, addresses, self._seed, self._changed.set)
            clients = await stack.enter_async_context(Clients(*traffic, self._died))
            senders = await stack.enter_async_context(Senders(*traffic))
            readers = Readers(self._record, addresses[AUDITED], self._seed, clients.saw, self._died)
            await stack.enter_async_context(readers)
            doers, faults = await self._plan_faults(clients)
            await self._cast.start_workers(clients)
            names = [label.partition(" ")[2] for label in self._cast.workers]
            await clients.warm_up({s.name: [n for n in names if n.startswith(s.name)] for s in (GIT, CI)})
            await senders.warm_up()
            callers: VersionSenders | None = None
            if chief is not None:
                callers = await stack.enter_async_context(self._make_callers(addresses))
            operator = Operator(self._record, self._cast.directories(), self._seed)
            begun = loop.time()
            give_up = begun + self._seconds + SETTLE
            self._say(f"seed {self._seed}: {len(faults)} faults in {self._seconds:g} s")
            async with asyncio.TaskGroup() as group:
                for side in (GIT, CI):
                    group.create_task(self._send(clients.command, side, COMMAND_PAUSE, begun, give_up))
                    group.create_task(self._send(clients.event, side, EVENT_PAUSE, begun, give_up))
                    group.create_task(self._send(senders.command, side, WISHED_PAUSE, begun, give_up))
                group.create_task(operator.work(begun + self._seconds, give_up))
                if chief is not None and callers is not None:
                    group.create_task(self._change_versions(group, chief, callers, begun, give_up))
                for fault in faults:
                    group.create_task(self._inject(doers[fault.kind], fault, begun))
                group.create_task(self._progress(begun))
            settled = await self._settle(begun + self._seconds)
            if self._calm is not None and callers is not None:
                await self._calm.rest()
                if self._seconds >= PROBED:
                    why = await self._calm.probe(callers.clients[ROUTER])
                    self._say(f"         ways of commands looked at: {why or 'yes'}")
            ended = loop.time()
        return begun, ended, settled

    def _make_chief(self) -> Chief:
        member = self._cast.directories()[MEMBER]
        releases, asking = Releases(self._state_dir / "releases"), Asking(self._state_dir, member)
        self._calm = Calm(self._record, releases, asking)
        self._chief = Chief(self._record, releases, asking)
        return self._chief

    def _make_callers(self, addresses: Mapping[str, tuple[str, str]]) -> VersionSenders:
        """From git, and from the router itself."""
        of = {GIT.name: ",".join(addresses[GIT.name]), ROUTER: self._cast.stage.grpc(ROUTER)}
        return VersionSenders(self._record, self._stalls, of, self._seed, self._changed.set, self._died)

    async def _plan_faults(self, clients: Clients) -> tuple[dict[str, Faults], list[Fault]]:
        """Who does each kind, and what is to be done."""
        kinds = [kind for kind in self._kinds if kind in KINDS]
        targets = self._cast.targets()
        doer = Faults(self._cast, clients, self._record, self._stalls)
        doers = dict.fromkeys(KINDS, doer)
        faults = schedule(self._seed, self._seconds, targets, kinds) if kinds or not self._kinds else []
        floods = sum(fault.kind == "flood" for fault in faults)
        doer.strangers = [await self._cast.declare(f"stranger-{n}") for n in range(floods + 1)]
        if self._chief is not None:
            kinds = [kind for kind in self._kinds if kind in VERSION_KINDS]
            more = version_faults(self._seed, self._seconds, kinds) if kinds or not self._kinds else []
            faults = sorted([*faults, *more], key=lambda fault: fault.at)
            of_versions = VersionFaults(self._cast, clients, self._record, self._stalls, self._chief)
            doers |= dict.fromkeys(VERSION_KINDS, of_versions)
            targets += TARGETS
        self._locks = {label: asyncio.Lock() for _, label in targets}
        return doers, faults

    async def _change_versions(
        self, group: asyncio.TaskGroup, chief: Chief, callers: VersionSenders, begun: float, give_up: float
    ) -> None:
        """Commands to versions, and an operator who changes these, from when the first one serves."""
        loop = asyncio.get_running_loop()
        try:
            await chief.began()
            await callers.warm_up()
        except NotRunningError as error:
            self._died(f"the versions did not begin: {error}")
            return
        since = loop.time()

        def say(what: str) -> None:
            self._say(f"{loop.time() - begun:7.2f}  {what}")

        async def at_its_time(act: Act) -> None:
            await asyncio.sleep(act.at)
            await chief.act(act, callers.clients[GIT.name], give_up, say)

        say("the first version serves")
        self._record.version(since, "flowing", True)
        chief.keep()
        for source in callers.clients:
            group.create_task(self._send(callers.command, source, VERSION_PAUSE, begun, give_up))
        for act in acts(self._seed, self._seconds):
            if since + act.at <= begun + self._seconds - LAST_ACTS:
                group.create_task(at_its_time(act))

    def _report(self, begun: float, ended: float, settled: float | None, complaints: list[str]) -> Report:
        if self._chief is not None and self._calm is not None:
            self._record.version(begun + self._seconds, "flowing", False)
            self._calm.left()
            for entry in self._chief.releases.did():
                self._record.version_did(entry, ROUTER)
        for at in self._stalls.long_ones(LONG_STALL, begun, ended):
            for name in self._sides():
                self._record.leases_may_end(at, name)
            for side in (GIT, CI):  # of versions their own judge knows the stalls
                self._record.fault(at, side.name, True)
                self._record.fault(at, side.name, False)
        return Report(
            self._seed,
            self._seconds,
            self._record.verdict(),
            self._record.judge(ended, [GIT.name, CI.name], self._stalls.within),
            tuple(self._recovered(begun)),
            settled,
            tuple(self._deaths),
            tuple(complaints),
            {
                "partitions": self._cast.partitions.how,
                "disks": ", ".join(sorted({disk.how for disk in self._cast.disks.values()})),
            },
            {
                "longest": round(self._stalls.longest, 3),
                "total": round(self._stalls.total, 3),
                "void deadlines": self._stalls.void,
            },
        )

    async def _send(
        self,
        one: Callable[[S, float, float], Coroutine[Any, Any, None]],
        side: S,
        pause: float,
        begun: float,
        give_up: float,
    ) -> None:
        """One message after another until the time is over; back when all have come to their end."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while loop.time() < begun + self._seconds:
                group.create_task(one(side, begun + self._seconds, give_up))
                await asyncio.sleep(pause)

    async def _inject(self, doer: Faults, fault: Fault, begun: float) -> None:
        """Do it at its time, undo it later. A target of another fault is left until that is over."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, begun + fault.at - loop.time()))
        async with self._locks[fault.target], self._turns(fault.kind):
            at = loop.time()
            if at + fault.lasts > begun + self._seconds:
                return  # others before it took too long, on this machine: it is not done, nor counted
            self._say(f"{at - begun:7.2f}  {fault.kind} {fault.target} for {fault.lasts:g} s")
            facts = await doer.do(fault)
            self._done.append((fault, at, loop.time(), facts))
            if told := {name: _short(value) for name, value in facts.items()}:
                self._say(f"{loop.time() - begun:7.2f}  {fault.kind} {fault.target} over: {told}")

    @asynccontextmanager
    async def _turns(self, kind: str) -> AsyncIterator[None]:
        """What is measured waits until all else is over, and the other way round; nor are there too many.

        The schedule sees to that, but not to how long a killed process takes to come back. Those of versions
        have room of their own.
        """
        ours = kind in VERSION_KINDS
        alone = not ours and KINDS[kind].alone
        under_way = self._under_way
        async with self._turn:
            self._patient += alone
            await self._turn.wait_for(
                lambda: (
                    not under_way.total() if alone else not self._patient and under_way[ours] < MOST_AT_ONCE
                )
            )
            under_way[ours] += 1
        try:
            if alone:
                await asyncio.sleep(SETTLED)
            yield
        finally:
            async with self._turn:
                under_way[ours] -= 1
                self._patient -= alone
                self._turn.notify_all()

    async def _progress(self, begun: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := begun + self._seconds - loop.time()) > 0:
            await asyncio.sleep(min(10.0, left))
            verdict = self._record.verdict()
            self._say(
                f"{loop.time() - begun:7.2f}  {verdict.commands} commands, {verdict.receipts} receipts,"
                f" {verdict.replies} replies; {verdict.events} events, {verdict.arrivals} arrived"
            )

    async def _settle(self, since: float) -> float | None:
        """Seconds from the end of traffic and faults until nothing was open; None at the deadline."""
        loop = asyncio.get_running_loop()
        calm = max([since, *(ended for _, _, ended, _ in self._done)])
        try:
            async with asyncio.timeout_at(since + SETTLE):
                record = self._record
                while record.open_commands or record.open_events or record.unheard or record.open_replays:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return round(loop.time() - calm, 3)

    def _recovered(self, begun: float) -> list[Done]:
        sent, receipted = self._record.sent_at, self._record.receipted_at
        receipts = sorted((sent[uuid], at) for uuid, at in receipted.items())
        done: list[Done] = []
        for fault, at, ended, facts in self._done:
            after = receipts[bisect.bisect_left(receipts, (at, 0.0)) :]
            recovery = min((heard for _, heard in after), default=None)
            done.append(
                Done(fault, at - begun, ended - begun, facts, None if recovery is None else recovery - at)
            )
        return done

    def _answering(self) -> list[int]:
        """Processes whose waiting for a processor delays what a sender hears: this one among them."""
        return [os.getpid(), *(self._cast.pid(each) for each in (*self._sides(), *self._cast.front_ends))]

    def _beating(self) -> list[int]:
        """Workers: of who is not run there are no beats. The dead count for nothing."""
        return [worker.pid for worker in self._cast.workers.values() if worker.started]

    def _died(self, what: str) -> None:
        self._deaths.append(what)
        self._say(f"         {what}, and nobody ended it")


def _short(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value
