"""`zconnector watch`: a person watches the events of a topic, or waits for a command's reply."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import datetime
from pathlib import Path

import click

from zconnector.cli.locate import CONTEXT, find_grpc, grpc_options
from zconnector.cli.output import emit


@click.command(
    "watch",
    context_settings=CONTEXT,
    epilog="Examples: zconnector watch builds;  zconnector watch builds --event FINISHED --count 1 --json;"
    "  zconnector watch BUILD --reply-to 6f1c...",
)
@click.argument("topic")
@click.option("--event", default=None, help="Only events of this name.")
@click.option(
    "--reply-to", default="", metavar="UUID", help="Wait for the reply to this command; TOPIC is its name."
)
@click.option("--count", type=click.IntRange(min=1), default=None, help="End after so many events.")
@grpc_options
@click.option("--json", "as_json", is_flag=True, help="JSON lines instead of text.")
def command(
    topic: str,
    event: str | None,
    reply_to: str,
    count: int | None,
    grpc: str,
    state_dir: Path,
    connector: str,
    as_json: bool,
) -> None:
    """Show the events of TOPIC from now on, until Ctrl-C."""
    address = find_grpc(grpc, state_dir, connector)
    if reply_to:
        asyncio.run(_reply(address, topic, reply_to, as_json))
    else:
        asyncio.run(_events(address, topic, event, count, as_json))


async def _events(address: str, topic: str, event: str | None, count: int | None, as_json: bool) -> None:
    from zconnector.worker import Client

    async with Client(address) as client:
        left = count
        async for found in client.events(topic, event):
            if as_json:
                emit(dataclasses.asdict(found))
            else:
                time = (
                    datetime.fromtimestamp(found.timestamp).strftime("%H:%M:%S") if found.timestamp else "-"
                )
                about = f" about {found.reference}" if found.reference else ""
                click.echo(f"{time} {found.topic} {found.event} {found.payload}{about}")
            if left is not None:
                left -= 1
                if left == 0:
                    return


async def _reply(address: str, command_name: str, uuid: str, as_json: bool) -> None:
    from zconnector.worker import Client

    async with Client(address) as client:
        reply = await client.handle(uuid, command_name).reply()
        if as_json:
            emit({"uuid": uuid, **dataclasses.asdict(reply)})
        else:
            click.echo(f"{reply.event} {reply.payload}".rstrip())
