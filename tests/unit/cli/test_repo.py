"""`zconnector repo`: a repository made, checked and found wrong from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.repositories import KEY, worker_folder
from tests.support.web import Web
from zconnector.cli.main import main
from zconnector.clock import SystemClock
from zconnector.repository.keyfile import create_key
from zconnector.repository.publish import create

ZIP10 = "workers/ci/jenkins/1/0/worker.zip"


class Shell:
    """Runs command lines in a folder of their own."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def __call__(self, *argv: str, code: int = 0) -> tuple[str, str]:
        status = main(["repo", *argv])
        out, err = self._capsys.readouterr()
        assert status == code, err
        assert "Traceback" not in err
        return out, err

    def json(self, *argv: str, code: int = 0) -> Any:
        out, _ = self(*argv, "--json", code=code)
        assert out.count("\n") == 1
        return json.loads(out)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


@pytest.fixture
def repository(run: Shell) -> tuple[str, str]:
    """A repository with 1.0: its folder, and its public key."""
    folder = str(run.path / "acme")
    key = run("init", folder)[0].strip()
    run("add", folder, str(worker_folder(run.path / "w10")))
    return folder, key


def test_init_makes_a_key_beside_the_repository_and_prints_what_to_pin(run: Shell) -> None:
    out, err = run("init", str(run.path / "acme"))
    assert out.startswith("ed25519:")
    assert (run.path / "acme.key").stat().st_mode & 0o777 == 0o600
    assert str(run.path / "acme.key") in err
    assert [path.name for path in (run.path / "acme").iterdir()] == ["manifest.json"]


def test_init_with_a_key_that_is_there(run: Shell) -> None:
    first = run.json("init", str(run.path / "a"))
    second = run.json("init", str(run.path / "b"), "--secret-key", str(run.path / "a.key"), "--name", "other")
    assert second["key"] == first["key"]
    assert (second["repository"], second["secret_key_made"]) == ("other", False)


def test_init_refuses(run: Shell) -> None:
    folder = str(run.path / "acme")
    _, err = run("init", folder, "--secret-key", f"{folder}/keys/k", code=78)
    assert "must not be inside the repository" in err
    _, err = run("init", str(run.path / "A B"), code=78)
    assert "name of a repository (--name) must be" in err
    assert not (run.path / "A B.key").exists()
    run("init", folder)
    assert "exists already" in run("init", folder, code=78)[1]


def test_add_says_what_changed(run: Shell) -> None:
    folder = str(run.path / "acme")
    run("init", folder)
    out, err = run(
        "add", folder, str(worker_folder(run.path / "w10")), str(worker_folder(run.path / "w11", 1, 1))
    )
    assert f"changed: {ZIP10}\n" in out
    assert "repository acme, serial 2, 7 files, signed 20" in out
    assert err == ""
    out, _ = run("add", folder, str(run.path / "w10"))
    assert out.endswith("no file changed\n")


def test_add_refuses(run: Shell, repository: tuple[str, str]) -> None:
    folder, _ = repository
    worker_folder(run.path / "w10", says="other")
    assert "--replace" in run("add", folder, str(run.path / "w10"), code=65)[1]
    assert "worker.yaml is missing" in run("add", folder, str(run.path), code=78)[1]
    Path(f"{folder}.key").chmod(0o644)
    assert "must have 0600" in run("add", folder, str(run.path / "w10"), code=78)[1]
    assert "Missing argument" in run("add", folder, code=2)[1]


def test_verify_over_both_ways(run: Shell, repository: tuple[str, str]) -> None:
    folder, key = repository
    with Web(Path(folder)) as web:
        for address in (f"file://{folder}", web.address, f"{web.address}/"):
            told = run.json("verify", address, "--key", key)
            assert told["valid"] is True
            assert [file["error"] for file in told["files"]] == [None] * 4
    (run.path / "pub").write_text(f"{key}\n")
    out, err = run("verify", f"file://{folder}", "--key", f"@{run.path / 'pub'}")
    assert out.count("as signed") == 4
    assert err == ""


def test_verify_tells_what_is_wrong_with_which_file(run: Shell, repository: tuple[str, str]) -> None:
    folder, key = repository
    Path(folder, ZIP10).write_bytes(b"tampered")
    Path(folder, "configurations/ci/1_0_pivot.yaml").unlink()
    out, err = run("verify", f"file://{folder}", "--key", key, code=77)
    assert (out.count("WRONG"), out.count("as signed")) == (2, 2)
    assert f"zconnector: file://{folder}/{ZIP10} has 8 bytes, must have" in err
    assert "1_0_pivot.yaml: No such file" in err
    told = run.json("verify", f"file://{folder}", "--key", key, code=77)
    assert told["valid"] is False
    assert sum(file["error"] is not None for file in told["files"]) == 2


def test_verify_refuses_a_key_an_address_a_name(run: Shell, repository: tuple[str, str]) -> None:
    folder, key = repository
    other = run("init", str(run.path / "other"))[0].strip()
    assert "must be by a pinned key" in run("verify", f"file://{folder}", "--key", other, code=77)[1]
    assert run.json("verify", f"file://{folder}", "--key", other, "--key", key)["valid"]
    assert (
        "of repository 'acme'"
        in run("verify", f"file://{folder}", "--key", key, "--repository", "x", code=77)[1]
    )
    assert "http is for loopback" in run("verify", "http://example.com", "--key", key, code=78)[1]
    assert "a public key must be" in run("verify", f"file://{folder}", "--key", "x", code=78)[1]
    assert "cannot read" in run("verify", f"file://{folder}", "--key", "@none", code=78)[1]
    assert "manifest.json" in run("verify", f"file://{run.path}", "--key", key, code=69)[1]


def test_sign_with_a_new_key(run: Shell, repository: tuple[str, str]) -> None:
    folder, old = repository
    new = run.json("init", str(run.path / "n"))["key"]
    argv = ("sign", folder, "--secret-key", str(run.path / "n.key"))
    assert "--new-key" in run(*argv, code=78)[1]
    assert run.json(*argv, "--new-key")["serial"] == 3
    assert run.json("verify", f"file://{folder}", "--key", new)["valid"]
    assert "pinned key" in run("verify", f"file://{folder}", "--key", old, code=77)[1]


def test_a_manifest_that_is_dated_ahead_is_told_of_and_dated_anew(run: Shell) -> None:
    folder = str(run.path / "acme")
    key = create_key(run.path / "acme.key")
    create(Path(folder), "acme", key, SystemClock().now().wall + 7_200_000)
    for argv in (("sign", folder), ("add", folder, str(worker_folder(run.path / "w10")))):
        assert "zconnector repo sign --redate" in run(*argv)[1]
    assert "is dated" in run("verify", f"file://{folder}", "--key", str(key.public), code=77)[1]
    assert "--redate" not in run("sign", folder, "--redate")[1]
    assert run.json("verify", f"file://{folder}", "--key", str(key.public))["valid"]


def test_sign_names_what_it_does_not_sign(run: Shell, repository: tuple[str, str]) -> None:
    folder, _ = repository
    Path(folder, "notes.txt").write_text("x")
    out, err = run("sign", folder)
    assert "no file changed" in out
    assert f"not of the layout, not signed: {folder}/notes.txt" in err


def test_when_it_expires(run: Shell, repository: tuple[str, str]) -> None:
    folder, key = repository
    address = f"file://{folder}"
    told = run.json("verify", address, "--key", key)
    assert (told["expires"] - told["timestamp"], told["expired"]) == (365 * 86_400, False)
    assert run.json("sign", folder, "--expires", "7")["expires"] - told["timestamp"] >= 7 * 86_400
    assert ", expires 20" in run("verify", address, "--key", key)[0]
    assert run.json("sign", folder, "--expires", "never")["expires"] is None
    assert ", never expires\n" in run("verify", address, "--key", key)[0]
    for wrong in ("0", "3651", "1.5", "-1", "soon", ""):
        assert "must be never, or days from 1 to 3650" in run("sign", folder, "--expires", wrong, code=2)[1]


def test_verify_warns_before_it_expires(run: Shell, repository: tuple[str, str]) -> None:
    folder, key = repository
    verify = ("verify", f"file://{folder}", "--key", key)
    run("sign", folder, "--expires", "8")
    assert run(*verify)[1] == ""
    assert run.json(*verify)["expiring"] is False
    err = run(*verify, "--warning", "9")[1]
    assert f"zconnector: manifest of file://{folder} (serial 3) expires in 8 d, at 20" in err
    assert "sign it again (zconnector repo sign)" in err
    run("sign", folder, "--expires", "7")
    assert "(serial 4) expires in 7 d" in run(*verify)[1]
    told = run.json(*verify)
    assert (told["expiring"], told["expired"], told["valid"]) == (True, False, True)
    assert run(*verify, "--warning", "0")[1] == ""
    for wrong in ("-1", "3651", "soon"):
        assert "--warning" in run(*verify, "--warning", wrong, code=2)[1]
    run("sign", folder, "--expires", "never")
    assert run(*verify)[1] == ""


def test_verify_tells_that_it_has_expired(run: Shell) -> None:
    folder = run.path / "old"
    wall = 1_000_000_000_000
    create(folder, "old", KEY, wall, lifetime=86_400)
    out, err = run("verify", f"file://{folder}", "--key", str(KEY.public), code=77)
    assert "signed 2001-09-09T01:46:40+00:00, expires 2001-09-10T01:46:40+00:00" in out
    assert "(serial 1) expired at 2001-09-10T01:46:40+00:00" in err
    told = run.json("verify", f"file://{folder}", "--key", str(KEY.public), code=77)
    assert (told["expired"], told["expiring"], told["valid"], told["files"]) == (True, True, False, [])
    assert err.count("zconnector: ") == 1  # and no warning that it will
