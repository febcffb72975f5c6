"""Aggregator instances that die or freeze: what a sender hears, and when (DESIGN section 3, promise 7).

All tests share one topology; each begins with everything alive. The bounds are the promises themselves, so
they are asserted as they stand; what was measured is printed (`-s`).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from tests.support.scene import Scene
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc as stubs
from zconnector.worker import Client, NotSent, OutcomeUnknown

pytestmark = [pytest.mark.quiet, pytest.mark.asyncio(loop_scope="module")]

INSTANCES = ("agg1/a", "agg1/b", "agg1/c")
SLACK = 0.1
"""Seconds after its timeout in which a sender has heard how its command ended."""
T = 3.0
TWO_LOST = 2 * T / 3 + 0.2
NOTICED = 3.0
USED_AGAIN = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("lost") / "dev")
    try:
        yield await scene.start()
    finally:
        await scene.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def scene(standing: Scene) -> Scene:
    await standing.restore()
    return standing


@pytest_asyncio.fixture(loop_scope="module")
async def git(scene: Scene) -> AsyncIterator[Client]:
    async with Client(scene.grpc("git")) as client:
        await accepted(client)
        yield client


async def accepted(client: Client, timeout: float = 5.0) -> float:  # noqa: ASYNC109  # travels with it
    """Send one command that must be receipted; the seconds it took."""
    begun = time.monotonic()
    await client.send_command("Ci", "ANYTHING", timeout=timeout)
    return time.monotonic() - begun


async def kill(scene: Scene, label: str) -> None:
    await scene.kill(label)


async def freeze(scene: Scene, label: str) -> None:
    scene.signal(label, signal.SIGSTOP)


Lose = Callable[[Scene, str], Awaitable[None]]
either = pytest.mark.parametrize("lose", [kill, freeze])


async def lose_all(scene: Scene, lose: Lose, labels: tuple[str, ...] = INSTANCES) -> None:
    await asyncio.gather(*(lose(scene, label) for label in labels))


@dataclass(frozen=True, slots=True)
class Heard:
    """What one send ended in."""

    outcome: str
    timeout: float
    seconds: float
    uuid: str

    @property
    def over(self) -> float:
        """Seconds later than its timeout (negative: earlier)."""
        return self.seconds - self.timeout


async def send(client: Client, timeout: float) -> Heard:  # noqa: ASYNC109
    begun = time.monotonic()
    try:
        uuid = (await client.send_command("Ci", "ANYTHING", timeout=timeout)).uuid
        outcome = "ACCEPTED"
    except (NotSent, OutcomeUnknown) as error:
        outcome, uuid = type(error).__name__, error.uuid
    return Heard(outcome, timeout, time.monotonic() - begun, uuid)


@either
async def test_a_sender_hears_in_time_that_all_are_lost(scene: Scene, git: Client, lose: Lose) -> None:
    """At once after the loss (shares run out, the outcome is unknown), and when it is known (not sent)."""
    async with scene.log("git", from_end=False) as log:
        await lose_all(scene, lose)
        heard = await asyncio.gather(*(send(git, timeout) for timeout in (0.3, 0.6, 1.0, 1.5) * 5))
        await log.until(lambda: not log.live(), NOTICED)
        later = await asyncio.gather(*(send(git, 1.0) for _ in range(5)))
    print(f"{lose.__name__}: at most {max(h.over for h in heard):+.3f} s over the timeout")
    assert {h.outcome for h in heard} <= {"NotSent", "OutcomeUnknown"}
    assert max(h.over for h in heard) <= SLACK, heard
    assert {h.outcome for h in later} == {"NotSent"}
    assert max(h.seconds for h in later) <= 0.5


async def call(
    stub: stubs.ConnectorCommandStub, timeout_ms: int
) -> tuple[float, str, grpc.aio.AioRpcError | None, str]:
    """SendCommandMessage as a Gandalf client does it: seconds, uuid or error, outcome."""
    begun = time.monotonic()
    message = pb.CommandMessage(
        UUID=f"g-{time.monotonic_ns()}", ConnectorType="Ci", Command="ANYTHING", Timeout=str(timeout_ms)
    )
    pending = stub.SendCommandMessage(message)
    try:
        answer = await pending
    except grpc.aio.AioRpcError as error:
        return time.monotonic() - begun, "", error, ""
    outcome = metadata.value(await pending.trailing_metadata(), metadata.OUTCOME)
    assert answer.UUID == message.UUID
    return time.monotonic() - begun, answer.UUID, None, outcome


async def test_a_gandalf_client_hears_a_definite_error_only_after_its_second_of_retrying(
    scene: Scene, git: Client
) -> None:
    async with scene.log("git") as log:
        await lose_all(scene, kill)
        await log.until(lambda: not log.live(), NOTICED)
    async with grpc.aio.insecure_channel(scene.grpc("git")) as channel:
        stub = stubs.ConnectorCommandStub(channel)
        for seconds, _, error, _ in await asyncio.gather(*(call(stub, ms) for ms in (50, 500, 3000))):
            assert error is not None
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert metadata.value(error.trailing_metadata(), metadata.REASON) == "NO_AGGREGATOR"
            assert 1.0 <= seconds <= 1.0 + 2 * SLACK


async def test_a_gandalf_client_gets_its_uuid_when_the_outcome_is_unknown(scene: Scene, git: Client) -> None:
    await lose_all(scene, freeze)
    async with grpc.aio.insecure_channel(scene.grpc("git")) as channel:
        stub = stubs.ConnectorCommandStub(channel)
        answers = await asyncio.gather(*(call(stub, ms) for ms in (300, 900, 1500)))
    for (seconds, uuid, error, outcome), ms in zip(answers, (300, 900, 1500), strict=True):
        assert error is None
        assert (bool(uuid), outcome) == (True, "UNKNOWN")
        assert seconds <= ms / 1000 + SLACK
    status = await scene.ask("git")
    assert status["queue"]["unknown"] >= 3  # each ends in a receipt, or in a FAIL event


@either
async def test_events_wait_in_the_outbox_and_go_out_once_an_instance_is_back(
    scene: Scene, git: Client, lose: Lose
) -> None:
    topic = f"pushes-{lose.__name__}"
    wanted = {f"{topic}-{number}" for number in range(20)}
    seen: list[str] = []
    async with Client(scene.grpc("ci")) as ci:
        listening = asyncio.Event()

        async def listen() -> None:
            async for event in ci.events(topic):
                if event.event == "FIRST":
                    listening.set()
                else:
                    seen.append(event.uuid)
                if wanted <= set(seen):
                    return

        listener = asyncio.create_task(listen())
        await first_event(ci, topic, listening)
        await lose_all(scene, lose)
        for uuid in sorted(wanted):
            await git.send_event(topic, "PUSHED", uuid=uuid)
        status = await scene.ask("git")
        assert status["queue"]["outbox"]["count"] == len(wanted)
        assert not wanted & set(seen)
        if lose is kill:
            await scene.bring_back("agg1/b")
        else:
            scene.signal("agg1/b", signal.SIGCONT)
        await asyncio.wait_for(listener, 10)
    assert sorted(seen) == sorted(wanted)


async def first_event(client: Client, topic: str, listening: asyncio.Event) -> None:
    """Publish until the listener, which begins with what comes after it, has heard one."""
    while not listening.is_set():
        await client.send_event(topic, "FIRST")
        try:
            await asyncio.wait_for(listening.wait(), 0.2)
        except TimeoutError:
            continue


@either
async def test_with_two_of_three_lost_every_command_is_receipted_in_two_thirds(
    scene: Scene, git: Client, lose: Lose
) -> None:
    """30 commands: some under way when the two are lost, some sent before anybody has noticed, some after."""
    survivor = "agg1/a" if lose is kill else "agg1/c"
    lost = tuple(label for label in INSTANCES if label != survivor)
    under_way = [asyncio.create_task(accepted(git, T)) for _ in range(8)]
    await asyncio.gather(lose_all(scene, lose, lost))
    at_once = [asyncio.create_task(accepted(git, T)) for _ in range(14)]
    seconds = await asyncio.gather(*under_way, *at_once)
    for _ in range(8):
        seconds.append(await accepted(git, T))
    assert len(seconds) == 30
    print(f"{lose.__name__}: longest {max(seconds):.3f} s of {TWO_LOST:.1f} s")
    assert max(seconds) <= TWO_LOST, sorted(seconds)


@either
async def test_a_lost_instance_is_noticed_on_both_sides_within_three_seconds(
    scene: Scene, git: Client, lose: Lose
) -> None:
    async with scene.log("git") as source, scene.log("ci") as target:
        assert source.live() | target.live() <= {"a", "b", "c"}
        begun = time.monotonic()
        await lose(scene, "agg1/b")
        for log in (source, target):
            await log.until(lambda log=log: log.live() == {"a", "c"}, NOTICED)  # type: ignore[misc]
        seconds = time.monotonic() - begun
    print(f"{lose.__name__}: noticed after {seconds:.3f} s")
    assert seconds <= NOTICED
    for name in ("git", "ci"):
        status = await scene.ask(name)
        states = {up["instance"]: up["state"] for up in status["sessions"]["up"]}
        assert states.pop("b") != "LIVE"
        assert states == {"a": "LIVE", "c": "LIVE"}


async def test_the_cluster_notices_a_frozen_instance_within_three_seconds(scene: Scene, git: Client) -> None:
    begun = time.monotonic()
    scene.signal("agg1/b", signal.SIGSTOP)
    async with scene.log("git") as log:
        await log.until(lambda: log.live() == {"a", "c"}, NOTICED)
    while {peer["instance"] for peer in (await scene.ask("cluster/1"))["sessions"]["down"]} != {"a", "c"}:
        assert time.monotonic() - begun <= NOTICED


@either
async def test_an_instance_that_is_back_is_used_within_five_seconds(
    scene: Scene, git: Client, lose: Lose
) -> None:
    """It is the only one then, so what is receipted went through it."""
    await lose_all(scene, lose)
    async with scene.log("git") as log:
        await log.until(lambda: not log.live(), NOTICED)
        begun = time.monotonic()
        if lose is kill:
            back = asyncio.create_task(scene.bring_back("agg1/b"))
        else:
            scene.signal("agg1/b", signal.SIGCONT)
            back = asyncio.create_task(asyncio.sleep(0))
        await log.until(lambda: log.live() == {"b"}, USED_AGAIN)
        while (await send(git, 1.0)).outcome != "ACCEPTED":
            assert time.monotonic() - begun <= USED_AGAIN
        seconds = time.monotonic() - begun
        await back
    print(f"{lose.__name__}: used again after {seconds:.3f} s")
    assert seconds <= USED_AGAIN
