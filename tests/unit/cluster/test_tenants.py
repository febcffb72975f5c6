"""Nothing of one tenant ever reaches an instance of another."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cluster.bench import Bench, Instance, topology
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message

TENANTS = ("acme", "beta")
NAMES = st.sampled_from(["git", "ci", "ghost"])
UUIDS = st.sampled_from([f"u{n}" for n in range(4)])


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any message that passes the codec, with every field that could lead astray."""
    kind = draw(
        st.sampled_from(
            [
                Kind.COMMAND,
                Kind.EVENT,
                Kind.CONFIG,
                Kind.CONFIGURATION,
                Kind.SECRET,
                Kind.CONFIRM,
                Kind.PRESENCE,
                Kind.FETCH,
            ]
        )
    )
    header: dict[str, Any] = {
        "uuid": draw(UUIDS),
        "tenant": draw(st.sampled_from(TENANTS)),
        "source": draw(NAMES),
        "recipient": draw(st.one_of(st.just(""), NAMES)),
        "reference": draw(UUIDS),
        "target": draw(NAMES),
        "name": draw(NAMES),
        "kind": "connector",
        "instance": "0",
        "type": draw(st.sampled_from(["Git", "Ci"])),
        "command": draw(st.sampled_from(["DO", "GET", "SAVE", "PUT_IMPLICIT", "PUT_ABSENT", "VALIDATE"])),
        "topic": "DO",
        "event": draw(st.sampled_from(["ON_GOING", "REJECTED", "NO_ROUTE", "SUCCES", "E"])),
        "timeout": 1000,
        "accept_until": 1_700_001_001_000,
        "after": 0,
        "upto": 5,
        "number": 0,
        "key": "k" * 40,
    }
    if kind is Kind.CONFIRM:
        header["entries"] = [[draw(UUIDS), 0]]
    elif kind is Kind.PRESENCE:
        header["entries"] = draw(st.lists(NAMES, max_size=3))
    flags = Flag.NONE
    if kind is Kind.EVENT and draw(st.booleans()):
        flags = Flag.RECEIPT
    return Message(kind, header, b'{"major":1,"minor":0,"commands":["X"]}', flags)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 3), messages()), max_size=40))
def test_tenants_never_mix(steps: list[tuple[int, Message]]) -> None:
    bench = Bench(strict=False)
    instances: list[Instance] = []
    for tenant in TENANTS:
        instances += topology(tenant, "ab", bench)[1]
    for instance in instances:
        instance.take()
    for index, message in steps:
        sender = instances[index]
        # what only this tenant knows travels in a field that every hop keeps
        sender.give(message.with_fields(context=f"of {sender.tenant}"))
        for receiver in instances:
            for heard in receiver.take():
                context = heard.text("context")
                assert context in ("", f"of {receiver.tenant}")
                assert heard.text("tenant") in ("", receiver.tenant)
                if receiver.tenant != sender.tenant:
                    raise AssertionError(f"{sender.tenant} made {receiver.tenant} hear {heard}")
    journals = {tenant: bench.store.events(tenant, 0, 10**6, 10**6, 10**9) for tenant in TENANTS}
    for tenant, lines in journals.items():
        assert {line.entry.header["context"] for line in lines if line.entry} <= {f"of {tenant}"}


def test_the_same_uuid_in_two_tenants_is_two_commands_and_two_sequences() -> None:
    bench = Bench()
    (a,) = topology("acme", "a", bench)[1]
    (z,) = topology("beta", "a", bench)[1]
    for instance in (a, z):
        instance.command("u1", "git", "Ci", "DO", payload=instance.tenant.encode())
        (given_command,) = instance.take(Kind.COMMAND)
        assert given_command.payload == instance.tenant.encode()
        instance.event("e1", "git")
        (confirm,) = instance.take(Kind.CONFIRM)
        assert confirm.header["entries"] == [["e1", 1]]
    a.take()
    z.receipt(given_command, "ON_GOING", source="ci")
    assert [m.reference for m in z.take()] == ["u1"]
    assert a.take() == []
    assert bench.router.status(bench.now)["in_flight"] == 1
