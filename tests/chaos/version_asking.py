"""How the operator of worker versions asks: by the control socket, the command line, or admin commands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid as uuid_module
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.releases import ROOT, TYPE
from tests.chaos.version_schedule import CLI, ROUTER
from tests.chaos.version_story import FAIL, SILENT, SUCCES
from zconnector.cli.topology import TENANT
from zconnector.errors import Refusal, ZConnectorError
from zconnector.runtime.control import request
from zconnector.worker import CallFailed, Client, NoReply, NotSent, OutcomeUnknown, Rejected

LOOK = 30.0
AGAIN = 0.3
"""Seconds before somebody who does not answer is asked again."""
UNAVAILABLE = 69
"""Exit status of a command line whom nobody answered."""
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


class Asking:
    """Asks one router, and the member for its configuration."""

    def __init__(self, state_dir: Path, member: Path) -> None:
        """`state_dir` of the topology, `member` of the cluster member."""
        self._state_dir = state_dir
        self._member = member
        self.router = state_dir / "connector" / ROUTER
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="chief")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def control(self, directory: Path, op: str, args: Mapping[str, Any], seconds: float) -> Any:
        """One request, in a thread of its own kind: some are held for long. Raises ZConnectorError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, request, directory, op, args, seconds)

    async def ask(self, verb: str, seconds: float, **args: Any) -> dict[str, Any]:
        """A question about versions at the router's control socket. Raises ZConnectorError."""
        asked = {"verb": f"worker.{verb}", **args}
        return dict(await self.control(self.router, "operate", asked, seconds))

    async def view(self) -> dict[str, Any] | None:
        """What runs; None: no answer."""
        with suppress(ZConnectorError):
            return await self.ask("ls", LOOK)
        return None

    async def by_control(self, directory: Path, op: str, args: Mapping[str, Any], seconds: float) -> Answer:
        try:
            result = await self.control(directory, op, args, seconds)
        except Refusal as refusal:
            return Answer(FAIL, why=refusal.detail)
        except ZConnectorError as error:
            return Answer(SILENT, why=str(error))
        return Answer(SUCCES, _about(result))

    async def by_command_line(self, argv: list[str], seconds: float) -> Answer:
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

    async def by_admin(self, client: Client, kind: str, version: str, give_up: float) -> Answer | None:
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

    async def set(self, values: dict[str, Any], way: str, seconds: float) -> Answer:
        """The member is asked until it answers: it may be dead, and setting is as good twice."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            left = max(1.0, deadline - loop.time())
            if way == CLI:
                texts = [f"{name}={json.dumps(value)}" for name, value in values.items()]
                answer = await self.by_command_line(["config", "set", ROUTER, *texts], left)
            else:
                args = {"tenant": TENANT, "name": ROUTER, "set": values}
                answer = await self.by_control(self._member, "config_change", args, min(left, LOOK))
            if answer.outcome != SILENT or loop.time() >= deadline:
                return Answer(answer.outcome, why=answer.why)
            await asyncio.sleep(AGAIN)

    async def running(self) -> list[str]:
        """Versions that should run and do, while no rollout goes on."""
        view = await self.view()
        if view is None or view["rollout"] is not None:
            return []
        return [row["version"] for row in view["versions"] if row["wanted"] and row["state"] == "RUNNING"]


def _numbers(version: str) -> dict[str, int]:
    major, _, minor = version.partition(".")
    return {"Major": int(major), "Minor": int(minor)}


def _about(result: Mapping[str, Any]) -> str:
    return f"{result['Major']}.{result['Minor']}" if "Major" in result else ""
