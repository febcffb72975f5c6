"""`zconnector connector`: a connector: router, local queue, gRPC worker service."""

from __future__ import annotations

from zconnector.cli.component import component_command
from zconnector.settings import ConnectorSettings


def _run(settings: ConnectorSettings) -> int:
    from zconnector.connector.process import run

    return run(settings)


command = component_command(
    "connector",
    ConnectorSettings,
    _run,
    help="""Run a connector in the foreground: router, local queue and gRPC worker service.

    Tenant, name and type come from its enrolment (`zconnector secret create connector`), which is
    kept in the state directory after the first start. Workers dial the address of --grpc.
    Ends on SIGTERM or Ctrl-C, after a drain.
    """,
    epilog="Example: zconnector connector --state-dir /var/lib/zconnector/git --enrolment-file git.enrolment",
)
