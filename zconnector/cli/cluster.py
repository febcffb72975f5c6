"""`zconnector cluster`: one cluster member."""

from __future__ import annotations

from zconnector.cli.component import component_command, starting
from zconnector.settings import ClusterSettings


def _run(settings: ClusterSettings) -> int:
    with starting():
        from zconnector.cluster.process import run

    return run(settings)


command = component_command(
    "cluster",
    ClusterSettings,
    _run,
    help="""Run one cluster member in the foreground.

    It validates secrets, stores configurations, resolves the target of every command, journals
    commands and events. Ends on SIGTERM or Ctrl-C.
    """,
    epilog="Example: zconnector cluster --state-dir /var/lib/zconnector/cluster --bind tcp://0.0.0.0:7000"
    " --advertise tcp://cluster1.example:7000",
)
