"""The operator of worker versions, who does what the schedule says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.chaos.processes import commands
from tests.chaos.record import Record
from tests.chaos.releases import BASE, Releases
from tests.chaos.version_asking import AGAIN, LOOK, VERBS, Answer, Asking
from tests.chaos.version_schedule import ADMIN, CLI, CONTROL, ROUTER, Act
from tests.chaos.version_story import SUCCES
from zconnector.errors import NotRunningError, ZConnectorError
from zconnector.worker import Client

PATIENCE = 120.0
"""Seconds in which a router that is well answers, whatever it was asked."""


class Chief:
    """Does each thing at its time, whatever became of the one before."""

    def __init__(self, record: Record, releases: Releases, asking: Asking) -> None:
        self._record = record
        self.releases = releases
        self.asking = asking
        self._asked = 0
        self._stopping = asyncio.Lock()
        self._beginning: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Chief:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._beginning, self._keeper) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.asking.close()

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def _note(self, what: str, *facts: Any) -> None:
        self._record.version(self.now(), what, *facts)

    def begin(self) -> None:
        """Have the first version run, by the logical configuration; `began` waits for it."""
        self._beginning = asyncio.create_task(self._begin())

    async def began(self) -> None:
        """The first version is configured. Raises NotRunningError."""
        if self._beginning is not None:
            await self._beginning

    async def _begin(self, within: float = 60.0) -> None:
        await self.publish(BASE, "good")
        deadline = self.now() + within
        while self.now() < deadline:
            if await self.asking.set(self.releases.values(BASE), CONTROL, LOOK) == Answer(SUCCES):
                return
            await asyncio.sleep(AGAIN)
        raise NotRunningError(f"the versions could not be configured in {within:g} s")

    async def publish(self, version: str, quality: str) -> None:
        if version not in self.releases.qualities:
            await self.releases.add(version, quality)
            self._note("published", version, quality)

    def keep(self) -> None:
        """From now on something good is started whenever nothing is left that should run."""
        self._keeper = asyncio.create_task(self._keep())

    async def act(self, act: Act, client: Client, give_up: float, say: Callable[[str], None]) -> None:
        """One act, to its answer. `client` is a connector that may send admin commands."""
        if act.kind == "publish":
            await self.publish(act.version, act.quality)
        if act.kind == "stop":
            async with self._stopping:
                await self._act(act, client, give_up, say)
        else:
            await self._act(act, client, give_up, say)

    async def _act(self, act: Act, client: Client, give_up: float, say: Callable[[str], None]) -> None:
        version = act.version
        if act.kind in ("stop", "shares"):
            running = await self.asking.running()
            if not running or (act.kind == "stop" and len(running) < 2):
                return  # the last one is left alone, as far as anybody can see
            version = running[int(act.chance * len(running))]
        self._asked += 1
        number, begun = self._asked, self.now()
        self._note("asked", number, act.kind, act.way, version)
        seconds = min(PATIENCE, give_up - begun)
        answer: Answer | None
        if act.kind in ("shares", "keys", "want"):
            answer = await self.asking.set(self._values(act, version), act.way, seconds)
        elif act.way == ADMIN:
            answer = await self.asking.by_admin(client, act.kind, version, begun + seconds)
        elif act.way == CLI:
            argv = ["worker", VERBS[act.kind], *([version] if version else []), "--connector", ROUTER]
            answer = await self.asking.by_command_line(argv, seconds)
        else:
            asked = {"verb": f"worker.{VERBS[act.kind]}", "version": version}
            answer = await self.asking.by_control(self.asking.router, "operate", asked, seconds)
        if answer is None:
            return  # nobody promised anything
        stopped = act.kind == "stop" and answer.outcome == SUCCES
        alive = self._processes(version) if stopped else []
        self._note("answered", number, *answer, alive)
        why = f": {answer.why}" if answer.why else ""
        what = f"{act.kind} {version}".strip()
        say(f"{what} by {act.way} {answer.outcome} after {self.now() - begun:.1f} s{why}")

    def _values(self, act: Act, version: str) -> dict[str, Any]:
        if act.kind == "shares":
            return {"shares": {version: round(act.chance * 100)}}
        if act.kind == "keys":
            return {"keys": {**self.releases.values()["keys"], "token": f"secret {act.chance}"}}
        return {"versions": [version]}

    def _processes(self, version: str) -> list[int]:
        """Processes of a version that runs here."""
        place = f"{self.asking.router}/workers/installed/"
        return [pid for pid, line in commands(place) if f"/{version}-" in line]

    # ---- nothing is left without a worker

    async def _keep(self) -> None:
        revision = 0
        while True:
            try:
                view = await self.asking.ask("changes", LOOK, after=revision)
            except ZConnectorError:
                revision = 0
                await asyncio.sleep(AGAIN)
                continue
            revision = view["revision"]
            wanted = [row for row in view["versions"] if row["wanted"]]
            if view["rollout"] is None and all(row["state"] == "FAILED" for row in wanted):
                await self._rescue([row["version"] for row in wanted])

    async def _rescue(self, wanted: list[str]) -> None:
        self._note("emptied", wanted)
        while True:
            try:
                await self.asking.ask("start", PATIENCE, version=BASE)
                break
            except ZConnectorError:
                view = await self.asking.view()
                if view is not None and any(row["state"] == "RUNNING" for row in view["versions"]):
                    break  # by somebody else's act
                await asyncio.sleep(AGAIN)
        self._note("rescued")
