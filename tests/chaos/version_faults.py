"""How faults of worker versions are done and undone; `version_schedule.py` says which there are."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from contextlib import suppress
from typing import Any

from tests.chaos.cast import Cast
from tests.chaos.clients import Clients
from tests.chaos.faults import Facts, Faults
from tests.chaos.processes import Process, descendants, parent, process
from tests.chaos.record import Record
from tests.chaos.schedule import Fault
from tests.chaos.stalls import Stalls
from tests.chaos.version_people import Chief
from tests.chaos.version_promises import STOPPED_BY_FAULTS, WINDOW
from tests.chaos.version_schedule import ROUTER, STEPS
from zconnector.errors import ZConnectorError

GONE_WITHIN = 10.0
"""Seconds after a router's SIGKILL in which all that descends from it has ended."""
LOOK_EVERY, LOOK_AGAIN = 0.02, 0.2
THERE_WITHIN = 6.0
"""Seconds that a fault at a version waits for one: the router may be dead."""
GUARDS = 0.3
"""Share of the kills of a version that kill its guard."""
RUNS = ("STARTING", "RUNNING")


class VersionFaults(Faults):
    """Does them to the connector whose workers are versions."""

    def __init__(self, cast: Cast, clients: Clients, record: Record, stalls: Stalls, chief: Chief) -> None:
        super().__init__(cast, clients, record, stalls)
        self._chief = chief
        self._hits: dict[str, list[float]] = defaultdict(list)

    # ---- the router

    async def do_router_kill(self, fault: Fault) -> Facts:
        """In the step of a rollout that chance says, or where none comes to it in its time, then."""
        wanted = STEPS[int(fault.chance * len(STEPS))]
        step = await self._moment(wanted, fault.lasts)
        await asyncio.sleep((fault.chance * 1000 % 1) * 0.2)
        below = descendants(self._cast.pid(ROUTER))
        async with self._trouble(ROUTER):
            killed = self._now()
            await self._cast.kill(ROUTER)
            left = await self._gone(below)
            self._record.version(killed, "router_killed", step, len(below), [str(each.pid) for each in left])
            await asyncio.sleep(fault.chance * 10 % 1 * 1.5)
            back = await self._cast.bring_back(ROUTER)
        return {"step": step or "no rollout", "processes": len(below), "left": len(left), "back_after": back}

    async def _moment(self, wanted: str, seconds: float) -> str:
        """Wait for that step; the step that there is in the end, "" for none."""
        until, revision, step = self._now() + seconds, 0, ""
        while (left := until - self._now()) > 0.1:
            try:
                view = await self._chief.asking.ask("changes", left, after=revision)
            except ZConnectorError:
                await asyncio.sleep(min(LOOK_EVERY, left))
                continue
            revision = view["revision"]
            step = str(view["rollout"]["step"]) if view["rollout"] else ""
            if step == wanted:
                break
        return step

    async def _gone(self, below: list[Process]) -> list[Process]:
        """Those that have not ended in their time."""
        until = self._now() + GONE_WITHIN
        while True:
            left = [each for each in below if each.alive]
            if not left or self._now() >= until:
                return left
            await asyncio.sleep(LOOK_EVERY)

    async def do_router_restart(self, fault: Fault) -> Facts:
        return await self.do_restart(fault)

    async def do_router_freeze(self, fault: Fault) -> Facts:
        return await self.do_freeze(fault)

    # ---- versions

    async def do_version_kill(self, fault: Fault) -> Facts:
        found = await self._chosen(fault)
        if found is None:
            return {"ended": "none there"}
        version, row = found
        guard = fault.chance * 100 % 1 < GUARDS
        pid = parent(row.pid) if guard else row.pid
        async with self._trouble(fault.target):
            self._hit(version)
            if pid > 1 and row.alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return {"version": version, "guard": guard}

    async def do_version_freeze(self, fault: Fault) -> Facts:
        found = await self._chosen(fault)
        if found is None:
            return {"ended": "none there"}
        version, row = found
        async with self._trouble(fault.target):
            self._hit(version)
            with suppress(ProcessLookupError):
                os.kill(row.pid, signal.SIGSTOP)
            await asyncio.sleep(fault.lasts)
            self._record.thawed(self._now(), ROUTER)
            if row.alive:
                with suppress(ProcessLookupError):
                    os.kill(row.pid, signal.SIGCONT)
        return {"version": version}

    async def _chosen(self, fault: Fault) -> tuple[str, Process] | None:
        """A version's process, once there is one. None of those that were hit so often that once more is a
        crash loop."""
        until = self._now() + THERE_WITHIN
        while True:
            found = await self._there()
            if found or self._now() >= until:
                return found[int(fault.chance * len(found))] if found else None
            await asyncio.sleep(LOOK_AGAIN)

    async def _there(self) -> list[tuple[str, Process]]:
        view = await self._chief.asking.view()
        now = self._now()
        found: list[tuple[str, Process]] = []
        for row in view["versions"] if view is not None else ():
            recent = [at for at in self._hits[row["version"]] if now - at < WINDOW]
            if row["pid"] and row["state"] in RUNS and len(recent) <= STOPPED_BY_FAULTS:
                there = process(row["pid"])
                found += [(row["version"], there)] if there is not None else []
        return found

    def _hit(self, version: str) -> None:
        self._hits[version].append(self._now())
        self._record.version(self._now(), "hit", version)

    # ---- the repository

    async def do_no_repository(self, fault: Fault) -> Facts:
        await self._chief.releases.hide()
        await asyncio.sleep(fault.lasts)
        await self._chief.releases.show()
        return {}

    async def do_half_archive(self, fault: Fault) -> dict[str, Any]:
        newest = await self._chief.releases.begin_copy()
        await asyncio.sleep(fault.lasts)
        await self._chief.releases.end_copy()
        return {"version": newest}
