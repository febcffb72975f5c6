"""WIRE.md section 15, read back from live sockets; what cannot be read back is shown by what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zmq

from tests.integration.toys import Toy, event, opening
from zconnector.actions import Transmit
from zconnector.messages.codec import encode
from zconnector.runtime.driver import Driver
from zconnector.runtime.options import set_router
from zconnector.runtime.sockets import Sockets
from zconnector.settings import ProcessSettings
from zconnector.shoset.keys import KeyPair

COMMON = {
    zmq.MAXMSGSIZE: 4_194_304,
    zmq.HANDSHAKE_IVL: 2_000,
    zmq.SNDHWM: 2_048,
    zmq.RCVHWM: 2_048,
    zmq.LINGER: 0,
    zmq.HEARTBEAT_IVL: 0,
    zmq.MECHANISM: zmq.CURVE,
}
ROUTER = {
    zmq.CURVE_SERVER: 1,
    zmq.ZAP_DOMAIN: b"zconnector",
    zmq.ZAP_ENFORCE_DOMAIN: 1,
    zmq.BACKLOG: 512,
    zmq.TYPE: zmq.ROUTER,
}
DEALER = {
    zmq.IMMEDIATE: 1,
    zmq.RECONNECT_IVL: -1,
    zmq.CURVE_SERVER: 0,
    zmq.TYPE: zmq.DEALER,
}


class Live:
    """A driver that bound and has one link to itself."""

    def __init__(self, state_dir: Path) -> None:
        self.driver = Driver(ProcessSettings(state_dir), KeyPair.fresh())
        self.toy = Toy()
        self.driver.attach(self.toy)
        endpoint = self.driver.bind("tcp://127.0.0.1:0")
        self.toy.at_start = [opening(endpoint, self.driver.keys)]

    @property
    def sockets(self) -> Sockets:
        return self.driver._sockets

    @property
    def router(self) -> zmq.Socket[bytes]:
        assert self.sockets.router is not None
        return self.sockets.router


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    made = Live(tmp_path)
    running = asyncio.ensure_future(made.driver.run(signals=False))
    await made.toy.hear("opened")
    yield made
    made.driver.stop()
    assert await running is None


@pytest.mark.parametrize(("option", "value"), {**COMMON, **ROUTER}.items())
async def test_router(live: Live, option: int, value: int | bytes) -> None:
    assert live.router.getsockopt(option) == value


@pytest.mark.parametrize(("option", "value"), {**COMMON, **DEALER}.items())
async def test_dealer(live: Live, option: int, value: int | bytes) -> None:
    assert live.sockets.dealer(1).getsockopt(option) == value


async def test_context(live: Live) -> None:
    assert live.driver.context.get(zmq.MAX_SOCKETS) == 8_192
    assert live.driver.context.get(zmq.IO_THREADS) == 1


async def test_router_mandatory_refuses_a_peer_that_is_not_there(live: Live) -> None:
    with pytest.raises(zmq.ZMQError) as caught:
        live.router.send_multipart([b"nobody", b"x"], zmq.NOBLOCK)
    assert caught.value.errno == zmq.EHOSTUNREACH
    assert not live.sockets.transmit(b"nobody", [b"x"])


async def test_a_dealer_that_is_not_connected_takes_nothing(live: Live) -> None:
    live.sockets.open(2, "tcp://127.0.0.1:1", live.driver.keys.public)
    assert not live.sockets.transmit(2, encode([event("x")])[0])
    assert not live.sockets.transmit(99, encode([event("x")])[0])


async def test_a_socket_that_is_full_takes_nothing_and_loses_nothing(live: Live) -> None:
    frames = encode([event("x", bytes(10_000))])[0]
    taken = 0
    while live.sockets.transmit(1, frames):
        taken += 1
    assert taken >= 2_048
    for _ in range(taken):
        await live.toy.hear("frames")
    live.driver.feed([Transmit(1, (event("last"),))])
    heard = await live.toy.hear("frames")
    assert [message.uuid for message in heard[3]] == ["last"]


async def test_without_a_zap_handler_nobody_is_admitted(live: Live) -> None:
    other = zmq.Context[zmq.Socket[bytes]]()
    try:
        unguarded = other.socket(zmq.ROUTER)
        keys = KeyPair.fresh()
        set_router(unguarded, keys)
        port = unguarded.bind_to_random_port("tcp://127.0.0.1")
        live.driver.feed([opening(f"tcp://127.0.0.1:{port}", keys, 5)])
        assert (await live.toy.hear("lost"))[1] == 5
    finally:
        other.destroy(0)


async def test_closing_a_dealer_closes_its_monitor(live: Live) -> None:
    before = len(live.driver.context._sockets)
    live.sockets.open(2, "tcp://127.0.0.1:1", live.driver.keys.public)
    assert len(live.driver.context._sockets) == before + 2
    live.sockets.close_link(2)
    assert len([each for each in live.driver.context._sockets if not each.closed]) == before
