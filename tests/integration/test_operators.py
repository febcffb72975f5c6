"""The operators' commands against a running topology: as typed, by exit status, stdout and stderr."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from tests.integration.test_cli_commands import zconnector
from tests.support.dev import Dev
from zconnector.cli.traffic import WORKERS
from zconnector.rpc._gen.zconnector.v1 import operators_pb2 as pb
from zconnector.rpc._gen.zconnector.v1.operators_pb2_grpc import OperatorServiceStub

MakeDev = Callable[..., Dev]
SECONDS = 30.0
PIVOT = """
name: Ci
major: 1
minor: 0
commandtypes:
  - name: BUILD
    schema: '{"type": "object", "required": ["number"]}'
"""
PAYLOAD = json.dumps({"number": 7, "repository": "r"})


class Operator:
    """Types commands at a topology."""

    def __init__(self, dev: Dev) -> None:
        self.dev = dev
        self._state = ["--state-dir", str(dev.state_dir)]

    async def __call__(self, *argv: str) -> tuple[int, str, str]:
        return await zconnector(*argv, *self._state)

    async def lines(self, *argv: str) -> list[dict[str, Any]]:
        """JSON lines of a command that succeeds."""
        code, output, errors = await self(*argv, "--json")
        assert code == 0, errors
        return [json.loads(line) for line in output.splitlines()]

    async def one(self, *argv: str) -> dict[str, Any]:
        (line,) = await self.lines(*argv)
        return line

    async def send(self) -> str:
        """The uuid of a command that is receipted."""
        code, output, errors = await self("send", "command", "Ci", "BUILD", PAYLOAD, "--no-wait")
        assert code == 0, errors
        return output.split()[1]

    async def until(self, uuid: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What `explain` says, once it is what is waited for."""
        async with asyncio.timeout(SECONDS):
            while not true(told := await self.one("explain", uuid)):
                continue
        return told


@asynccontextmanager
async def worker(dev: Dev) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WORKERS / "ci.py"), "ci-worker", "10000", dev.grpc("ci")),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
async def operator(dev: Dev, tmp_path: Path) -> Operator:
    """At a topology where connectors of type Ci have the command BUILD, and nobody runs it."""
    return await declared(dev, tmp_path)


async def declared(dev: Dev, tmp_path: Path) -> Operator:
    operator = Operator(dev)
    pivot = tmp_path / "ci.yaml"
    pivot.write_text(PIVOT)
    code, _, errors = await operator("pivot", "put", str(pivot))
    assert code == 0, errors
    return operator


async def test_explained_paused_run_cancelled_replayed_and_done(make_dev: MakeDev, tmp_path: Path) -> None:
    dev = make_dev("--restart")
    await dev.start()
    operator = await declared(dev, tmp_path)
    uuid = await operator.send()
    told = await operator.one("explain", uuid)
    assert (told["state"], told["waits_for"]) == ("READY", "no worker registered BUILD")
    whats = [(step["where"].split(":")[0], step["what"]) for step in told["history"]]
    assert ("connector ci", "stored and receipted") in whats
    assert ("cluster member 1", "resolved to connector ci") in whats
    assert any(who == "connector git" and what.startswith("receipt ON_GOING") for who, what in whats)
    times = [step["at"] for step in told["history"]]
    assert times == sorted(times)
    code, output, _ = await operator("explain", uuid)
    assert code == 0
    assert output.splitlines()[:2] == [
        f"{uuid} is READY (connector ci: in its queue)",
        "it waits for: no worker registered BUILD",
    ]
    assert "forwarded to ci over instance" in output

    code, output, errors = await operator("queue", "pause", "BUILD", "--connector", "ci")
    assert (code, errors) == (0, "")
    assert output == "paused BUILD; paused at ci: BUILD\n"
    async with worker(dev):
        async with asyncio.timeout(SECONDS):
            while not [row for row in await operator.lines("workers") if row["waits"]]:
                continue
        (row,) = (r for r in await operator.lines("workers") if r["waits"])
        assert (row["connector"], row["major"]) == ("ci", 1)
        assert row["worker"].startswith("ci-worker")
        assert "BUILD" in row["commands"]
        assert row["last_beat_ms"] < 5_000
        told = await operator.one("explain", uuid)
        assert told["waits_for"] == "paused: `zconnector queue resume 'BUILD'`"
        (row,) = await operator.lines("queue", "ls")
        assert (row["command"], row["ready"], row["paused"], row["workers"]) == ("BUILD", 1, True, 1)
        code, output, _ = await operator("queue", "ls")
        assert code == 0
        assert "PAUSED" in output

        await dev.kill("ci")
        await dev.said("ci: restarted, pid ")
        # The pause is still there, and so is the command.
        told = await operator.until(uuid, lambda told: "in its queue" in told["where"])
        assert told["waits_for"] == "paused: `zconnector queue resume 'BUILD'`"
        (peeked,) = await operator.lines("queue", "peek", "BUILD")
        assert (peeked["uuid"], peeked["state"], peeked["source"]) == (uuid, "READY", "git")
        assert (await operator("queue", "resume", "BUILD", "--connector", "ci"))[0] == 0
        told = await operator.until(uuid, lambda told: told["state"] == "DONE" and not told["waits_for"])
        assert any(step["what"] == "leased to a worker" for step in told["history"])

        # A dead letter: shown, not changed against its schema, changed, replayed, and then done.
        assert (await operator("queue", "pause", "*", "--connector", "ci"))[0] == 0
        uuid = await operator.send()
        assert (await operator.one("cancel", uuid))["state"] == "DEAD"
        code, _, errors = await operator("cancel", uuid)
        assert code == 65
        assert "FENCED: DEAD since" in errors
        (letter,) = await operator.lines("dead", "ls", "--reason", "cancelled")
        assert (letter["uuid"], letter["command"], letter["source"]) == (uuid, "BUILD", "git")
        shown = await operator.one("dead", "show", uuid)
        assert (shown["payload"], shown["header"]["command"]) == (PAYLOAD, "BUILD")
        code, output, _ = await operator("dead", "show", uuid)
        assert code == 0
        assert PAYLOAD in output
        code, _, errors = await operator("dead", "edit", uuid, "{}")
        assert code == 65
        assert "INVALID_PAYLOAD" in errors
        assert (await operator("dead", "edit", uuid, '{"number": 8, "repository": "r"}'))[0] == 0
        told = await operator.one("explain", uuid)
        assert told["state"] == "DEAD"
        assert told["history"][-1]["what"] == "its payload was edited"
        replayed = await operator.one("dead", "replay", uuid)
        assert (replayed["n"], replayed["uuids"][0]["replay_of"]) == (1, uuid)
        assert await operator.lines("dead", "ls") == []
        again = replayed["uuids"][0]["uuid"]
        assert (await operator("queue", "resume", "*", "--connector", "ci"))[0] == 0
        await operator.until(again, lambda told: told["state"] == "DONE")
        code, output, _ = await operator("watch", "BUILD", "--reply-to", again, "--json")
        assert code == 0
        assert json.loads(json.loads(output)["payload"])["build"] == 8


async def test_purged_by_name_and_the_letters_by_filter(operator: Operator) -> None:
    for _ in range(3):
        await operator.send()
    code, _, errors = await operator("queue", "purge", "BUILD", "--connector", "ci")
    assert code == 2
    assert "--yes" in errors
    code, output, _ = await operator("queue", "purge", "BUILD", "--connector", "ci", "--yes")
    assert code == 0
    assert output.startswith("3 purged")
    address = f"unix:{operator.dev.state_dir / 'connector' / 'ci' / 'operators.sock'}"
    async with grpc.aio.insecure_channel(address) as channel:
        dead = await OperatorServiceStub(channel).ListDeadLetters(pb.ListDeadLettersRequest())
    listed = await operator.lines("dead", "ls")
    assert [letter["uuid"] for letter in listed] == [letter.uuid for letter in dead.rows]
    letters = await operator.lines("dead", "ls", "--limit", "2")
    assert [letter["reason"] for letter in letters] == ["PURGED", "PURGED"]
    first = letters[0]["uuid"]
    assert [row["uuid"] for row in await operator.lines("dead", "ls", first[:13])] == [first]
    code, output, _ = await operator("dead", "ls")
    assert code == 0
    assert output.count("PURGED") == 3
    assert (await operator.one("dead", "purge", first, "--yes"))["n"] == 1
    code, _, errors = await operator("dead", "purge", "--connector", "ci", "--yes")
    assert code == 2
    assert "--all" in errors
    purge = ("dead", "purge", "--reason", "PURGED", "--connector", "ci", "--yes")
    assert (await operator.one(*purge))["n"] == 2
    assert await operator.lines("dead", "ls") == []


async def test_what_is_wrong_is_said_in_a_few_words(operator: Operator, tmp_path: Path) -> None:
    for argv, code, told in (
        (("explain", "no-such"), 65, "no connector and no cluster member"),
        (("dead", "show", "no-such"), 65, "NOT_FOUND"),
        (("dead", "replay", "no-such"), 65, "NOT_FOUND"),
        (("cancel", "no-such"), 65, "NOT_FOUND"),
        (("queue", "pause", "BUILD"), 2, "--connector"),
        (("queue", "ls", "--connector", "nope"), 2, "git"),
        (("queue", "peek", "BUILD", "--limit", "101"), 2, "100"),
        (("queue", "purge", "BUILD", "--state", "leased"), 2, "delayed"),
        (("queue", "peek", "x" * 300), 2, "256 bytes"),
        (("dead", "ls", "--older", "soon"), 2, "duration"),
        (("dead", "replay", "some", "--all"), 2, "give one of"),
        (("explain", "x" * 65), 2, "64"),
    ):
        status, output, errors = await operator(*argv)
        assert (status, output) == (code, ""), argv
        assert told in errors, argv
    for words in ("queue ls", "workers", "dead ls", "cancel u", "explain u"):
        status, output, errors = await zconnector(*words.split(), "--state-dir", str(tmp_path))
        assert (status, output.strip().count("\n") < 3) == (69, True), words
        assert errors == f"zconnector: nothing runs in {tmp_path}\n", words


async def test_who_does_not_answer_is_named_and_the_others_are_shown(dev: Dev, operator: Operator) -> None:
    uuid = await operator.send()
    await dev.kill("git")
    code, output, errors = await operator("queue", "ls", "--json")
    assert code == 69
    assert json.loads(output)["command"] == "BUILD"
    assert f"nothing runs in {dev.state_dir / 'connector' / 'git'}" in errors
    code, output, errors = await operator("explain", uuid, "--json")
    assert code == 0, "somebody knows it"
    assert json.loads(output)["waits_for"] == "no worker registered BUILD"
    assert "git" in errors
    await dev.kill("ci")
    away = "connector ci, which has no session with any aggregator instance"
    told = await operator.until(uuid, lambda told: told["waits_for"] == away)  # the member hears so soon
    assert told["where"] == "cluster member 1"
    code, _, errors = await operator("explain", "no-such")
    assert code == 69
