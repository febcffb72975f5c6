"""`zconnector send`: a person sends a command or an event through a connector."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT, F, find_grpc, grpc_options
from zconnector.cli.options import SECONDS
from zconnector.cli.output import emit
from zconnector.errors import ConfigError, ZConnectorError

REPLY_FAILED = 1
"""Exit status when the worker answered FAIL."""


def payload_options(function: F) -> F:
    """Decorator: what is sent, as an argument or from a file."""
    function = click.option(
        "--payload-file",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        help="Read the payload from this file (- for stdin).",
    )(function)
    return click.argument("payload", default="")(function)


def read_payload(payload: str, file: Path | None) -> str:
    """The payload given either way. Raises ConfigError: both, or a file that cannot be read as UTF-8."""
    if file is None:
        return payload
    if payload:
        raise ConfigError("a payload as argument and --payload-file: give one of them")
    try:
        return str(click.open_file(str(file), encoding="utf-8").read())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error


class NoReplyYetError(ZConnectorError):
    """The command is receipted, and its reply has not come in the time given."""

    exit_code = 75


@click.group("send", context_settings=CONTEXT)
def command() -> None:
    """Send a command or an event through a connector."""


@command.command(
    "command",
    context_settings=CONTEXT,
    epilog="""Examples: zconnector send command Ci BUILD '{"ref": "main"}';"""
    "  zconnector send command Ci BUILD --payload-file build.json --connector git --no-wait",
)
@click.argument("type_", metavar="TYPE")
@click.argument("name", metavar="COMMAND")
@payload_options
@grpc_options
@click.option("--major", type=click.IntRange(0, 127), default=0, help="Major version wanted; 0: any.")
@click.option(
    "--timeout",
    type=SECONDS,
    default=10.0,
    show_default=True,
    help="Seconds to wait for the receipt.",
)
@click.option(
    "--reply-timeout",
    type=SECONDS,
    default=60.0,
    show_default=True,
    help="Seconds to wait for the reply.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Whether to wait for the reply.")
@click.option("--admin", is_flag=True, help="For the connector's admin worker.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines instead of text.")
def send_command(
    type_: str,
    name: str,
    payload: str,
    payload_file: Path | None,
    grpc: str,
    state_dir: Path,
    connector: str,
    major: int,
    timeout: float,
    reply_timeout: float,
    wait: bool,
    admin: bool,
    as_json: bool,
) -> int:
    """Send COMMAND to a connector of TYPE; show the receipt, then the reply.

    Exit status 0: the reply is SUCCES (or, with --no-wait, the command is receipted); 1: it is FAIL;
    others: no receipt, with the reason on stderr.
    """
    content = read_payload(payload, payload_file)
    address = find_grpc(grpc, state_dir, connector)

    async def run() -> int:
        from zconnector.worker import Client, NoReply

        async with Client(address) as client:
            handle = await client.send_command(
                type_, name, content, timeout=timeout, major=major, admin=admin
            )
            _show(as_json, f"receipted {handle.uuid}", {"uuid": handle.uuid, "receipt": "ON_GOING"})
            if not wait:
                return 0
            try:
                reply = await handle.reply(reply_timeout)
            except NoReply as error:
                hint = f"zconnector watch {name} --reply-to {handle.uuid}"
                raise NoReplyYetError(
                    f"{error}: it is stored at its target, and waits there for a worker; later: `{hint}`"
                ) from None
            reason = f" ({reply.reason}: {reply.detail})" if reply.reason else ""
            _show(
                as_json,
                f"{reply.event}{reason} {reply.payload}".rstrip(),
                {
                    "uuid": handle.uuid,
                    "reply": reply.event,
                    "payload": reply.payload,
                    "reason": reply.reason,
                    "detail": reply.detail,
                },
            )
            return 0 if reply.ok else REPLY_FAILED

    return asyncio.run(run())


@command.command(
    "event",
    context_settings=CONTEXT,
    epilog="""Example: zconnector send event builds FINISHED '{"ref": "main"}' --connector ci""",
)
@click.argument("topic")
@click.argument("event")
@payload_options
@grpc_options
@click.option("--reference", default="", metavar="UUID", help="The message that it is about.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def send_event(
    topic: str,
    event: str,
    payload: str,
    payload_file: Path | None,
    grpc: str,
    state_dir: Path,
    connector: str,
    reference: str,
    as_json: bool,
) -> None:
    """Publish EVENT on TOPIC; it is stored when this returns."""
    content = read_payload(payload, payload_file)
    address = find_grpc(grpc, state_dir, connector)

    async def run() -> str:
        from zconnector.worker import Client

        async with Client(address) as client:
            return await client.send_event(topic, event, content, reference=reference)

    uuid = asyncio.run(run())
    _show(as_json, f"stored {uuid}", {"uuid": uuid})


def _show(as_json: bool, text: str, document: dict[str, Any]) -> None:
    if as_json:
        emit(document)
    else:
        click.echo(text)
