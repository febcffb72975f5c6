"""The command line as a whole: help, errors as one line, exit statuses; and that help is quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zconnector.cli.main import COMMANDS, main

HEAVY = ("zmq", "grpc", "apsw", "jsonschema", "rich", "httpx", "cryptography")


CONFIG = ("config show", "config set", "config unset")
REPO = ("repo init", "repo add", "repo sign", "repo verify")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"  {name} " not in shown] == []


@pytest.mark.parametrize(
    "name", [*COMMANDS, "secret create", "pivot put", "send command", "send event", *CONFIG, *REPO]
)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    if name not in ("secret", "pivot", "config", "send", "repo"):
        assert "Example" in shown


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom zconnector.cli.main import main\nmain(['--help'])\n"
        f"sys.exit(','.join(m for m in {HEAVY!r} if m in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["bogus"], 2, "No such command 'bogus'"),
        (["conector"], 2, "No such command 'conector'. Did you mean 'connector'?"),
        (["connector", "--max-timeout-ms", "x"], 2, "'x' is not a valid integer"),
        (["explain"], 2, "Missing argument 'UUID'"),
        (["send", "command", "Ci"], 2, "Missing argument 'COMMAND'"),
        (["queue", "ls", "--state-dir", "none"], 69, "nothing runs in none"),
        (["workers", "--state-dir", "none"], 69, "nothing runs in none"),
        (["dev", "--connector", "git"], 78, "'git' is not NAME:TYPE"),
        (["dev", "--clusters", "2"], 2, "2 is not in the range"),
        (["secret", "create", "connector", "--tenant", "t", "--name", "n"], 2, "--type and --aggregator"),
        (["send", "event", "t", "e", "a payload", "--payload-file", "x"], 78, "give one of them"),
    ],
)
def test_a_mistake_is_named_and_has_a_status(
    argv: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_a_bad_value_says_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZCONNECTOR_MAX_TIMEOUT_MS", "soon")
    assert main(["connector", "--state-dir", str(tmp_path)]) == 2
    assert "from the environment: ZCONNECTOR_MAX_TIMEOUT_MS" in capsys.readouterr().err
    monkeypatch.delenv("ZCONNECTOR_MAX_TIMEOUT_MS")
    file = tmp_path / "zc.toml"
    file.write_text("[connector]\nmax_timeout_ms = 'soon'\n")
    assert main(["connector", "--state-dir", str(tmp_path), "--config", str(file)]) == 2
    assert f"(from {file})" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    shown = f"{sys.executable} -m zconnector connector --print-config"
    line = f"{shown} | head -n 1 >/dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in (0, 141)
    assert done.stderr == ""
