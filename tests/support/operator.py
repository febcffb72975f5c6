"""An operator at a connector's core: the same verbs through the door and through the control socket."""

from __future__ import annotations

from typing import Any

import orjson

from tests.support.connector import Connector, command
from zconnector.errors import Refusal

NOT_UTF8 = b"\xff\xfe"


def through_the_door(con: Connector, verb: str, payload: bytes = b"", **args: Any) -> dict[str, Any]:
    """The result; a payload beside it is under `payload` (bytes). The test fails when it is refused."""
    call = con.call("operate", payload, verb=verb, **args)
    respond = con.responses[call]
    assert respond.error is None, respond.error
    result, rest = dict(respond.args), respond.payload
    if set(result) == {"json"}:
        result, rest = orjson.loads(rest[: result["json"]]), rest[result["json"] :]
    return {**result, "payload": rest} if rest else result


def control(con: Connector, verb: str, **args: Any) -> Any:
    """What the control socket answers: the result, or the refusal; None: nothing yet."""
    heard: list[Any] = []
    con.do(con.machine.control("operate", {"verb": verb, **args}, con.now, heard.append))
    assert len(heard) <= 1, "answered twice"
    return heard[0] if heard else None


def refused(con: Connector, verb: str, **args: Any) -> Refusal:
    answer = control(con, verb, **args)
    assert isinstance(answer, Refusal), answer
    return answer


def kill(con: Connector, *uuids: str, payload: bytes = NOT_UTF8, name: str = "PULL", **fields: Any) -> None:
    """Commands that arrive and that no waiter can be handed: dead letters."""
    call = con.wait_command(name)
    for uuid in uuids:
        con.hear(next(iter(con.links)), command(uuid, name, payload, **fields))
    con.cancel(call)
