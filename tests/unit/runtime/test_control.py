from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from zconnector.errors import NotRunningError, Reason, Refusal, ZConnectorError
from zconnector.runtime.control import MAX_LINE, ControlServer, Reply, request

WAIT = 10.0


class Component:
    """Answers `echo`, refuses `refuse`, keeps `hold` for the test to answer."""

    def __init__(self, state_dir: Path) -> None:
        self.server = ControlServer(state_dir, self.handle)
        self.held: asyncio.Queue[Reply] = asyncio.Queue()

    def handle(self, op: str, args: Mapping[str, Any], reply: Reply) -> None:
        if op == "echo":
            reply(args)
        elif op == "refuse":
            reply(Refusal(Reason.NOT_FOUND, "no such thing"))
        else:
            self.held.put_nowait(reply)


@pytest.fixture
async def component(tmp_path: Path) -> AsyncIterator[Component]:
    made = Component(tmp_path)
    await made.server.start()
    yield made
    await made.server.close()


async def ask(state_dir: Path, op: str, args: dict[str, Any] | None = None, within: float = WAIT) -> Any:
    return await asyncio.to_thread(request, state_dir, op, args or {}, within)


def left(state_dir: Path) -> set[str]:
    return {each.name for each in state_dir.iterdir()}


async def connect(state_dir: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(state_dir / "control.sock", limit=MAX_LINE)


@pytest.mark.usefixtures("component")
async def test_a_request_is_answered(tmp_path: Path) -> None:
    assert await ask(tmp_path, "echo", {"a": [1, "é"]}) == {"a": [1, "é"]}
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600


@pytest.mark.usefixtures("component")
async def test_a_large_answer_is_whole(tmp_path: Path) -> None:
    assert await ask(tmp_path, "echo", {"a": "x" * 4_000_000}) == {"a": "x" * 4_000_000}


@pytest.mark.usefixtures("component")
async def test_a_refusal_keeps_its_reason(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        await ask(tmp_path, "refuse")
    assert (caught.value.reason, caught.value.detail) == (Reason.NOT_FOUND, "no such thing")


@pytest.mark.usefixtures("component")
@pytest.mark.parametrize(
    "bad",
    [
        *(b"nonsense", b"[]", b"{}", b'{"op": 5}', b'{"op": "echo", "args": []}', b"\xff\xfe", b""),
        b'{"op": "echo", "args": {"name": ' + b"[" * 1000 + b"]" * 1000 + b"}}",
    ],
)
async def test_a_bad_request_is_refused_and_the_connection_lives(tmp_path: Path, bad: bytes) -> None:
    reader, writer = await connect(tmp_path)
    writer.write(bad + b"\n" + b'{"op": "echo", "args": {"still": "here"}}\n')
    first = orjson.loads(await asyncio.wait_for(reader.readline(), WAIT))
    second = orjson.loads(await asyncio.wait_for(reader.readline(), WAIT))
    writer.close()
    assert first["error"]["reason"] == "BAD_ARGUMENT"
    assert second == {"ok": {"still": "here"}}


@pytest.mark.usefixtures("component")
async def test_a_line_without_end_is_refused_and_closed(tmp_path: Path) -> None:
    reader, writer = await connect(tmp_path)
    writer.write(b"x" * (MAX_LINE + 65_536))
    answer = orjson.loads(await asyncio.wait_for(reader.readline(), WAIT))
    assert answer["error"]["reason"] == "TOO_LARGE"
    writer.close()
    assert await ask(tmp_path, "echo") == {}


async def test_an_answer_may_come_later_and_holds_nobody_up(component: Component, tmp_path: Path) -> None:
    slow = asyncio.ensure_future(ask(tmp_path, "hold"))
    reply = await asyncio.wait_for(component.held.get(), WAIT)
    assert await ask(tmp_path, "echo", {"quick": True}) == {"quick": True}
    reply({"late": True})
    assert await slow == {"late": True}


async def test_a_client_that_left_is_no_error(component: Component, tmp_path: Path) -> None:
    _, writer = await connect(tmp_path)
    writer.write(b'{"op": "hold"}\n')
    reply = await asyncio.wait_for(component.held.get(), WAIT)
    writer.close()
    await writer.wait_closed()
    reply({})
    assert await ask(tmp_path, "echo") == {}


async def test_no_answer_in_time_is_not_running(component: Component, tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match=r"within 0\.05 s"):
        await ask(tmp_path, "hold", within=0.05)
    await asyncio.wait_for(component.held.get(), WAIT)


async def test_an_end_before_the_answer_is_not_running(component: Component, tmp_path: Path) -> None:
    waiting = asyncio.ensure_future(ask(tmp_path, "hold"))
    await asyncio.wait_for(component.held.get(), WAIT)
    await component.server.close()
    with pytest.raises(NotRunningError):
        await waiting
    assert left(tmp_path) == set()


def test_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="nothing runs"):
        request(tmp_path, "status", {}, WAIT)


async def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    first, second = Component(tmp_path), Component(tmp_path)
    await first.server.start()
    await second.server.start()
    assert await ask(tmp_path, "echo") == {}
    await second.server.close()
    await first.server.close()


async def test_a_path_that_is_too_long_falls_back(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    component = Component(deep)
    path = await component.server.start()
    assert path.parent != deep
    assert await ask(deep, "echo", {"a": 1}) == {"a": 1}
    await component.server.close()
    assert left(deep) == set()


def test_a_reason_of_a_newer_component_is_still_told(tmp_path: Path) -> None:
    from zconnector.runtime.control import _refusal

    error = _refusal({"reason": "BRAND_NEW", "detail": "told"})
    assert type(error) is ZConnectorError
    assert str(error) == "BRAND_NEW: told"
