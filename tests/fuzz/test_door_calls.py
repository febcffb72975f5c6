"""Any calls of a front end in any order, on a disk that fails now and then: nothing raises."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.fuzz.profile import seeds
from tests.fuzz.test_doors import ANYTHING, NAMES, OPS, VERBS
from tests.support.connector import Connector, command
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message

STEPS = 300
LEASES = ("take", "settle", "tidings", "adopt", "give_back")


def leases(con: Connector) -> list[dict[str, Any]]:
    """What was taken so far, the last ten."""
    answers = [respond.args for respond in con.responses.values() if respond.error is None]
    return [entry for args in answers for entry in args.get("commands", ())][-10:]


def of_a_lease(rng: random.Random, con: Connector) -> dict[str, Any]:
    """Arguments that are about leases, most of which exist or did."""
    args: dict[str, Any] = {
        "holder": rng.choice(("h1", "h2", "")),
        "worker": "w",
        "major": 1,
        "minor": 0,
        "commands": ["CLONE"],
        "limit": rng.randrange(1, 4),
        "wait_ms": rng.choice((-1, 0, 100)),
    }
    taken = leases(con)
    if taken:
        lease = rng.choice(taken)
        known = {"uuid": lease["uuid"], "token": lease["token"]}
        outcome = rng.choice(("ack", "fail", "nak", "progress"))
        more = {"event": rng.choice(("", "E")), "extend": rng.choice((0, 1_000))}
        args["outcomes"] = [{**known, "outcome": outcome, **more}]
        if rng.random() < 0.7:
            args["leases"] = [known]
    return args


@pytest.mark.parametrize("seed", seeds(8))
def test_any_calls_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    con = Connector(["a"])
    con.ready()
    answered = 0
    for number in range(STEPS):
        if rng.random() < 0.1 and con.router.shoset.peers(upward=True):
            key, priority = rng.choice(("", "k")), rng.randrange(10)
            wishes: dict[str, Any] = {
                "ttl": rng.choice((0, 5_000)),
                "delay": rng.choice((0, 900)),
                "order_key": key,
            }
            con.hear("a", command(f"c{number}", priority=priority, **wishes))
        op = rng.choice(OPS)
        args = {
            name: rng.choice(ANYTHING) for name in rng.sample(NAMES, rng.randrange(8)) if name != "payload"
        }
        if op == "operate":
            args["verb"] = rng.choice(VERBS)
        if rng.random() < 0.5:
            op, args = rng.choice(LEASES), of_a_lease(rng, con)
        con.full = rng.random() < 0.1
        call = con.call(op, rng.randbytes(rng.choice((0, 0, 8))), **args)
        con.full = False
        if rng.random() < 0.2:
            con.cancel(call)
        if rng.random() < 0.2:
            con.wait(rng.choice((0.01, 1.0, 4.0, 11.0)))
        if rng.random() < 0.01:
            con = con.restart()
    for respond in con.responses.values():
        answered += respond.error is None
        encode_one(Message(Kind.RESULT, {"call": 1, "args": dict(respond.args)}, respond.payload))
    assert answered
