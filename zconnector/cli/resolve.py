"""Settings of a component: flags, then `ZCONNECTOR_*` environment, then the TOML file, then the default.

click does the resolving (`auto_envvar_prefix`, `default_map`); this adds the file, with unknown
keys refused, and tells for each value where it came from.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from zconnector.cli.options import (
    ENROLMENT_VARIABLE,
    ENVIRONMENT,
    NOTIFY_VARIABLE,
    Setting,
    build,
    settings_of,
)
from zconnector.errors import ConfigError
from zconnector.settings import ProcessSettings

SECTIONS = ("cluster", "aggregator", "connector", "frontend")
"""Tables that a configuration file may have: one for each kind of component."""
MASK = "********"
NOT_SET = "not set"

SettingsT = TypeVar("SettingsT", bound=ProcessSettings)


@dataclass(frozen=True, slots=True)
class Resolved:
    """One setting as it will be used."""

    name: str
    value: Any
    source: str
    """Where it came from, for people."""


def read_file(path: Path, section: str, known: Iterable[str]) -> dict[str, Any]:
    """The settings that a TOML file gives to one kind of component, flattened.

    Raises ConfigError: not readable, not TOML, or a table or key that means nothing.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for name, table in document.items():
        if name not in SECTIONS:
            raise ConfigError(f"{path}: unknown key {name!r}{_meant(name, SECTIONS)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name!r} must be a table: [{name}]")
    known = set(known)
    values = _flatten(document.get(section, {}))
    for name in values:
        if name not in known:
            raise ConfigError(f"{path}: unknown key {name!r} in [{section}]{_meant(name, known)}")
    return values


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{name}_"))
        else:
            flat[prefix + name] = value
    return flat


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(sorted(known))})"


def load_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Callback of the eager option `--config`: the file becomes the defaults of the other options."""
    if path is not None:
        names = {p.name for p in ctx.command.params if p.name} - {"config", "print_config", "json"}
        section = ctx.command.name or ""
        values = {
            name: _plain(value, f"{path}: {name!r} in [{section}]")
            for name, value in read_file(path, section, names).items()
        }
        ctx.default_map = {**(ctx.default_map or {}), **values}
    return path


def _plain(value: object, where: str) -> str | bool:
    """A value as it could stand on a command line; click converts it from there.

    Raises ConfigError: a list or a date.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ConfigError(f"{where} must be a text, a number, true or false, not {value!r:.60}")


def resolve(ctx: click.Context, cls: type[ProcessSettings]) -> list[Resolved]:
    """Every setting of this command with its origin; the enrolment string ("": the kept one).

    Raises ConfigError: the enrolment file is not readable or empty.
    """
    table = [
        Resolved(setting.name, ctx.params[setting.name], _source(ctx, setting))
        for setting in settings_of(cls)
    ]
    enrolment, source = _enrolment(ctx)
    table.append(Resolved("enrolment", enrolment, source))
    notify = os.environ.get(NOTIFY_VARIABLE, "")
    table.append(Resolved("notify", notify, f"environment {NOTIFY_VARIABLE}" if notify else "default"))
    return table


def settings_from(ctx: click.Context, cls: type[SettingsT]) -> SettingsT:
    """The frozen settings of this command.

    Raises click.UsageError where a setting that must be given is missing, ConfigError as `resolve`.
    """
    table = resolve(ctx, cls)
    for entry in table:
        if entry.source == NOT_SET:
            flag = "--" + entry.name.replace("_", "-")
            raise click.UsageError(
                f"Missing {flag} (or {ENVIRONMENT}_{entry.name.upper()}, or {entry.name} under"
                f" [{ctx.command.name}] in the file of --config).",
                ctx,
            )
    settings: SettingsT = build(cls, {entry.name: entry.value for entry in table})
    return settings


def _source(ctx: click.Context, setting: Setting) -> str:
    match ctx.get_parameter_source(setting.name):
        case ParameterSource.COMMANDLINE:
            return "flag --" + setting.name.replace("_", "-")
        case ParameterSource.ENVIRONMENT:
            return f"environment {ENVIRONMENT}_{setting.name.upper()}"
        case ParameterSource.DEFAULT_MAP:
            return f"file {ctx.params.get('config')} [{ctx.command.name}]"
        case _:
            return NOT_SET if setting.default is dataclasses.MISSING else "default"


def _enrolment(ctx: click.Context) -> tuple[str, str]:
    path: Path | None = ctx.params.get("enrolment_file")
    if path is not None:
        try:
            text = click.open_file(str(path), encoding="utf-8").read().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the enrolment file {path}: {error}") from error
        if not text:
            raise ConfigError(f"the enrolment file {path} is empty")
        return text, f"file {path}"
    if text := os.environ.get(ENROLMENT_VARIABLE, "").strip():
        return text, f"environment {ENROLMENT_VARIABLE}"
    return "", "kept in the state directory"
