"""Settings: flags, then environment, then the file, then the default; and where each came from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from zconnector.cli.component import component_command
from zconnector.cli.main import main
from zconnector.cli.options import HELP, build, settings_of
from zconnector.cli.resolve import read_file
from zconnector.errors import ConfigError
from zconnector.settings import (
    AggregatorSettings,
    ClusterSettings,
    ConnectorSettings,
    FrontEndSettings,
    ProcessSettings,
)

SECRET = "zc1.very-secret"
ALL = [ConnectorSettings, AggregatorSettings, ClusterSettings, FrontEndSettings]


class Started:
    """Stands where a process would be run: keeps the settings it was given."""

    def __init__(self) -> None:
        self.settings: ConnectorSettings | None = None

    def __call__(self, settings: ConnectorSettings) -> int:
        self.settings = settings
        return 0


@pytest.fixture
def started() -> Started:
    return Started()


@pytest.fixture
def command(started: Started) -> click.Command:
    return component_command("connector", ConnectorSettings, started, help="", epilog="")


def printed(command: click.Command, *argv: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    result = CliRunner().invoke(command, [*argv, "--print-config", "--json"], env=env)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("cls", ALL)
def test_every_setting_has_a_line_of_help(cls: type[ProcessSettings]) -> None:
    assert [setting.name for setting in settings_of(cls) if setting.name not in HELP] == []


@pytest.mark.parametrize("cls", ALL)
def test_the_defaults_of_a_command_are_those_of_its_settings(
    cls: type[ProcessSettings], tmp_path: Path
) -> None:
    """Also where a class sets other defaults for what it nests, as a member does for its sessions."""
    values = {setting.name: setting.default for setting in settings_of(cls)} | {"state_dir": tmp_path}
    assert build(cls, values) == cls(state_dir=tmp_path)


@pytest.mark.parametrize("cls", ALL)
def test_only_the_state_directory_must_be_given(cls: type[ProcessSettings]) -> None:
    required = [setting.name for setting in settings_of(cls) if setting.default is dataclasses.MISSING]
    assert required == ["state_dir"]


@pytest.mark.parametrize("cls", ALL)
def test_without_flags_a_process_gets_its_defaults(cls: type[ProcessSettings], tmp_path: Path) -> None:
    got: list[ProcessSettings] = []

    def run(settings: ProcessSettings) -> int:
        got.append(settings)
        return 0

    made = component_command("cluster", cls, run, help="", epilog="")
    result = CliRunner().invoke(made, ["--state-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert got == [cls(state_dir=tmp_path)]


def test_build_is_the_opposite_of_settings_of(tmp_path: Path) -> None:
    values: dict[str, Any] = {setting.name: setting.default for setting in settings_of(ConnectorSettings)} | {
        "state_dir": tmp_path,
        "queue_max_events": 7,
        "session_credit": 3,
    }
    settings = build(ConnectorSettings, values)
    assert settings.state_dir == tmp_path
    assert settings.queue.max_events == 7
    assert settings.session.credit == 3
    assert settings.queue.max_commands == ConnectorSettings(tmp_path).queue.max_commands


def test_a_flag_beats_the_environment_which_beats_the_file(
    command: click.Command, started: Started, tmp_path: Path
) -> None:
    file = tmp_path / "zc.toml"
    file.write_text(
        '[connector]\nlog_level = "debug"\nmax_timeout_ms = 5\ndefault_timeout_ms = 6\nstrict = false\n'
    )
    argv = ["--config", str(file), "--state-dir", str(tmp_path), "--log-level", "error"]
    env = {"ZCONNECTOR_LOG_LEVEL": "info", "ZCONNECTOR_MAX_TIMEOUT_MS": "50"}
    result = CliRunner().invoke(command, argv, env=env)
    assert result.exit_code == 0, result.output
    assert started.settings is not None
    assert started.settings.log_level == "error"
    assert started.settings.max_timeout_ms == 50
    assert started.settings.default_timeout_ms == 6
    assert started.settings.strict is False
    shown = printed(command, *argv, env=env)
    assert shown["log_level"] == {"value": "error", "source": "flag --log-level"}
    assert shown["max_timeout_ms"]["source"] == "environment ZCONNECTOR_MAX_TIMEOUT_MS"
    assert shown["default_timeout_ms"]["source"] == f"file {file} [connector]"
    assert shown["grpc"] == {"value": "", "source": "default"}


def test_nested_tables_of_the_file_reach_nested_settings(
    command: click.Command, started: Started, tmp_path: Path
) -> None:
    file = tmp_path / "zc.toml"
    file.write_text(
        "[connector.queue]\nmax_events = 9\n[connector.session]\nheartbeat = 0.1\n[cluster]\nmember='2'\n"
    )
    result = CliRunner().invoke(command, ["--config", str(file), "--state-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert started.settings is not None
    assert started.settings.queue.max_events == 9
    assert started.settings.session.heartbeat == 0.1


def test_every_setting_can_be_given_by_environment(
    command: click.Command, started: Started, tmp_path: Path
) -> None:
    env = {"ZCONNECTOR_STATE_DIR": str(tmp_path), "ZCONNECTOR_CRASH_AT": "target.after_commit"}
    assert CliRunner().invoke(command, [], env=env).exit_code == 0
    assert started.settings is not None
    assert started.settings.state_dir == tmp_path
    assert started.settings.crash_at == "target.after_commit"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[connector]\nlog_levle = 'debug'\n", "'log_levle' in [connector] (did you mean 'log_level'?)"),
        ("[connector.queue]\nmax_event = 1\n", "'queue_max_event' in [connector]"),
        ("[conector]\n", "'conector' (did you mean 'connector'?)"),
        ("connector = 3\n", "'connector' must be a table"),
        ("[connector\n", "is not TOML"),
    ],
)
def test_a_file_with_what_means_nothing_is_refused_by_name(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "zc.toml"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_file(file, "connector", {"log_level", "queue_max_events"})
    assert named in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_file(tmp_path / "none.toml", "connector", ())


def test_a_missing_state_dir_says_all_three_ways_to_give_it(command: click.Command) -> None:
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 2
    for way in ("--state-dir", "ZCONNECTOR_STATE_DIR", "state_dir under [connector]"):
        assert way in result.output


def test_the_enrolment_comes_from_a_file_or_the_environment_and_is_masked(
    command: click.Command, started: Started, tmp_path: Path
) -> None:
    file = tmp_path / "enrolment"
    file.write_text(SECRET + "\n")
    base = ["--state-dir", str(tmp_path)]
    env = {"ZCONNECTOR_ENROLMENT": "zc1.other"}
    assert CliRunner().invoke(command, [*base, "--enrolment-file", str(file)], env=env).exit_code == 0
    assert started.settings is not None
    assert started.settings.enrolment == SECRET
    assert SECRET not in repr(started.settings)
    assert CliRunner().invoke(command, base, env=env).exit_code == 0
    assert started.settings.enrolment == "zc1.other"
    assert CliRunner().invoke(command, [*base, "--enrolment-file", "-"], input=SECRET).exit_code == 0
    assert started.settings.enrolment == SECRET
    shown = printed(command, *base, env=env)
    assert shown["enrolment"] == {"value": "********", "source": "environment ZCONNECTOR_ENROLMENT"}
    assert printed(command, *base)["enrolment"]["value"] == ""


def test_no_flag_takes_a_secret(command: click.Command) -> None:
    flags = {flag for param in command.params for flag in param.opts}
    assert not flags & {"--enrolment", "--secret"}


def test_an_enrolment_file_that_is_empty_or_missing_is_an_error(
    command: click.Command, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for path, said in ((empty, "is empty"), (tmp_path / "none", "cannot read")):
        result = CliRunner().invoke(command, ["--state-dir", str(tmp_path), "--enrolment-file", str(path)])
        assert isinstance(result.exception, ConfigError)
        assert said in str(result.exception)


@pytest.mark.parametrize("value", ["nan", "inf", "1e300", "0", "-1"])
def test_a_duration_is_a_number_with_bounds(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN passed every bound, and a component with a heartbeat of NaN never beat."""
    argv = ["connector", "--state-dir", str(tmp_path), "--session-heartbeat", value, "--print-config"]
    assert main(argv) == 2
    assert "session-heartbeat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "status"), [("strict = -1", 2), ("strict = [1]", 78), ("grpc = 2001-01-01", 78)]
)
def test_a_value_of_the_file_of_another_type_is_an_error(
    line: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number for a switch was an AttributeError with a traceback."""
    file = tmp_path / "c.toml"
    file.write_text(f"[connector]\n{line}\n")
    assert (
        main(["connector", "--state-dir", str(tmp_path), "--config", str(file), "--print-config"]) == status
    )
    assert line.split()[0] in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_value_that_is_not_utf8_can_be_shown(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["connector", "--state-dir", str(tmp_path), "--grpc", "unix:\udcff", "--print-config", *more]
    assert main(argv) == 0
    assert "\\udcff" in capsys.readouterr().out
