"""The commands for people, against a running topology: as typed, by exit status, stdout and stderr."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.dev import Dev, all_ended
from zconnector.cli.traffic import WORKERS

MakeDev = Callable[..., Dev]
SECONDS = 30.0


async def zconnector(*argv: str, stdin: str | None = None) -> tuple[int, str, str]:
    """Exit status, stdout, stderr of one command line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "zconnector", *argv),
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    given = None if stdin is None else stdin.encode()
    output, errors = await asyncio.wait_for(process.communicate(given), SECONDS)
    assert "Traceback" not in errors.decode(), errors.decode()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def start_worker(dev: Dev, name: str) -> asyncio.subprocess.Process:
    """A worker of the demo on that connector; back when it has run a command."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WORKERS / f"{name}.py"), f"{name}-worker", "10000", dev.grpc(name)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(SECONDS):
        while (await build(dev))[0] != 0:
            continue
    return worker


async def build(dev: Dev, *argv: str) -> tuple[int, str, str]:
    payload = json.dumps({"number": 7, "repository": "r"})
    return await zconnector(
        "send", "command", "Ci", "BUILD", payload, "--state-dir", str(dev.state_dir), *argv
    )


async def test_send_watch_pivot_status_and_secret_on_a_running_topology(dev: Dev, tmp_path: Path) -> None:
    state = ["--state-dir", str(dev.state_dir)]
    worker = await start_worker(dev, "ci")
    try:
        code, output, _ = await build(dev, "--json")
        assert code == 0
        receipt, reply = (json.loads(line) for line in output.splitlines())
        assert receipt["receipt"] == "ON_GOING"
        assert reply["reply"] == "SUCCES"
        assert json.loads(reply["payload"]) == {"build": 7, "result": "green"}

        code, output, _ = await build(dev, "--no-wait", "--connector", "git")
        assert code == 0
        uuid = output.split()[1]
        code, output, _ = await zconnector("watch", "BUILD", "--reply-to", uuid, "--json", *state)
        assert (code, json.loads(output)["event"]) == (0, "SUCCES")

        code, output, errors = await zconnector("send", "command", "Ci", "NO_SUCH", *state)
        assert (code, output) == (65, "")
        assert "UNKNOWN_COMMAND" in errors
        code, _, errors = await zconnector("send", "command", "Mail", "SEND", *state)
        assert code == 65
        assert "NO_SUCH_TYPE" in errors

        # A worker that cannot read the payload fails: so does the command line.
        code, output, _ = await zconnector("send", "command", "Ci", "BUILD", "not JSON", *state)
        assert code == 1
        assert output.splitlines()[-1].startswith("FAIL")
    finally:
        worker.terminate()
        await worker.wait()

    code, output, _ = await zconnector("status", "--json", *state)
    assert code == 0
    statuses = [json.loads(line) for line in output.splitlines()]
    assert sorted(s["pid"] for s in statuses) == sorted(dev.pids())
    assert sorted(s["grpc"] for s in statuses if "grpc" in s) == sorted(dev.grpc(n) for n in ("git", "ci"))
    code, output, _ = await zconnector("status", "--state-dir", str(dev.state_dir / "connector" / "git"))
    assert code == 0
    assert "grpc.sock" in output

    pivot = tmp_path / "mail.yaml"
    pivot.write_text("name: Mail\nmajor: 1\nminor: 0\ncommandtypes:\n  - name: SEND\n    schema: '{}'\n")
    code, output, errors = await zconnector("pivot", "put", str(pivot), *state)
    assert code == 0, errors
    code, output, _ = await zconnector("pivot", "show", "Mail", *state)
    assert code == 0
    assert "SEND" in output
    pivot.write_text("name: [\n")
    code, _, errors = await zconnector("pivot", "put", str(pivot), *state)
    assert code != 0
    assert len(errors.splitlines()) == 1

    out = tmp_path / "mail.enrolment"
    declared = ["--tenant", "dev", "--name", "mail"]
    code, output, errors = await zconnector(
        *("secret", "create", "connector", "--type", "Mail", "--aggregator", "agg1", "--out", str(out)),
        *declared,
        *state,
    )
    assert (code, output) == (0, ""), errors
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_text().startswith("zc1.")
    code, output, _ = await zconnector("secret", "list", "--json", *state)
    names = {component["name"] for component in json.loads(output)["components"]}
    assert names == {"agg1", "git", "ci", "mail"}
    assert "zc1." not in output
    code, output, _ = await zconnector("secret", "list", *state)
    assert "mail" in output
    code, _, _ = await zconnector("secret", "revoke", "connector", *declared, *state)
    assert code == 0
    code, _, errors = await zconnector(
        "connector", "--state-dir", str(tmp_path / "mail"), "--enrolment-file", str(out)
    )
    assert code == 77
    assert "REVOKED" in errors
    assert out.read_text().strip() not in errors


async def test_watch_shows_an_event_sent_on_the_other_connector(dev: Dev) -> None:
    state = ["--state-dir", str(dev.state_dir)]
    watcher = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "zconnector", "watch", "builds", "--count", "1", "--json"),
        *("--connector", "git", *state),
        stdout=asyncio.subprocess.PIPE,
    )
    watched = asyncio.ensure_future(watcher.communicate())
    # It sees what comes after its first wait, and nobody outside can tell when that was.
    async with asyncio.timeout(SECONDS):
        while not watched.done():
            code, _, _ = await zconnector(
                *("send", "event", "builds", "FINISHED", '{"n": 1}', "--connector", "ci"), *state
            )
            assert code == 0
    output, _ = watched.result()
    assert watcher.returncode == 0
    event = json.loads(output)
    assert (event["topic"], event["event"], json.loads(event["payload"])) == ("builds", "FINISHED", {"n": 1})


async def test_revoked_while_running_a_connector_stops(dev: Dev) -> None:
    pid = dev.pid_of("ci")
    code, _, _ = await zconnector(
        *("secret", "revoke", "connector", "--tenant", "dev", "--name", "ci"),
        *("--state-dir", str(dev.state_dir)),
    )
    assert code == 0
    await all_ended([pid], 10)


async def test_what_does_not_run_is_said_in_one_line(tmp_path: Path) -> None:
    for argv in (
        ("status", "--state-dir", str(tmp_path)),
        ("secret", "list", "--state-dir", str(tmp_path)),
        ("send", "command", "Ci", "BUILD", "--state-dir", str(tmp_path)),
        ("watch", "builds", "--connector", "git", "--state-dir", str(tmp_path)),
    ):
        code, output, errors = await zconnector(*argv)
        assert (code, output) == (69, ""), argv
        assert len(errors.splitlines()) == 1, argv
        assert str(tmp_path) in errors, argv


async def test_a_first_start_with_a_wrong_or_no_enrolment_is_refused(tmp_path: Path) -> None:
    state = ["--state-dir", str(tmp_path / "git")]
    code, _, errors = await zconnector("connector", *state)
    assert code == 78
    assert "zconnector secret create" in errors
    code, _, errors = await zconnector("connector", *state, "--enrolment-file", "-", stdin="zc1.!!!")
    assert code == 78
    assert "!!!" not in errors


async def test_a_dedupe_window_that_breaks_a_promise_is_refused(dev: Dev) -> None:
    await dev.kill("git")
    code, _, errors = await zconnector(
        *("connector", "--state-dir", str(dev.state_dir / "connector" / "git")),
        *("--queue-dedupe-window", "5"),
    )
    assert code == 78
    assert "queue_dedupe_window is 5 s" in errors
    assert len(errors.splitlines()) == 1
