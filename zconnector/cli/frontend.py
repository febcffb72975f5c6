"""`zconnector frontend`: a gRPC front end of a connector in a process of its own."""

from __future__ import annotations

from zconnector.cli.component import component_command, starting
from zconnector.settings import FrontEndSettings


def _run(settings: FrontEndSettings) -> int:
    with starting():
        from zconnector.connector.frontend import run

    return run(settings)


command = component_command(
    "frontend",
    FrontEndSettings,
    _run,
    help="""Run a gRPC front end for a connector of this machine in the foreground.

    Workers dial its own address; everything they do happens in the connector's queue. Several may run
    beside the connector, and each may be killed and started again at any time.
    """,
    epilog="Example: zconnector frontend --state-dir /run/git-1 --connector /var/lib/zconnector/git",
)
