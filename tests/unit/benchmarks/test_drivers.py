"""Each driver is answered by its own worker, whichever others are there: its figures are not another's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks import noop_worker, sdk
from tests.benchmarks.drivers.gandalf import GandalfDriver
from tests.benchmarks.sdk import SdkDriver
from tests.benchmarks.workload import OK, DriverError, answer, served_by
from zconnector.worker.results import Reply

_WORKERS = {noop_worker.MAJOR: "gandalf", sdk.MAJOR: "v1"}


class Connectors:
    """As a Client: a command that names no major goes to the newest worker, as in the real ones."""

    async def send_command(self, type: str, command: str, payload: str, *, major: int = 0) -> Answered:
        return Answered(_reply(major))

    async def send(self, type: str, command: str, payload: str, *, major: int = 0, **options: Any) -> Reply:
        return _reply(major)


class Answered:
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def reply(self, timeout: float) -> Reply:  # noqa: ASYNC109
        return self._reply


def _reply(major: int) -> Reply:
    text = answer(_WORKERS[major or max(_WORKERS)])
    return Reply(True, "SUCCES", text, "", "", text.encode())


async def test_the_driver_of_the_gandalf_api_is_served_by_its_worker() -> None:
    connectors: Any = Connectors()
    assert await GandalfDriver(connectors).send("x") == OK


async def test_the_driver_of_v1_is_served_by_its_worker() -> None:
    connectors: Any = Connectors()
    assert await SdkDriver(connectors, "Ci", "", 1).send("x") == OK


def test_another_worker_s_answer_is_no_figure() -> None:
    with pytest.raises(DriverError, match="another worker"):
        served_by("gandalf", answer("v1"))
