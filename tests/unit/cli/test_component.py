"""What the commands that run one component have in common."""

from __future__ import annotations

import subprocess
import sys

import pytest

STARTING = """
import gc, sys
from zconnector.cli.component import starting
with starting():
    assert not gc.isenabled()
    import zconnector.{module}
assert gc.isenabled()
assert "structlog" in sys.modules
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("rich", "jsonschema")))
import rich.console
import structlog
structlog.dev.ConsoleRenderer()(None, "error", {{"event": "it logs"}})
"""


@pytest.mark.parametrize(
    "module", ["aggregator.process", "cluster.process", "connector.process", "connector.frontend"]
)
def test_a_process_starts_without_what_it_does_not_need(module: str) -> None:
    """It can have rich later, and logs for people as well."""
    argv = [sys.executable, "-c", STARTING.format(module=module)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == []
