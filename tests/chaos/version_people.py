"""The operator of worker versions: asks by the control socket, the command line, or admin commands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid as uuid_module
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.processes import commands
from tests.chaos.record import Record
from tests.chaos.releases import BASE, ROOT, TYPE, Releases
from tests.chaos.version_promises import FAIL, SILENT, SUCCES
from tests.chaos.version_schedule import ADMIN, CLI, CONTROL, ROUTER, Act
from zconnector.cli.topology import TENANT
from zconnector.errors import NotRunningError, Refusal, ZConnectorError
from zconnector.runtime.control import request
from zconnector.worker import CallFailed, Client, NoReply, NotSent, OutcomeUnknown, Rejected

PATIENCE = 120.0
"""Seconds in which a router that is well answers, whatever it was asked."""
LOOK = 30.0
AGAIN = 0.3
"""Seconds before somebody who does not answer is asked again."""
RESTS_WITHIN = 45.0
"""Seconds after the end of all in which the last rollout comes to its end, and a version serves."""
PROBES, PROBED_WITHIN = 40, 60.0
"""Commands whose way is looked at in the end, and seconds that this may take."""
SHARE, CONTEXT = 30, "probes"
UNAVAILABLE = 69
THREADS = 24
ADMIN_NAMES = {
    "publish": "ADMIN_UPDATE",
    "back": "ADMIN_UPDATE",
    "newest": "ADMIN_UPDATE",
    "beside": "ADMIN_START_WORKER",
    "stop": "ADMIN_STOP_WORKER",
    "latest": "ADMIN_GET_LAST_VERSION_WORKER",
    "get": "ADMIN_GET_WORKER",
}
VERBS = {
    "publish": "update",
    "back": "update",
    "newest": "update",
    "beside": "start",
    "stop": "stop",
    "latest": "latest",
    "rollback": "rollback",
}
"""At the control socket and on the command line; what is missing has an admin command alone."""


class Answer(NamedTuple):
    """What the operator heard."""

    outcome: str
    about: str = ""
    """The version that SUCCES names."""
    why: str = ""


class Chief:
    """Does what the schedule says, each thing at its time, whatever became of the one before."""

    def __init__(self, record: Record, releases: Releases, state_dir: Path, member: Path) -> None:
        """`state_dir` of the topology, `member` of the cluster member."""
        self._record = record
        self.releases = releases
        self._state_dir = state_dir
        self._member = member
        self._router = state_dir / "connector" / ROUTER
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="chief")
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
        self._threads.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def _note(self, what: str, *facts: Any) -> None:
        self._record.version(self.now(), what, *facts)

    # ---- how it asks

    async def control(self, directory: Path, op: str, args: Mapping[str, Any], seconds: float) -> Any:
        """One request, in a thread of its own kind: some are held for long. Raises ZConnectorError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, request, directory, op, args, seconds)

    async def ask(self, verb: str, seconds: float, **args: Any) -> dict[str, Any]:
        """A question about versions at the router's control socket. Raises ZConnectorError."""
        asked = {"verb": f"worker.{verb}", **args}
        return dict(await self.control(self._router, "operate", asked, seconds))

    async def view(self) -> dict[str, Any] | None:
        """What runs; None: no answer."""
        with suppress(ZConnectorError):
            return await self.ask("ls", LOOK)
        return None

    async def _by_control(self, directory: Path, op: str, args: Mapping[str, Any], seconds: float) -> Answer:
        try:
            result = await self.control(directory, op, args, seconds)
        except Refusal as refusal:
            return Answer(FAIL, why=refusal.detail)
        except ZConnectorError as error:
            return Answer(SILENT, why=str(error))
        return Answer(SUCCES, _about(result))

    async def _by_command_line(self, argv: list[str], seconds: float) -> Answer:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zconnector", *argv, "--state-dir", str(self._state_dir), "--json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate()
        except TimeoutError:
            return Answer(SILENT, why=f"it did not end in {seconds:.0f} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            return Answer(SUCCES, _about(json.loads(out)) if out.strip() else "")
        why = err.decode().strip().rpartition("\n")[2]
        return Answer(SILENT if process.returncode == UNAVAILABLE else FAIL, why=why)

    async def _by_admin(self, client: Client, kind: str, version: str, give_up: float) -> Answer | None:
        """By the ordinary way, until it is receipted; None: nobody took it before `give_up`."""
        uuid, name = str(uuid_module.uuid4()), ADMIN_NAMES[kind]
        payload = json.dumps(_numbers(version)) if version else ""
        receipted = False
        try:
            async with asyncio.timeout_at(give_up):
                while not receipted:
                    try:
                        await client.send(TYPE, name, payload, admin=True, uuid=uuid, timeout=4.0)
                        receipted = True
                    except (NotSent, OutcomeUnknown, CallFailed):
                        await asyncio.sleep(AGAIN)
                    except Rejected as refused:
                        return Answer(FAIL, why=str(refused))
                reply = await client.handle(uuid, name).reply()
        except (TimeoutError, NoReply) as error:
            return Answer(SILENT, why=repr(error)) if receipted else None
        said = json.loads(reply.payload) if reply.payload else {}
        return Answer(SUCCES, _about(said)) if reply.ok else Answer(FAIL, why=str(said.get("reason", "")))

    # ---- what it does

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
            if await self._set(self.releases.values(BASE), CONTROL, LOOK) == Answer(SUCCES):
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
            running = await self._running()
            if not running or (act.kind == "stop" and len(running) < 2):
                return  # the last one is left alone, as far as anybody can see
            version = running[int(act.chance * len(running))]
        self._asked += 1
        number, begun = self._asked, self.now()
        self._note("asked", number, act.kind, act.way, version)
        seconds = min(PATIENCE, give_up - begun)
        answer: Answer | None
        if act.kind in ("shares", "keys", "want"):
            answer = await self._set(self._values(act, version), act.way, seconds)
        elif act.way == ADMIN or act.kind == "get":
            answer = await self._by_admin(client, act.kind, version, begun + seconds)
        elif act.way == CLI:
            argv = ["worker", VERBS[act.kind], *([version] if version else []), "--connector", ROUTER]
            answer = await self._by_command_line(argv, seconds)
        else:
            asked = {"verb": f"worker.{VERBS[act.kind]}", "version": version}
            answer = await self._by_control(self._router, "operate", asked, seconds)
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

    async def _set(self, values: dict[str, Any], way: str, seconds: float) -> Answer:
        """The member is asked until it answers: it may be dead, and setting is as good twice."""
        deadline = self.now() + seconds
        while True:
            left = max(1.0, deadline - self.now())
            if way == CLI:
                texts = [f"{name}={json.dumps(value)}" for name, value in values.items()]
                answer = await self._by_command_line(["config", "set", ROUTER, *texts], left)
            else:
                args = {"tenant": TENANT, "name": ROUTER, "set": values}
                answer = await self._by_control(self._member, "config_change", args, min(left, LOOK))
            if answer.outcome != SILENT or self.now() >= deadline:
                return Answer(answer.outcome, why=answer.why)
            await asyncio.sleep(AGAIN)

    async def _running(self) -> list[str]:
        """Versions that should run and do, while no rollout goes on."""
        view = await self.view()
        if view is None or view["rollout"] is not None:
            return []
        return [row["version"] for row in view["versions"] if row["wanted"] and row["state"] == "RUNNING"]

    def _processes(self, version: str) -> list[int]:
        """Processes of a version that runs here."""
        place = f"{self._router}/workers/installed/"
        return [pid for pid, line in commands(place) if f"/{version}-" in line]

    # ---- nothing is left without a worker

    async def _keep(self) -> None:
        revision = 0
        while True:
            try:
                view = await self.ask("changes", LOOK, after=revision)
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
                await self.ask("start", PATIENCE, version=BASE)
                break
            except ZConnectorError:
                view = await self.view()
                if view is not None and any(row["state"] == "RUNNING" for row in view["versions"]):
                    break  # by somebody else's act
                await asyncio.sleep(AGAIN)
        self._note("rescued")

    async def rest(self) -> None:
        """Wait until no rollout goes on and a version serves, and note whether it came to that."""
        deadline, looks = self.now() + RESTS_WITHIN, "no answer"
        while self.now() < deadline:
            view = await self.view()
            if view is not None:
                states = {row["version"]: row["state"] for row in view["versions"] if row["wanted"]}
                looks = f"{states}, rollout {view['rollout']}"
                if view["rollout"] is None and "RUNNING" in states.values():
                    self._note("rested", True, looks)
                    return
            await asyncio.sleep(AGAIN)
        self._note("rested", False, looks)

    async def probe(self, client: Client) -> str:
        """In the calm after the end, with two good versions: set a share and a pin, and note which one each
        of `PROBES` commands goes to. Back with why that was not to be had, "" if it was.
        """
        try:
            async with asyncio.timeout(PROBED_WITHIN):
                return await self._probe(client)
        except (TimeoutError, ZConnectorError, NotSent, OutcomeUnknown, Rejected, CallFailed) as error:
            return f"{type(error).__name__}: {error}"

    async def _probe(self, client: Client) -> str:
        good = [version for version, quality in self.releases.qualities.items() if quality == "good"]
        running = await self._running()
        for version in good:
            if len(running) < 2 and version not in running:
                await self.ask("start", PROBED_WITHIN, version=version)
                running = await self._running()
        if len(running) < 2 or not set(running) <= set(good):
            return f"these run: {', '.join(running)}"
        pinned = running[0]
        shares, pins = {pinned: SHARE}, {CONTEXT: pinned}
        answer = await self._set({"shares": shares, "pins": pins}, CONTROL, LOOK)
        if answer.outcome != SUCCES:
            return answer.why
        found: list[tuple[str, str, str]] = []
        while not found:  # until the pin is in force, and the share that came with it
            one = await self._went_to(client, CONTEXT)
            found += [one] if one[2] == pinned else []
        for number in range(PROBES):
            found.append(await self._went_to(client, CONTEXT if number % 4 == 0 else ""))
        if await self._running() != running:
            return "something moved meanwhile"
        for uuid, context, version in found:
            self._note("routed", uuid, context, version, running, shares, pins)
        return ""

    async def _went_to(self, client: Client, context: str) -> tuple[str, str, str]:
        """Uuid and context of a command, and the version that answered it. It is not in the record."""
        uuid = str(uuid_module.uuid4())
        self._record.warm(uuid)
        payload = json.dumps({"body": "probe", "takes": 0})
        reply = await client.send("", "PULL", payload, target="self", uuid=uuid, context=context, reply=True)
        return uuid, context, str(json.loads(reply.payload)["version"])

    def left(self) -> None:
        """After the end of everything: which processes of versions are still there."""
        place = f"{self._router}/workers/"
        until = time.monotonic() + 5.0
        while (found := commands(place)) and time.monotonic() < until:
            time.sleep(0.05)
        self._record.version(time.monotonic(), "left", [f"{pid} {line[:200]}" for pid, line in found])


def _numbers(version: str) -> dict[str, int]:
    major, _, minor = version.partition(".")
    return {"Major": int(major), "Minor": int(minor)}


def _about(result: Mapping[str, Any]) -> str:
    return f"{result['Major']}.{result['Minor']}" if "Major" in result else ""
