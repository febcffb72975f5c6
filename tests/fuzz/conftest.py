"""What the fuzzers of several doors share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.fuzz.served import Served


@pytest.fixture
def context() -> Any:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
async def served(context: Any, tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(context, f"ipc://{tmp_path}/door.sock")
    made.door.start()
    yield made
    made.door.stop()
