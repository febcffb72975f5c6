"""`zconnector config` on a running topology: a change reaches the connector, which goes on running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.integration.test_cli_commands import zconnector
from tests.support.dev import Dev
from zconnector.errors import NotRunningError
from zconnector.runtime.control import request

MakeDev = Callable[..., Dev]
SECONDS = 30.0


async def in_force(dev: Dev, name: str, version: int) -> None:
    """Wait until a connector that runs, or is started again, has a version of its configuration."""
    directory = dev.state_dir / "connector" / name
    async with asyncio.timeout(SECONDS):
        while True:
            with suppress(NotRunningError):
                status = await asyncio.to_thread(request, directory, "status", {}, 5.0)
                if status["configuration"]["version"] == version:
                    return


async def test_a_change_reaches_a_running_connector_and_its_next_start(
    make_dev: MakeDev, tmp_path: Path
) -> None:
    dev = make_dev("--restart", "--aggregators", "2", "--connector", "git:Git", "--connector", "ci:Ci")
    await dev.start()
    state = ["--state-dir", str(dev.state_dir)]
    pids = dev.pids()

    code, output, _ = await zconnector("config", "show", "ci", "--json", *state)
    assert code == 0
    shown = json.loads(output)
    before = shown["version"]
    assert (shown["values"]["type"], shown["operator"]) == ("Ci", {})
    await in_force(dev, "ci", before)

    secret = tmp_path / "token"
    secret.write_text("s3cret-token\n")
    typed = ["product=jenkins", f"keys.token=@{secret}", "keys.pin=-", "update.mode=manual"]
    code, output, errors = await zconnector("config", "set", "ci", *typed, *state, stdin="1234")
    assert code == 0, errors
    assert output == (
        f"dev/ci: set product, keys.token, keys.pin, update.mode; version {before + 1} is in force\n"
    )
    await in_force(dev, "ci", before + 1)
    code, output, _ = await zconnector(
        "status", "--json", "--state-dir", str(dev.state_dir / "connector" / "ci")
    )
    assert (code, json.loads(output)["configuration"]) == (0, {"version": before + 1})

    # All together: each takes only its own name, and none is lost.
    done = await asyncio.gather(
        *(zconnector("config", "set", "ci", f"keys.k{number}={number}", *state) for number in range(4))
    )
    assert [code for code, _, _ in done] == [0] * 4
    await in_force(dev, "ci", before + 5)
    code, output, _ = await zconnector("config", "show", "ci", "--reveal", "--json", *state)
    keys = {"token": "s3cret-token", "pin": 1234, "k0": 0, "k1": 1, "k2": 2, "k3": 3}
    assert json.loads(output)["operator"] == {
        "product": "jenkins",
        "keys": keys,
        "update": {"mode": "manual"},
    }

    for shown_as in ([], ["--json"]):
        code, output, _ = await zconnector("config", "show", "ci", *shown_as, *state)
        assert code == 0
        assert "s3cret" not in output
        assert "***" in output

    code, output, errors = await zconnector("config", "set", "ci", "versions=[1.1]", "product=x", *state)
    assert (code, output) == (64, "")
    assert errors == ('zconnector: BAD_ARGUMENT: versions[0] must be a text, "MAJOR.MINOR" (got 1.1)\n')
    code, _, errors = await zconnector("config", "set", "nobody", "product=x", *state)
    assert (code, "NOT_FOUND: connector dev/nobody is not declared" in errors) == (65, True)
    code, _, errors = await zconnector("config", "unset", "ci", "keys.none", *state)
    assert (code, "'keys.none' was not set by an operator" in errors) == (65, True)
    code, output, _ = await zconnector("config", "unset", "ci", "keys", "update.mode", "--json", *state)
    answer = json.loads(output)
    assert (code, answer["version"], "keys" in answer["values"]) == (0, before + 6, False)
    await in_force(dev, "ci", before + 6)
    assert dev.pids() == pids, "nothing was started anew"

    # What was set while it is not there, it has when it comes back.
    await dev.kill("ci")
    code, _, errors = await zconnector("config", "set", "ci", "product=other", *state)
    assert code == 0, errors
    await in_force(dev, "ci", before + 7)
    story = "".join(path.read_text() for path in (dev.state_dir / "logs").glob("*.log"))
    assert "s3cret" not in story
