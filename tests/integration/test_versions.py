"""Worker versions over real processes: started, updated under load, rolled back (docs/versions.md)."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from tests.support.dev import Dev
from tests.support.hands import Hands
from tests.support.versions import Releases
from tests.support.zips import DEFLATED, EXECUTABLE, Part, build
from zconnector.errors import Refusal
from zconnector.runtime.control import request
from zconnector.worker import Client, Handle, NotSent, OutcomeUnknown

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]
PATIENCE = 60.0
AHEAD = 5
"""Seconds in which a configuration reaches a connector on the slowest machine."""
ZONE = "Asia/Kathmandu"
"""A quarter of an hour beside all whole ones: with another zone's rules the time would not come for long."""
WORKER = Part(b"worker", b"#!/bin/sh\n", mode=EXECUTABLE)


@dataclass
class Site:
    """git sends, ci runs the versions of a repository."""

    dev: Dev
    hands: Hands
    releases: Releases

    async def configure(self, **values: Any) -> None:
        directory = self.dev.state_dir / "cluster" / "1"
        args = {"tenant": "dev", "name": "ci", "values": values}
        await asyncio.to_thread(request, directory, "config_set", args, PATIENCE)

    async def ask(self, verb: str, **args: Any) -> dict[str, Any]:
        directory = self.dev.state_dir / "connector" / "ci"
        return await asyncio.to_thread(
            request, directory, "operate", {"verb": f"worker.{verb}", **args}, PATIENCE
        )

    async def view(self) -> dict[str, Any]:
        return await self.ask("ls")

    async def until(self, true: Any) -> dict[str, Any]:
        """Wait until the versions look so; each change is waited for."""
        view = await self.view()
        try:
            async with asyncio.timeout(PATIENCE):
                while not true(view):
                    view = await self.ask("changes", after=view["revision"])
        except TimeoutError:
            raise AssertionError(f"not so: {json.dumps(view, indent=1)}\n{self.dev.story()}") from None
        return view

    async def serving(self, *versions: str) -> dict[str, Any]:
        """Wait until these, and no others, run and no rollout goes on."""
        return await self.until(
            lambda view: (
                view["rollout"] is None
                and [row["version"] for row in view["versions"] if row["state"] == "RUNNING"]
                == list(versions)
            )
        )


@asynccontextmanager
async def a_site(folder: Path, releases: Releases, aggregators: int = 1) -> AsyncIterator[Site]:
    """A topology whose connector `ci` may have its workers from these releases."""
    count = str(aggregators)
    dev = Dev(folder / "dev", "--aggregators", count, "--connector", "git:Git", "--connector", "ci:Ci")
    try:
        await dev.start()
        async with Hands(dev) as hands:
            yield Site(dev, hands, releases)
    finally:
        await dev.stop()


@asynccontextmanager
async def serving_site(folder: Path, releases: Releases) -> AsyncIterator[Site]:
    """As `a_site`, with 1.0 serving."""
    releases.add(0)
    async with a_site(folder, releases) as site:
        await site.configure(**releases.values("1.0", gate={"seconds": 0.5}))
        await site.serving("1.0")
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site")
    async with a_site(folder, Releases(folder), aggregators=2) as site:
        yield site


async def test_a_version_is_fetched_started_and_gets_its_commands(site: Site) -> None:
    site.releases.add(0)
    await site.configure(**site.releases.values("1.0"))
    await site.serving("1.0")
    async with Client(site.dev.grpc("git")) as client:
        handle = await client.send("Ci", "BUILD", "{}")
        reply = await asyncio.wait_for(handle.reply(), PATIENCE)
    assert reply.payload == "1.0"


async def flow(site: Site, count: int, at_once: int = 24) -> dict[str, str]:
    """Send commands for as long as it takes to have so many answered; uuid -> the version that answered."""
    answered: dict[str, str] = {}
    left = iter(range(count))

    async def sent(client: Client) -> Handle:
        """One that is taken: while ci is away nobody takes any. The uuid stays the same."""
        ident = str(uuid.uuid4())
        while True:
            try:
                return await client.send("Ci", "BUILD", "{}", timeout=4, uuid=ident)
            except (NotSent, OutcomeUnknown):
                await site.hands.present("ci")

    async def sender(client: Client) -> None:
        for _ in left:
            handle = await sent(client)
            reply = await asyncio.wait_for(handle.reply(), PATIENCE)
            answered[handle.uuid] = str(reply.payload)

    async with Client(site.dev.grpc("git")) as client, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(sender(client))
    return answered


def once_each(site: Site, answered: dict[str, str]) -> None:
    """Each command was executed once, by the version that answered it."""
    executed = site.releases.executed()
    for ident, version in answered.items():
        times = {v: counts[ident] for v, counts in executed.items() if counts[ident]}
        assert times == {version: 1}, (ident, times)


async def test_two_thousand_commands_flow_through_an_update(site: Site) -> None:
    await site.serving("1.0")
    site.releases.add(1)
    flowing = asyncio.create_task(flow(site, 2_000))
    result = await site.ask("update", version="1.1")
    assert result == {"Major": 1, "Minor": 1}
    await site.serving("1.1")
    answered = await flowing
    assert len(answered) == 2_000
    assert set(answered.values()) == {"1.0", "1.1"}
    once_each(site, answered)


@pytest.mark.parametrize(
    ("minor", "how", "reason"),
    [
        (2, "crash", "ended with status 3"),
        (3, "crash_later", "ended with status 4"),
        (4, "hang", "hung: no beat for 3 s"),
        (5, "lacks", "version 1.5 lacks CLEAN"),
        (6, "tampered", "has SHA-256"),
    ],
)
async def test_a_bad_version_is_rolled_back_while_the_old_one_serves(
    site: Site, minor: int, how: str, reason: str
) -> None:
    await site.serving("1.1")
    site.releases.add(minor, how)
    flowing = asyncio.create_task(flow(site, 200))
    with pytest.raises(Refusal, match="rolled back") as caught:
        await site.ask("update", version=f"1.{minor}")
    assert reason in caught.value.detail
    answered = await flowing
    assert set(answered.values()) == {"1.1"}
    once_each(site, answered)
    view = await site.serving("1.1")
    assert view["last"]["outcome"] == "ROLLED_BACK"
    assert reason in view["rejected"][f"1.{minor}"]


@pytest.mark.parametrize(
    ("minor", "archive", "kept", "reason"),
    [
        (10, build([WORKER, Part(b"../../evil", b"x")]), None, "'.' or '..'"),
        (
            11,
            build([WORKER, Part(b"a", bytes(4 << 20), method=DEFLATED)]),
            None,
            "unpacks to more than 200 times",
        ),
        (12, build([WORKER]), 40, "40 bytes"),
    ],
    ids=["slip path", "bomb", "truncated"],
)
async def test_an_evil_archive_is_refused_before_anything_is_opened(
    site: Site, minor: int, archive: bytes, kept: int | None, reason: str
) -> None:
    await site.serving("1.1")
    site.releases.add_archive(minor, archive, kept=kept)
    try:
        with pytest.raises(Refusal, match="rolled back") as caught:
            await site.ask("update", version=f"1.{minor}")
    finally:
        site.releases.withdraw()
    assert reason in caught.value.detail
    assert set((await flow(site, 20)).values()) == {"1.1"}


async def test_what_another_key_signed_is_refused_by_name_of_the_key(site: Site) -> None:
    await site.serving("1.1")
    site.releases.add(7)
    site.releases.sign_with_another_key()
    try:
        with pytest.raises(Refusal, match="must be by a pinned key"):
            await site.ask("update", version="1.7")
    finally:
        site.releases.sign_with_the_pinned_key()
    assert set((await flow(site, 20)).values()) == {"1.1"}


async def test_a_version_that_gives_up_after_its_gate_gives_the_place_back(site: Site) -> None:
    await site.serving("1.1")
    site.releases.add(8, "crash_late")
    await site.ask("update", version="1.8")
    flowing = asyncio.create_task(flow(site, 200))
    view = await site.until(lambda view: view["last"]["why"] == "crash loop")
    assert "1.8" in view["rejected"]
    answered = await flowing
    assert set(answered.values()) <= {"1.1", "1.8"}
    await site.serving("1.1")


async def test_shares_and_pins_decide_who_gets_what(site: Site) -> None:
    await site.serving("1.1")
    site.releases.add(9)
    values = site.releases.values("1.1", "1.9", shares={"1.9": 10}, pins={"canaries": "1.9"})
    await site.configure(**values)
    await site.serving("1.1", "1.9")
    counts = Counter((await flow(site, 400)).values())
    assert 10 <= counts["1.9"] <= 80  # 40 expected; beyond 5 sigma
    async with Client(site.dev.grpc("git")) as client:
        for _ in range(5):
            handle = await client.send("Ci", "BUILD", "{}", context="canaries")
            assert (await asyncio.wait_for(handle.reply(), PATIENCE)).payload == "1.9"


async def test_admin_commands_come_by_the_ordinary_way(site: Site) -> None:
    async with Client(site.dev.grpc("git")) as client:

        async def admin(name: str, payload: str = "") -> tuple[str, Any]:
            handle = await client.send("Ci", name, payload, admin=True, timeout=60)
            reply = await asyncio.wait_for(handle.reply(), PATIENCE)
            return reply.event, json.loads(reply.payload)

        event, latest = await admin("ADMIN_GET_LAST_VERSION_WORKER")
        assert (event, latest["Major"], latest["Minor"]) == ("SUCCES", 1, 9)
        assert (await admin("ADMIN_STOP_WORKER", '{"Major": 1, "Minor": 9}'))[0] == "SUCCES"
        await site.serving("1.1")
        assert (await admin("ADMIN_GET_WORKER", '{"Major": 1, "Minor": 9}'))[0] == "SUCCES"
        event, told = await admin("ADMIN_START_WORKER", '{"Major": 1, "Minor": 99}')
        assert event == "FAIL"
        assert "1.99" in told["reason"] or "1/99" in told["reason"]
        event, told = await admin("ADMIN_STOP_WORKER", "no")
        assert (event, "the payload is no JSON" in told["reason"]) == ("FAIL", True)
        event, told = await admin("ADMIN_UPDATE", '{"Major": 1, "Minor": 9}')
        assert (event, told) == ("SUCCES", {"Major": 1, "Minor": 9})
    await site.serving("1.9")


async def test_keys_reach_the_worker_and_nothing_else(site: Site) -> None:
    lines = (await site.ask("logs", version="1.9"))["lines"]
    assert any("hello from 1.9" in line["line"] for line in lines)
    secret = "sesame-open-4711"
    assert not any(secret in line["line"] for line in lines)
    for path in (site.dev.state_dir / "logs").glob("*.log"):
        assert secret not in path.read_text()
    for line in lines:
        pid = Path("/proc") / str(line.get("pid", 0))
        if pid.exists():
            assert secret.encode() not in (pid / "cmdline").read_bytes()
            assert secret.encode() not in (pid / "environ").read_bytes()


async def test_a_missing_mandatory_key_stops_the_start_by_its_name(site: Site) -> None:
    await site.serving("1.9")
    values = site.releases.values("1.9")
    del values["keys"]["ledger"]
    await site.configure(**values)
    view = await site.until(lambda view: view["problem"])
    assert "ledger" in view["problem"]
    assert set((await flow(site, 10)).values()) == {"1.9"}
    await site.configure(**site.releases.values("1.9"))
    await site.serving("1.9")


async def test_changed_keys_take_over_without_losing_a_command_and_wrong_ones_do_not(site: Site) -> None:
    await site.serving("1.9")
    values = site.releases.values("1.9")
    first = values["keys"]

    async def edition(after: int) -> int:
        """The one that serves, once it is another than that."""
        view = await site.until(
            lambda view: (
                view["rollout"] is None
                and [row["edition"] for row in view["versions"] if row["state"] == "RUNNING"]
                not in ([], [after])
            )
        )
        (row,) = (row for row in view["versions"] if row["state"] == "RUNNING")
        return int(row["edition"])

    began = await edition(-1)
    flowing = asyncio.create_task(flow(site, 300))
    await site.configure(**values | {"keys": first | {"token": "another-token"}})
    second = await edition(began)
    answered = await flowing
    once_each(site, answered)
    await site.configure(**values | {"keys": first | {"token": "wrong-token"}})
    view = await site.until(lambda view: view["rollout"] is None and view["unfit"])
    assert "ended with status 5" in view["unfit"]
    (row,) = (row for row in view["versions"] if row["state"] == "RUNNING")
    assert (row["version"], row["edition"]) == ("1.9", second)
    once_each(site, await flow(site, 20))
    await site.configure(**values)
    await edition(second)
    assert (await site.view())["unfit"] == ""


async def zconnector(site: Site, *argv: str) -> tuple[int, str, str]:
    """A command line on the topology: exit status, stdout, stderr."""
    words = (sys.executable, "-m", "zconnector", *argv, "--state-dir", str(site.dev.state_dir))
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_line_says_how_it_went_and_exits_by_it(site: Site) -> None:
    await site.serving("1.9")
    site.releases.add(20, "crash")
    status, out, err = await zconnector(site, "worker", "update", "1.20", "--connector", "ci")
    assert (status, out) == (65, "")
    assert re.search(r"update from 1\.9\S* to 1\.20\S*: STARTING", err)  # progress
    assert re.search(r"rolled back: version 1\.20\S* ended with status 3", err)
    status, out, _ = await zconnector(site, "worker", "latest", "--connector", "ci", "--json")
    assert (status, json.loads(out)["Minor"]) == (0, 20)
    status, out, _ = await zconnector(site, "worker", "start", "1.1", "--connector", "ci", "--json")
    assert (status, json.loads(out)) == (0, {"Major": 1, "Minor": 1})
    status, out, _ = await zconnector(site, "worker", "stop", "1.1", "--connector", "ci")
    assert (status, out) == (0, "ci: stop 1.1 done\n")
    for argv, expected in (
        (("worker", "start", "one", "--connector", "ci"), 2),
        (("worker", "stop", "1.7", "--connector", "ci"), 65),
        (("worker", "ls", "--connector", "nobody"), 2),
    ):
        status, _, err = await zconnector(site, *argv)
        assert status == expected, err
        assert "Traceback" not in err
    status, out, _ = await zconnector(site, "worker", "ls", "--connector", "ci")
    assert status == 0
    assert "RUNNING" in out


async def test_the_newest_minor_is_taken_by_itself(site: Site) -> None:
    await site.serving("1.9")
    await site.configure(**site.releases.values("1.9", update={"mode": "auto", "interval": 10}))
    site.releases.add(13)
    flowing = asyncio.create_task(flow(site, 100))
    await site.serving("1.13")
    await flowing
    assert (await site.view())["last"]["why"] == "update"


async def test_the_newest_minor_is_taken_at_the_planned_second_of_another_time_zone(site: Site) -> None:
    await site.serving("1.13")
    due = (datetime.now(UTC) + timedelta(seconds=AHEAD)).replace(microsecond=0)
    at = due.astimezone(ZoneInfo(ZONE)).strftime("%H:%M:%S")
    planned = {"mode": "planned", "at": at, "zone": ZONE}
    await site.configure(**site.releases.values("1.9", update=planned, gate={"seconds": 0.5}))
    site.releases.add(14)
    view = await site.until(lambda view: view["rollout"] is not None)
    assert datetime.now(UTC) >= due
    assert view["rollout"]["why"] == "update"
    await site.serving("1.14")
    assert (await site.view())["last"]["outcome"] == "DONE"


async def test_workers_of_the_gandalf_api_are_updated_under_load_too(site: Site) -> None:
    await site.configure(**site.releases.values("1.13"))
    await site.serving("1.13")
    site.releases.add(21, api="gandalf")
    await site.ask("update", version="1.21")
    await site.serving("1.21")
    site.releases.add(22, api="gandalf")
    flowing = asyncio.create_task(flow(site, 400, at_once=8))
    await site.ask("update", version="1.22")
    await site.serving("1.22")
    answered = await flowing
    assert set(answered.values()) <= {"1.21", "1.22"}
    once_each(site, answered)
