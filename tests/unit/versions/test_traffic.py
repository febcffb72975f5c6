"""What the router is told of the versions' traffic, step by step of an update."""

from __future__ import annotations

from typing import Any

from tests.unit.versions.world import V10, V11, World
from zconnector.versions.traffic import CANARY, steering


def told(world: World) -> dict[str, Any]:
    return steering(world.manager, lambda version: f"W-{version}", ["W-1.0", "W-1.1"], [])


def test_a_pin_to_a_version_before_its_gate_waits_for_the_gate() -> None:
    """Its contexts went to it as soon as it had registered: traffic for one that nobody had tried yet."""
    gate = {"seconds": 3, "canary": {"command": "PING"}}
    world = World({"versions": ["1.0"], "pins": {"blue": "1.1", "red": "1.0"}, "gate": gate}, [V10, V11])
    world.settle()
    world.configure(versions=["1.1"])
    seen: list[dict[str, Any]] = []
    for _ in range(60):
        while world.step():
            if world.manager.held:
                seen.append(told(world))
        world.second()
    held = [each["pins"] for each in seen if each["held"] == ["W-1.1"]]
    assert {"red": "1.0", f"{CANARY}1.1": "1.1"} in held
    assert all("blue" not in pins for pins in held)
    assert told(world)["pins"] == {"blue": "1.1", "red": "1.0"}
