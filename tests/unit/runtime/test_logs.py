from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Iterator

import orjson
import pytest
import structlog

from zconnector.errors import ConfigError
from zconnector.runtime import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_on_stderr_above_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json")
    structlog.get_logger().info("not this")
    structlog.get_logger().warning("peer refused", uuid="u1", reason="REVOKED")
    out, err = capsys.readouterr()
    assert out == ""
    lines = [orjson.loads(line) for line in err.splitlines()]
    assert len(lines) == 1
    assert {name: lines[0][name] for name in ("event", "level", "uuid", "reason")} == {
        "event": "peer refused",
        "level": "warning",
        "uuid": "u1",
        "reason": "REVOKED",
    }
    assert "timestamp" in lines[0]


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("name", ["secret", "worker_token", "Enrolment", "PASSWORD", "enrolment_string"])
def test_what_is_secret_is_masked_at_any_depth(
    capsys: pytest.CaptureFixture[str], format: str, name: str
) -> None:
    logs.configure("debug", format)
    structlog.get_logger().info("x", **{name: "hunter2"})
    structlog.get_logger().info("x", deep={"list": [{name: "hunter2"}], "tuple": ({name: b"hunter2"},)})
    out, err = capsys.readouterr()
    assert "hunter2" not in out + err
    assert err.count("***") == 3


def test_an_empty_secret_is_seen_to_be_empty(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    structlog.get_logger().info("x", token="")
    assert orjson.loads(capsys.readouterr().err)["token"] == ""


def test_what_is_no_json_is_shown_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    structlog.get_logger().info("x", raw=b"\xff", keys={1: object})
    assert orjson.loads(capsys.readouterr().err)["event"] == "x"


def test_the_standard_library_logs_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json")
    logging.getLogger("asyncio").error("socket %s", "gone")
    line = orjson.loads(capsys.readouterr().err)
    assert (line["event"], line["level"]) == ("socket gone", "error")


@pytest.mark.parametrize(("level", "format"), [("loud", "json"), ("info", "xml")])
def test_a_wrong_setting_is_named(level: str, format: str) -> None:
    with pytest.raises(ConfigError, match=r"loud|xml"):
        logs.configure(level, format)


class FullDisk(io.StringIO):
    """A file that takes nothing while it is full."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_log_on_a_full_disk_harms_nobody_and_tells_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that could not be written was an exception in the core's step, which ended the process."""
    disk = FullDisk()
    monkeypatch.setattr(sys, "stderr", disk)
    logs.configure("warning", "json")
    log = structlog.get_logger()
    log.warning("before")
    disk.full = True
    for _ in range(3):
        log.warning("lost")
        log.exception("lost too")
    disk.full = False
    log.warning("after")
    log.warning("later")
    lines = [orjson.loads(line) for line in disk.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["before", "log lines lost", "after", "later"]
    assert lines[1]["lines"] == 6


def test_a_log_to_a_pipe_that_nobody_reads_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, writes = os.pipe()
    pipe = os.fdopen(writes, "w")
    monkeypatch.setattr(sys, "stderr", pipe)
    logs.configure("warning", "json")
    os.close(reads)
    structlog.get_logger().error("nobody reads this")
    structlog.get_logger().error("nor this")
    with contextlib.suppress(BrokenPipeError):
        pipe.close()
    structlog.get_logger().error("nor this: it is closed")
