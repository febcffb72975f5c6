"""Command line options made from the frozen settings of `zconnector/settings.py`.

A new field of a settings class is an option, an environment variable and a key of the file at
once; only its line of help is written here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import click

ENVIRONMENT = "ZCONNECTOR"
"""Prefix of every environment variable: `ZCONNECTOR_STATE_DIR` is `--state-dir`, whichever the command."""

HELP = {
    "state_dir": "Directory of everything this component keeps: key, enrolment, stores, control socket.",
    "log_level": "Least severe level that is logged.",
    "log_format": "Log lines as JSON objects, or for people.",
    "crash_at": "Name of a crash point of WIRE.md section 13 (tests only).",
    "grpc": "Address that workers dial, unix:PATH or HOST:PORT.  [default: grpc.sock in the state directory]",
    "max_timeout_ms": "Longest timeout of a command, in ms.",
    "default_timeout_ms": "Timeout of a command that names none, in ms.",
    "strict": "Whether only commands of a stored pivot are taken; --no-strict: a type without a pivot "
    "takes its first worker's list as one.",
    "grpc_tls_cert": "For --grpc HOST:PORT: certificate chain, PEM.",
    "grpc_tls_key": "For --grpc HOST:PORT: private key, PEM.",
    "grpc_token_file": "For --grpc HOST:PORT: file with the token that workers must show.",
    "bind": "Endpoint to listen on.",
    "advertise": "Endpoint told to others.  [default: the one that was bound]",
    "max_in_flight": "Commands on their way through this process at once.",
    "connector": "State directory of the connector that this front end serves.",
    "member": "Number of this cluster member.",
    "journal_days": "Days that the journal keeps commands and events.",
    "journal_bytes": "Bytes that the journal may take.",
    "session_heartbeat": "Seconds between heartbeats.",
    "session_dead_after": "Seconds of silence after which a peer is dead.",
    "session_greeting": "Seconds to wait for a WELCOME.",
    "session_backoff_first": "Seconds before the second try to connect.",
    "session_backoff_limit": "Longest pause between tries to connect, in seconds.",
    "session_credit": "Messages a peer may have on the way to this process.",
    "session_max_sessions": "Sessions on the bound socket.",
    "session_max_unvalidated": "Of them, those whose secret is not yet checked.",
    "session_rate": "Messages a second of one peer below that are acknowledged.",
    "session_burst": "Messages of one peer below that are acknowledged at once.",
    "queue_max_commands": "Commands the local queue holds.",
    "queue_max_command_bytes": "Bytes of commands the local queue holds.",
    "queue_max_events": "Events the local queue retains.",
    "queue_max_event_bytes": "Bytes of events the local queue retains.",
    "queue_event_retention": "Seconds that an event is retained.",
    "queue_max_unknown": "Commands sent from here that are under way, or of unknown outcome.",
    "queue_max_outbox": "Entries of the outbox.",
    "queue_max_outbox_bytes": "Bytes of the outbox.",
    "queue_reply_retention": "Seconds that an undelivered reply is kept.",
    "queue_max_iterators": "Iterators of workers.",
    "queue_iterator_idle": "Seconds after which an idle iterator may go.",
    "queue_dedupe_window": "Seconds that a finished command's uuid is remembered.",
    "queue_overflow": "What a full queue does with a new command: refuse it, or drop its oldest.",
    "queue_lease_limit": "Longest lease of a command that says nothing else, in seconds.",
    "queue_adopt_within": "Seconds in which a worker takes up its leases again after a restart.",
    "queue_retry_attempts": "Attempts at a command.",
    "queue_retry_first": "Seconds until the second attempt.",
    "queue_retry_factor": "How much longer each further pause is.",
    "queue_retry_limit": "Longest pause between attempts, in seconds.",
    "queue_beat_missed": "Seconds of silence after which a worker that used to beat is gone.",
    "queue_max_dead": "Dead letters kept.",
    "queue_max_dead_bytes": "Bytes that dead letters may take.",
    "queue_resend_first": "Seconds until an unconfirmed reply or event is sent again.",
    "queue_resend_limit": "Longest pause between such resends, in seconds.",
}
CHOICES = {
    "log_level": ("debug", "info", "warning", "error"),
    "log_format": ("json", "console"),
    "queue_overflow": ("refuse", "drop_oldest"),
}
SPECIAL = frozenset({"enrolment", "notify"})
"""Fields without a flag: a secret is never on a command line; NOTIFY_SOCKET is the supervisor's to set."""
ENROLMENT_VARIABLE = f"{ENVIRONMENT}_ENROLMENT"
NOTIFY_VARIABLE = "NOTIFY_SOCKET"


MAX_NUMBER = 2**53
MAX_SECONDS = 1e9
"""Three decades; whoever writes more means something else."""


class _Seconds(click.FloatRange):
    """Like FloatRange, without NaN, which is neither below a bound nor above it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


SECONDS = _Seconds(min=0, max=MAX_SECONDS, min_open=True)
"""A duration, or another measure above zero."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One field of a settings class, flattened: `queue.max_events` is `queue_max_events`."""

    name: str
    path: tuple[str, ...]
    type: type
    default: Any
    """`dataclasses.MISSING` when it must be given."""

    @property
    def advanced(self) -> bool:
        """Not shown in `--help` (but in `--print-config`): bounds that few people turn."""
        return len(self.path) > 1 or self.name == "crash_at"


def settings_of(cls: type, prefix: tuple[str, ...] = (), defaults: Any = None) -> Iterator[Setting]:
    """Every setting of a settings class, nested ones included.

    `defaults`: the instance that stands as default where this class is nested; None: the class's own.
    """
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        path = (*prefix, field.name)
        kind = hints[field.name]
        default = field.default if defaults is None else getattr(defaults, field.name)
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from settings_of(kind, path, default)
        elif field.name not in SPECIAL:
            yield Setting("_".join(path), path, kind, default)


def build(cls: type, values: dict[str, Any]) -> Any:
    """The frozen settings of class `cls` from flattened values; the opposite of `settings_of`."""
    nested: dict[tuple[str, ...], dict[str, Any]] = {}
    for setting in settings_of(cls):
        value = values.get(setting.name, setting.default)
        if value is not dataclasses.MISSING:
            *outer, name = setting.path
            nested.setdefault(tuple(outer), {})[name] = value
    arguments = nested.pop((), {})
    arguments |= {name: values[name] for name in SPECIAL if name in values}
    hints = get_type_hints(cls)
    return cls(**arguments, **{name: hints[name](**fields) for (name,), fields in nested.items()})


def option(setting: Setting) -> click.Option:
    """The command line option of one setting."""
    flag = "--" + setting.name.replace("_", "-")
    names = [f"{flag}/--no-{flag[2:]}"] if setting.type is bool else [flag]
    required = setting.default is dataclasses.MISSING
    return click.Option(
        [*names, setting.name],
        type=_click_type(setting),
        default=None if required else setting.default,
        show_default=not required and setting.default != "",
        help=HELP[setting.name],
        hidden=setting.advanced,
    )


def _click_type(setting: Setting) -> Any:
    if setting.name in CHOICES:
        return click.Choice(CHOICES[setting.name])
    if setting.type is int:
        return click.IntRange(1, MAX_NUMBER)
    if setting.type is float:
        return SECONDS
    if setting.type is Path:
        return click.Path(path_type=Path, file_okay=False)
    return setting.type
