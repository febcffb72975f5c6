"""Enrolment strings, TOML files, arguments, environment: a status and one line, never a traceback."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.profile import LONG, TIMES, examples
from zconnector.cli.main import COMMANDS, LazyGroup, cli, main
from zconnector.errors import ConfigError
from zconnector.shoset.enrolment import Enrolment

# ---- enrolment strings

_FIELDS = ["kind", "tenant", "name", "instance", "type", "secret", "endpoints"]
_GOOD: dict[str, Any] = {
    "kind": "connector",
    "tenant": "t1",
    "name": "git",
    "instance": "0",
    "type": "Git",
    "secret": "s3cr3t-s3cr3t",
    "endpoints": [{"instance": "a", "endpoint": "tcp://127.0.0.1:1", "key": "k" * 40}],
}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=3),
    max_leaves=6,
)


def encoded(document: Any) -> str:
    return (
        "zc1."
        + base64.urlsafe_b64encode(orjson.dumps(document, option=orjson.OPT_PASSTHROUGH_DATACLASS)).decode()
    )


_deep = st.sampled_from([20, 200, 900]).map(
    lambda n: "zc1." + base64.urlsafe_b64encode(b"[" * n + b"]" * n).decode()
)
_deep_kind = st.just("zc1." + base64.urlsafe_b64encode(b'{"kind":' + b"[" * 900 + b"]" * 900 + b"}").decode())


@st.composite
def enrolments(draw: st.DrawFn) -> str:
    document = {**_GOOD, **draw(st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=2))}
    try:
        return encoded(document)
    except TypeError:
        return "zc1."


@examples(150)
@given(
    st.one_of(
        st.text(max_size=60), st.text(max_size=60).map(lambda t: "zc1." + t), enrolments(), _deep, _deep_kind
    )
)
def test_an_enrolment_string_is_one_or_a_config_error_without_the_secret(text: str) -> None:
    try:
        enrolment = Enrolment.decode(text)
    except ConfigError as error:
        assert "s3cr3t" not in str(error)  # noqa: PT017
        assert len(str(error)) < 2000  # noqa: PT017
        return
    assert Enrolment.decode(enrolment.encode()) == enrolment
    assert enrolment.secret.encode()


# ---- the command line


def leaves(
    group: LazyGroup | click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, and how it is called."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMAND_LINES = dict(leaves(cli))
NOT_RUN = ("dev", "demo", "watch")
"""They start processes, or wait for a connector without end."""
COMPONENTS = [path for path in COMMAND_LINES if path[0] in ("cluster", "aggregator", "connector", "frontend")]
OTHERS = [path for path in COMMAND_LINES if path not in COMPONENTS and path[0] not in NOT_RUN]
VALUES = [
    *(
        "",
        " ",
        "0",
        "-1",
        "1",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "0x10",
        "9" * 400,
        "1.5",
        "true",
        "é",
        "\U0001f600",
    ),
    *(
        "\udcff",
        "a\nb",
        "-",
        "--",
        "--json",
        "=",
        "%s",
        "{}",
        "{0}",
        "\x1b[31m",
        "x" * 5000,
        "../../etc",
        "nowhere/x",
    ),
    *(
        "/dev/null/x",
        "tcp://",
        "tcp://*:*",
        "unix:",
        "unix:relative",
        "host:99999999",
        "::::",
        "None",
        "[]",
        "json",
    ),
    *("error", "zc1.", "zc1.e30", "a,b", "*", "Git:CLONE", "*:*", "CON", "."),
]
"""Without NUL: the kernel hands none to a process."""
USED = {0, 2, 64, 65, 69, 74, 75, 78, 141}


def run(argv: list[str], environment: dict[str, str], stdin: bytes = b"") -> tuple[int, str, str]:
    """`main` in this process: status, stdout, stderr."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8"),
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace"),
    )
    before = {name: value for name, value in os.environ.items() if name.startswith("ZCONNECTOR")}
    for name in before:
        del os.environ[name]
    os.environ.update(environment)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(argv)
    finally:
        for name in environment:
            os.environ.pop(name, None)
        os.environ.update(before)
    for stream in (out, err):
        stream.flush()
    return status, out.buffer.getvalue().decode(), err.buffer.getvalue().decode()


def judge(status: int, out: str, err: str, what: Any) -> None:
    assert status in USED, (what, status, err[-500:])
    assert "Traceback" not in out + err, what
    if status:
        lines = [
            line for line in err.splitlines() if line.strip() and not line.startswith(("Usage:", "Try "))
        ]
        assert lines, what
        assert any(line.startswith(("Error:", "zconnector:")) for line in lines), (what, err[-500:])


def arguments(rng: random.Random, command: click.Command) -> list[str]:
    """Some of a command's options with anything as value."""
    argv: list[str] = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            argv += [rng.choice(VALUES) for _ in range(rng.choice((1, 1, 1, 0, 2)))]
        elif isinstance(parameter, click.Option) and rng.random() < 0.25:
            flag = rng.choice([*parameter.opts, *parameter.secondary_opts])
            argv += (
                [flag]
                if parameter.is_flag
                else rng.choice(([flag, rng.choice(VALUES)], [f"{flag}={rng.choice(VALUES)}"]))
            )
    return argv


COUNT = 15 * (TIMES if LONG else 1)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b""), "utf-8"))


@pytest.mark.parametrize("path", COMPONENTS, ids=" ".join)
def test_every_option_of_a_component_with_anything(path: tuple[str, ...], tmp_path: Path) -> None:
    """With --print-config, so that nothing runs should the settings be good."""
    command = COMMAND_LINES[path]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.is_flag]
    rng = random.Random(str(path))
    for option in options:
        for value in VALUES if LONG else rng.sample(VALUES, 8):
            flag = option.opts[0]
            good = [*path, "--state-dir", str(tmp_path), "--print-config"]
            judge(*run([*good, flag, value], {}), (flag, value))
            name = f"ZCONNECTOR_{(option.name or '').upper()}"
            judge(*run(good, {name: value}), (name, value))
    for _ in range(COUNT):
        environment = {
            f"ZCONNECTOR_{(p.name or '').upper()}": rng.choice(VALUES) for p in rng.sample(options, 3)
        } | ({"ZCONNECTOR_ENROLMENT": rng.choice(VALUES)} if rng.random() < 0.5 else {})
        argv = [*path, *arguments(rng, command), "--print-config"]
        judge(*run(argv, environment), (argv, environment))


@pytest.mark.parametrize("path", OTHERS, ids=" ".join)
def test_every_other_command_with_anything(path: tuple[str, ...]) -> None:
    command = COMMAND_LINES[path]
    rng = random.Random(str(path))
    for _ in range(COUNT):
        argv = [*path, *arguments(rng, command)]
        judge(*run(argv, {}), argv)


def test_no_command_and_no_such_command() -> None:
    for value in VALUES:
        status, out, err = run([value], {})
        assert status in (0, 2), value
        assert "Traceback" not in out + err


# ---- TOML

_PIECES = [
    *(
        "[connector]\n",
        "[aggregator]\n",
        "[cluster]\n",
        "[connector.queue]\n",
        "[[connector]]\n",
        "strict",
        " = ",
        "=\n",
    ),
    *(
        "true\n",
        '"text"\n',
        "1\n",
        "-1\n",
        "1e400\n",
        "nan\n",
        "2001-01-01\n",
        "[1, 2]\n",
        "{a = 1}\n",
        "max_events",
        "\n",
    ),
    *(
        "log_level",
        "state_dir",
        "queue",
        "heartbeat",
        "session",
        ".",
        '"\\ud800"\n',
        "'''",
        "\x00",
        "é",
        "#",
        "\r",
        "[",
    ),
    *('"' + "x" * 3000 + '"\n', "0x1f\n", "9" * 5000 + "\n", "a." * 400, "[" * 2000),
]


def test_any_toml_file(tmp_path: Path) -> None:
    rng = random.Random(7)
    file = tmp_path / "c.toml"
    for _ in range(8 * COUNT):
        text = "".join(rng.choice(_PIECES) for _ in range(rng.randrange(10)))
        raw = text.encode("utf-8", "replace")
        if rng.random() < 0.1:
            raw += rng.randbytes(5)
        file.write_bytes(raw)
        argv = ["connector", "--state-dir", str(tmp_path), "--print-config", "--config", str(file)]
        judge(*run(argv, {}), raw)


def test_every_setting_of_any_toml_type(tmp_path: Path) -> None:
    command = COMMAND_LINES["connector",]
    names = [
        p.name for p in command.params if p.name not in ("config", "print_config", "json", "enrolment_file")
    ]
    file = tmp_path / "c.toml"
    for value in ("true", '"x"', "-1", "1.5", "nan", "[]", "[1]", "2001-01-01", '""', "{a = 1}", "9" * 60):
        for name in names:
            file.write_text(f"[connector]\n{name} = {value}\n")
            argv = [
                "connector",
                "--state-dir",
                str(tmp_path),
                "--print-config",
                "--json",
                "--config",
                str(file),
            ]
            judge(*run(argv, {}), (name, value))


assert set(COMMANDS) == {path[0] for path in COMMAND_LINES}
