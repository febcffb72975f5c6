"""`zconnector connector`: a connector: router, local queue, gRPC worker service."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from zconnector.cli.component import component_command, starting
from zconnector.settings import ConnectorSettings

_FOR_WORKERS = ("LANG", "LC_ALL", "TZ", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What supervised workers get of the environment beside PATH: nothing that could be a secret."""


def _environ() -> dict[str, str]:
    """The interpreter's own directory comes first in PATH, so that a worker in Python finds this SDK."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {"PATH": path, **{name: os.environ[name] for name in _FOR_WORKERS if name in os.environ}}


def _run(settings: ConnectorSettings) -> int:
    with starting():
        from zconnector.connector.process import run

    return run(settings, _environ())


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
