"""What is looked at when all is over: whether a version serves, which one commands go to, what is left."""

from __future__ import annotations

import asyncio
import json
import time
import uuid as uuid_module
from typing import Any

from tests.chaos.processes import commands
from tests.chaos.record import Record
from tests.chaos.releases import Releases
from tests.chaos.version_asking import AGAIN, LOOK, Asking
from tests.chaos.version_schedule import CONTROL
from tests.chaos.version_story import SUCCES
from zconnector.errors import ZConnectorError
from zconnector.worker import CallFailed, Client, NotSent, OutcomeUnknown, Rejected

RESTS_WITHIN = 45.0
"""Seconds after the end of all in which the last rollout comes to its end, and a version serves."""
PROBES, PROBED_WITHIN = 40, 60.0
"""Commands whose way is looked at in the end, and seconds that this may take."""
SHARE, CONTEXT = 30, "probes"


class Calm:
    """Looks, and notes what it sees."""

    def __init__(self, record: Record, releases: Releases, asking: Asking) -> None:
        self._record = record
        self._releases = releases
        self._asking = asking

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def _note(self, what: str, *facts: Any) -> None:
        self._record.version(self.now(), what, *facts)

    async def rest(self) -> None:
        """Wait until no rollout goes on and a version serves, and note whether it came to that."""
        deadline, looks = self.now() + RESTS_WITHIN, "no answer"
        while self.now() < deadline:
            view = await self._asking.view()
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
        good = [version for version, quality in self._releases.qualities.items() if quality == "good"]
        running = await self._asking.running()
        for version in good:
            if len(running) < 2 and version not in running:
                await self._asking.ask("start", PROBED_WITHIN, version=version)
                running = await self._asking.running()
        if len(running) < 2 or not set(running) <= set(good):
            return f"these run: {', '.join(running)}"
        pinned = running[0]
        shares, pins = {pinned: SHARE}, {CONTEXT: pinned}
        answer = await self._asking.set({"shares": shares, "pins": pins}, CONTROL, LOOK)
        if answer.outcome != SUCCES:
            return answer.why
        found: list[tuple[str, str, str]] = []
        while not found:  # until the pin is in force, and the share that came with it
            one = await self._went_to(client, CONTEXT)
            found += [one] if one[2] == pinned else []
        for number in range(PROBES):
            found.append(await self._went_to(client, CONTEXT if number % 4 == 0 else ""))
        if await self._asking.running() != running:
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
        place = f"{self._asking.router}/workers/"
        until = time.monotonic() + 5.0
        while (found := commands(place)) and time.monotonic() < until:
            time.sleep(0.05)
        self._record.version(time.monotonic(), "left", [f"{pid} {line[:200]}" for pid, line in found])
