"""Who a worker is at the door: by its socket, or by what it calls itself."""

from __future__ import annotations

import pytest

from tests.support.scripted_door import ScriptedDoor
from zconnector.errors import Refusal
from zconnector.rpc.own_door import OwnDoor, SharedDoor


async def test_on_its_own_socket_it_is_whose_socket_it_is() -> None:
    door = ScriptedDoor()
    await OwnDoor(door, "Ci-1.0").call("register", {"worker": "else", "major": 1, "minor": 0, "commands": []})
    ((op, args, _),) = door.calls
    assert (op, args["worker"], args["own"]) == ("register", "Ci-1.0", True)


@pytest.mark.parametrize("op", ["register", "beat", "wait_command", "take"])
async def test_on_a_shared_socket_nobody_is_the_admin_worker(op: str) -> None:
    door = ScriptedDoor()
    with pytest.raises(Refusal, match="ADMIN"):
        await SharedDoor(door).call(op, {"worker": "ADMIN"})
    assert door.calls == []


async def test_on_a_shared_socket_others_pass_as_they_are() -> None:
    door = ScriptedDoor()
    args = {"worker": "w1", "major": 1, "minor": 0}
    await SharedDoor(door).call("beat", args)
    assert door.calls[0][1] == args
