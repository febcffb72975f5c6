"""`zconnector aggregator`: one instance of an aggregator."""

from __future__ import annotations

from zconnector.cli.component import component_command, starting
from zconnector.settings import AggregatorSettings


def _run(settings: AggregatorSettings) -> int:
    with starting():
        from zconnector.aggregator.process import run

    return run(settings)


command = component_command(
    "aggregator",
    AggregatorSettings,
    _run,
    help="""Run one instance of an aggregator in the foreground.

    Tenant, name and instance come from its enrolment (`zconnector secret create aggregator`),
    which is kept in the state directory after the first start. Ends on SIGTERM or Ctrl-C.
    """,
    epilog="Example: zconnector aggregator --state-dir /var/lib/zconnector/agg1-a --bind tcp://0.0.0.0:7100"
    " --enrolment-file agg1-a.enrolment",
)
