"""How each kind of fault is done and undone; `schedule.py` says which there are.

A doer is a method of `Faults` named as its kind (`-` is `_`). It does the fault, waits as long as that
lasts, undoes it, and returns what it has to say about it (measurements, for the report).
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import uuid as uuid_module
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.chaos.cast import LOGS, Cast
from tests.chaos.clients import Clients, Work
from tests.chaos.proxy import DOWN, UP
from tests.chaos.record import Record
from tests.chaos.schedule import Fault
from tests.chaos.stalls import Stalls
from zconnector.cli.traffic import CI, GIT, other
from zconnector.runtime.control import request
from zconnector.shoset.enrolment import Enrolment

PROBE_EVERY = 0.25
PROBE_TIMEOUT = 2.0
PROBE_SIZE = 300_000
"""Characters of a probe's payload: more than what SQLite may still write over in a log that is full."""
USED_WITHIN = 20.0
"""Seconds after which a restarted instance is no longer waited for."""
RESUMES_WITHIN = 20.0

Facts = dict[str, Any]
Doer = Callable[["Faults", Fault], Coroutine[Any, Any, Facts]]


class Faults:
    """Does faults to a cast."""

    def __init__(self, cast: Cast, clients: Clients, record: Record, stalls: Stalls) -> None:
        self._cast = cast
        self._clients = clients
        self._record = record
        self._stalls = stalls
        self.strangers: list[Enrolment] = []
        """Declared connectors that nobody runs: one is used up by each flood, the first by nobody."""

    @classmethod
    def doers(cls) -> dict[str, Doer]:
        """By kind."""
        return {
            name[3:].replace("_", "-"): method
            for name, method in vars(cls).items()
            if name.startswith("do_") and callable(method)
        }

    async def do(self, fault: Fault) -> Facts:
        return await self.doers()[fault.kind](self, fault)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    @asynccontextmanager
    async def _trouble(self, label: str) -> AsyncIterator[None]:
        """The record is told for which connector's senders and workers times do not count meanwhile."""
        name, deaf = self._cast.connector_of(label)
        if name:
            self._record.leases_may_end(self._now(), name)
            self._record.fault(self._now(), name, True)
            if deaf:
                self._record.trouble(self._now(), name, True)
        try:
            yield
        finally:
            if name:
                self._record.leases_may_end(self._now(), name)
                self._record.fault(self._now(), name, False)
                if deaf:
                    self._record.trouble(self._now(), name, False)

    # ---- processes

    async def do_kill(self, fault: Fault) -> Facts:
        async with self._trouble(fault.target):
            await self._cast.kill(fault.target)
            await asyncio.sleep(fault.lasts)
            return {"back_after": await self._cast.bring_back(fault.target)}

    async def do_restart(self, fault: Fault) -> Facts:
        async with self._trouble(fault.target):
            await self._cast.end(fault.target)
            await asyncio.sleep(fault.lasts)
            return {"back_after": await self._cast.bring_back(fault.target)}

    async def do_freeze(self, fault: Fault) -> Facts:
        async with self._trouble(fault.target):
            self._cast.freeze(fault.target)
            await asyncio.sleep(fault.lasts)
            if name := self._cast.connector_of(fault.target)[0]:
                self._record.thawed(self._now(), name)
            self._cast.thaw(fault.target)
        return {}

    async def do_dead(self, fault: Fault) -> Facts:
        begun = self._now()
        await self._cast.kill(fault.target)
        await asyncio.sleep(fault.lasts)
        launched = self._now()
        facts = self._failover(begun, launched)
        ready = await self._cast.bring_back(fault.target)
        used = await self._used(fault.target)
        stalled = self._stalls.within(begun, self._now())
        return {**facts, "back_after": ready, "used_after": used and used - launched, "stalled": stalled}

    async def do_silent(self, fault: Fault) -> Facts:
        # Only who has a session with it can notice; after a partition that may take a while to come back.
        whole = await self._used(fault.target) is not None
        begun, wall = self._now(), time.time()
        self._cast.freeze(fault.target)
        await asyncio.sleep(fault.lasts)
        facts = self._failover(begun, self._now())
        stalled = self._stalls.within(begun, self._now())
        self._cast.thaw(fault.target)
        if whole:
            facts["noticed_after"] = self._cast.noticed(fault.target, wall, wall + fault.lasts)
        return {**facts, "stalled": stalled}

    def _failover(self, begin: float, end: float) -> Facts:
        """How the attempts did that were begun and ended while one instance was away."""
        over: list[float] = []
        failed = 0
        for at, took, timeout, outcome in self._clients.took:
            if at >= begin and at + took <= end:
                if outcome == "ACCEPTED":
                    limit = timeout / len(self._cast.stage.plan.of("aggregator")) + 0.2
                    stalled = self._stalls.within(at, at + took) if took > limit else 0.0
                    over.append(took - stalled - limit)
                elif not outcome.startswith("final "):
                    failed += 1
        if len(over) < 2:
            return {"receipts": len(over), "not_receipted": failed}
        p99 = statistics.quantiles(over, n=100, method="inclusive")[98]
        return {"receipts": len(over), "not_receipted": failed, "p99_over_limit": p99}

    async def _used(self, label: str) -> float | None:
        """When the instance had live sessions with every connector and the member, so that it is used."""
        names = {component.name for component in self._cast.stage.plan.of("connector")}
        directory = self._cast.stage.state_dir / self._cast.stage.component(label).directory
        deadline = self._now() + USED_WITHIN
        while self._now() < deadline:
            sessions = (await asyncio.to_thread(request, directory, "status", {}, 5.0))["sessions"]
            live = {peer["name"] for peer in sessions["down"] if peer["state"] == "LIVE"}
            if names <= live and all(up["state"] == "LIVE" for up in sessions["up"]):
                return self._now()
            await asyncio.sleep(0.05)
        return None

    # ---- links

    async def do_cut(self, fault: Fault) -> Facts:
        return await self._hold(fault, frozenset({UP, DOWN}))

    async def do_one_way(self, fault: Fault) -> Facts:
        return await self._hold(fault, frozenset({UP if fault.chance < 0.5 else DOWN}))

    async def _hold(self, fault: Fault, held: frozenset[str]) -> Facts:
        await self._cast.hold(fault.target, held)
        await asyncio.sleep(fault.lasts)
        await self._cast.heal(fault.target, held)
        return {"held": sorted(held)}

    async def do_slow(self, fault: Fault) -> Facts:
        proxy, peer = self._cast.link(fault.target)
        delay = 0.02 + 0.3 * fault.chance
        proxy.slow(peer, delay)
        await asyncio.sleep(fault.lasts)
        proxy.slow(peer, 0.0)
        return {"delay": round(delay, 3)}

    async def do_reset(self, fault: Fault) -> Facts:
        proxy, peer = self._cast.link(fault.target)
        return {"connections": proxy.reset(peer)}

    async def do_island(self, fault: Fault) -> Facts:
        links = [label for label in self._cast.links() if label.startswith(f"{fault.target}>")]
        for link in links:
            await self._cast.hold(link, frozenset({UP, DOWN}))
        await asyncio.sleep(fault.lasts)
        for link in links:
            await self._cast.heal(link, frozenset({UP, DOWN}))
        return {}

    # ---- disks

    async def do_disk(self, fault: Fault) -> Facts:
        """Full for a while, and now and then that of the logs too. Probes say how commands are refused."""
        disk, pid = self._cast.disks[fault.target], self._cast.pid(fault.target)
        logs = self._cast.disks[LOGS]
        member = fault.target.startswith("cluster")
        async with self._trouble(fault.target):
            await asyncio.to_thread(disk.fill, pid)
            if fault.chance < 0.5:
                await asyncio.to_thread(logs.fill, pid)
            end = self._now() + fault.lasts
            refused: list[str] = []
            taken = 0
            while self._now() < end:
                outcome = await self._probe(fault.target, member)
                taken += outcome == ""
                refused += [outcome] if outcome else []
                await asyncio.sleep(PROBE_EVERY)
            disk.empty()
            logs.empty()
            room, begun = self._now(), end - fault.lasts
            resumed = await self._resumed(fault.target, member, room)
        return {
            "refused": sorted(set(refused)),
            "refusals": len(refused),
            "taken": taken,
            "resumed_after": resumed,
            "stalled": self._stalls.within(begun, self._now()),
        }

    async def do_full_crash(self, fault: Fault) -> Facts:
        """Killed while its disk is full, and started in vain; there is room when it is started again."""
        disk = self._cast.disks[fault.target]
        async with self._trouble(fault.target):
            await asyncio.to_thread(disk.fill, self._cast.pid(fault.target))
            await asyncio.sleep(fault.lasts)
            await self._cast.kill(fault.target)
            said = await self._cast.start_in_vain(fault.target)
            disk.empty()
            return {
                "started_full": "serves" if not said else said.rpartition("\n")[2].strip()[:200],
                "back_after": await self._cast.bring_back(fault.target),
            }

    async def _probe(self, target: str, member: bool) -> str:
        """One big command whose way ends at that disk: "" when it was taken, else what was said.

        Through a full member anything goes; to a full connector it is the other one that sends.
        """
        source = GIT if member or target == CI.name else CI
        uuid = f"probe-{uuid_module.uuid4()}"
        self._record.warm(uuid)
        work = Work("probe", size=PROBE_SIZE)
        outcome, _ = await self._clients.send_bare(source, other(source), uuid, work, PROBE_TIMEOUT)
        return "" if outcome == "ACCEPTED" else outcome

    async def _resumed(self, target: str, member: bool, since: float) -> float | None:
        while self._now() < since + RESUMES_WITHIN:
            if not await self._probe(target, member):
                return self._now() - since
            await asyncio.sleep(0.05)
        return None

    # ---- peers that mean no good

    async def do_garbage(self, fault: Fault) -> Facts:
        return await self._hostile(fault)

    async def do_half_open(self, fault: Fault) -> Facts:
        return await self._hostile(fault)

    async def do_oversized(self, fault: Fault) -> Facts:
        return await self._hostile(fault)

    async def do_storm(self, fault: Fault) -> Facts:
        return await self._hostile(fault)

    async def do_flood(self, fault: Fault) -> Facts:
        return await self._hostile(fault, self.strangers.pop())

    async def _hostile(self, fault: Fault, enrolment: Enrolment | None = None) -> Facts:
        component = self._cast.stage.component(fault.target)
        enrolment = enrolment or self.strangers[0]
        at = [e for e in enrolment.endpoints if e.instance == component.instance] or [enrolment.endpoints[0]]
        direct = replace(enrolment, endpoints=(replace(at[0], endpoint=component.endpoint),))
        known = {"port": int(component.endpoint.rpartition(":")[2]), "enrolment": direct.encode()}
        script = Path(__file__).with_name("hostile.py")
        process = await asyncio.create_subprocess_exec(
            *self._cast.partitions.launcher(fault.target),
            *(sys.executable, str(script), fault.kind, str(fault.lasts), str(fault.chance)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(fault.lasts + 30):
                out, err = await process.communicate(json.dumps(known).encode())
        except TimeoutError:
            return {"ended": "killed: it hung"}
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:  # its target died meanwhile, say
            return {"ended": err.decode().strip().rpartition("\n")[2]}
        return dict(json.loads(out))
