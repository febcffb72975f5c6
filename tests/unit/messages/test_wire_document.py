"""The code and `protos/WIRE.md` say the same: every row of its tables is held against the package."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.wire_document import DOCUMENT, ROOT, numbers, section, tables
from zconnector.configuration import keywords
from zconnector.connector import holding, journalling, outgoing, places, subscribing, tidings
from zconnector.errors import REASONS, Fault, Reason, WireError
from zconnector.messages import codec, kinds, retry
from zconnector.messages.codec import decode
from zconnector.messages.fields import ANSWERED, BOUNDS, FIELDS, NAMES, REQUIRED
from zconnector.messages.kinds import Flag, Kind
from zconnector.queue import awaiting, deliveries, listing, pauses, subscriptions, taking
from zconnector.settings import (
    AggregatorSettings,
    ClusterSettings,
    ConnectorSettings,
    QueueSettings,
    SessionSettings,
)
from zconnector.shoset import pace

_TYPES = {"str": str, "int": int, "bool": bool, "list": list, "object": dict}


def limits() -> dict[str, str]:
    return {row["what"]: row["value"] for row in tables(12)[0]}


# ---- sections 1 and 2


def test_magic_version_and_prefix() -> None:
    assert "magic `5A 43`" in section(1)
    assert bytes.fromhex("5A43") == kinds.MAGIC
    title = DOCUMENT.read_text(encoding="utf-8").splitlines()[0]
    assert title == f"# The zconnector wire protocol, version {kinds.VERSION}"
    assert list(codec.ACCEPTED_VERSIONS) == [v for v in (kinds.VERSION, kinds.VERSION - 1) if v >= 1]


def test_kinds() -> None:
    rows = tables(2)[0]
    assert {int(row["number"]): row["kind"] for row in rows} == {int(kind): kind.name for kind in Kind}
    assert len(rows) == len(Kind)


def test_flags() -> None:
    rows = tables(2)[1]
    assert {row["flag"]: int(row["bit"]) for row in rows} == {f.name: int(f) for f in Flag if f}


# ---- section 3


def test_fields_with_their_types_and_limits() -> None:
    documented = {row["field"]: (_TYPES[row["type"]], int(row["limit"] or 0)) for row in tables(3)[0]}
    assert documented == {name: (rule.type, rule.limit) for name, rule in FIELDS.items()}


def test_every_text_and_list_has_a_limit() -> None:
    unlimited = [name for name, rule in FIELDS.items() if rule.type in (str, list) and not rule.limit]
    assert unlimited == []


def test_names_are_what_the_document_says_of_names() -> None:
    assert "1 to 128 characters of `A-Z a-z 0-9 _ . -`" in " ".join(section(3).split())
    assert {FIELDS[name].limit for name in NAMES} == {128}
    of_128 = {name for name, rule in FIELDS.items() if rule.limit == 128}
    assert of_128 == set(NAMES), "a field of a name's length is a name"


def test_required_fields() -> None:
    documented = {row["kind"]: tuple(row["required"].split(", ")) for row in tables(3)[1]}
    assert documented == {kind.name: required for kind, required in REQUIRED.items()}
    assert set(REQUIRED) == set(Kind)


def test_kinds_that_have_answers() -> None:
    (listed,) = re.findall(r"An ANSWER \(of ([^)]*)\)", section(3))
    assert set(re.findall(r"[A-Z]+", listed)) == {kind.name for kind in ANSWERED}


# ---- section 10

_LOCAL = {Reason.NOT_FOUND, Reason.SHUTTING_DOWN, Reason.NOT_SENT}
"""Codes that never travel between processes: of the door (section 14) and of the command line."""


def test_reasons() -> None:
    documented = {
        row["reason"]: (row["whose fault"], {"yes": True, "no": False}[row["retried elsewhere"]])
        for row in tables(10)[0]
    }
    coded = {str(r): (str(facts.fault), facts.elsewhere) for r, facts in REASONS.items() if r not in _LOCAL}
    assert coded == documented


def test_faults() -> None:
    assert {row["whose fault"] for row in tables(10)[0]} <= {str(fault) for fault in Fault}


def test_every_reason_has_its_facts() -> None:
    assert set(REASONS) == set(Reason)


def test_reasons_that_other_sections_speak_of_exist() -> None:
    spoken = set(re.findall(r"(?:REJECTED|NO_ROUTE|ERROR|reason|letters?) `?([A-Z]+(?:_[A-Z]+)+)`?", _text()))
    assert len(spoken) >= 8, "the pattern finds what it is meant to find"
    assert spoken - {"NO_ROUTE"} <= {str(reason) for reason in Reason}


def _text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


# ---- section 11

_GOOD = [b"ZC\x01\x06\0\0\0\0", b'{"received":1}', b""]
_SAMPLES: dict[str, list[list[bytes]]] = {
    "number of frames not a multiple of 3, none, or over 256 messages": [[], _GOOD[:2], _GOOD * 257],
    "prefix not 8 bytes, or wrong magic": [[b"ZC", *_GOOD[1:]], [b"XC\x01\x06\0\0\0\0", *_GOOD[1:]]],
    "version neither N nor N-1": [[b"ZC\x09\x06\0\0\0\0", *_GOOD[1:]]],
    "unknown kind": [[b"ZC\x01\x63\0\0\0\0", *_GOOD[1:]]],
    "PACK without messages, with a kind that does not travel so, with sizes that do not add up": [
        [b"ZC\x01\0\0\0\0\0", packed, payload]
        for packed, payload in (
            (b"[]", b""),
            (b"{}", b""),
            (b"[7]", b""),
            (b'[[6,0,0,{"received":1}]]', b""),
            (b"[[0,0,0,[]]]", b""),
            (b'[[20,0,1,{"entries":[]}]]', b""),
            (b'[[20,0,0,{"entries":[]}]]', b"x"),
            (b'[[20,0,-1,{"entries":[]}],[20,0,1,{"entries":[]}]]', b""),
            (b'[[20,0,{"entries":[]}]]', b""),
            (b'[[true,0,0,{"entries":[]}]]', b""),
            (b'[[20,65536,0,{"entries":[]}]]', b""),
        )
    ],
    "header over 65,536 bytes, message over 4,000,000, transmission over 8,000,000": [
        [_GOOD[0], b'{"received":1}' + b" " * 65_536, b""],
        [*_GOOD[:2], bytes(4_000_000)],
        [*_GOOD[:2], bytes(3_900_000)] * 3,
    ],
    "header not UTF-8, not JSON, not an object, nested deeper than 32 levels": [
        [_GOOD[0], b'{"received":1,"x":"\xff"}', b""],
        [_GOOD[0], b"{", b""],
        [_GOOD[0], b"[]", b""],
        [_GOOD[0], b'{"x":' + b"[" * 32 + b"]" * 32 + b"}", b""],
    ],
    "required field missing, wrong type, over its limit": [
        [_GOOD[0], b"{}", b""],
        [_GOOD[0], b'{"received":"1"}', b""],
        [_GOOD[0], b'{"received":1,"op":"' + b"x" * 33 + b'"}', b""],
    ],
}


def bad_frames() -> list[dict[str, str]]:
    """The rows that the codec answers for; the others ZeroMQ does."""
    return [row for row in tables(11)[0] if "closed by ZeroMQ" not in row["error raised by the codec"]]


@pytest.mark.parametrize("row", bad_frames(), ids=lambda row: row["what arrives"])
def test_a_bad_frame_gets_the_error_of_its_row(row: dict[str, str]) -> None:
    reason = row["error raised by the codec"].split()[0]
    for frames in _SAMPLES[row["what arrives"]]:
        with pytest.raises(WireError) as caught:
            decode(frames)
        assert str(caught.value.reason) == reason
        assert caught.value.survives is (row["session"] == "stays")


def test_there_is_a_sample_for_every_row_and_no_other() -> None:
    assert set(_SAMPLES) == {row["what arrives"] for row in bad_frames()}


# ---- section 12 (and the times of sections 4, 5)

_SESSION, _QUEUE = SessionSettings(), QueueSettings()
_MIB, _GIB = 1 << 20, 1 << 30


def _connector() -> ConnectorSettings:
    return ConnectorSettings(state_dir=ROOT)


def test_limits_of_messages() -> None:
    table = limits()
    assert numbers(table["message, encoded"]) == [kinds.MAX_MESSAGE]
    assert numbers(table["header"]) == [kinds.MAX_HEADER]
    assert numbers(table["messages per transmission"]) == [kinds.MAX_BATCH]
    assert numbers(table["messages that we put into one"]) == [kinds.SENT_AT_ONCE]
    assert numbers(table["payload of a message that we pack"]) == [kinds.MAX_PACKED_PAYLOAD]
    assert numbers(table["bytes per transmission"]) == [kinds.MAX_TRANSMISSION]
    assert numbers(table["MAXMSGSIZE (one frame)"]) == [kinds.MAX_FRAME]
    assert kinds.MAX_MESSAGE < kinds.MAX_FRAME, "ZeroMQ closes no connection over a message that is allowed"


def test_limits_of_sessions() -> None:
    table = limits()
    member = ClusterSettings(state_dir=ROOT).session
    assert numbers(table["credit"]) == [_SESSION.credit, member.credit]
    paces = [_SESSION.rate, _SESSION.burst, member.rate, member.burst]
    assert numbers(table["pace of one peer"]) == paces
    assert numbers(table["commands under way of one connector at one instance"]) == [pace.COMMANDS_IN_FLIGHT]
    assert numbers(table["of these of one (type, command)"]) == [places.COMMANDS_OF_ONE_NAME]
    events = [pace.EVENTS_PER_SECOND, pace.EVENTS_AT_ONCE]
    assert numbers(table["broadcast events of one connector"]) == events
    assert numbers(table["sessions per bound socket"]) == [_SESSION.max_sessions, _SESSION.max_unvalidated]


def test_limits_of_commands() -> None:
    table = limits()
    in_flight = numbers(table["commands in flight per router"])
    assert in_flight == [outgoing._MAX_IN_FLIGHT]
    assert in_flight == [AggregatorSettings(state_dir=ROOT).max_in_flight]
    assert in_flight == [ClusterSettings(state_dir=ROOT).max_in_flight]
    looks = numbers(table["looks at a value while a payload is checked against its schema"])
    assert looks == [keywords.MAX_STEPS]
    assert numbers(table["timeout of a command"]) == [1, _connector().max_timeout_ms]


def test_limits_of_the_local_queue() -> None:
    table = limits()
    assert numbers(table["local queue, commands"]) == [_QUEUE.max_commands, _QUEUE.max_command_bytes // _GIB]
    assert numbers(table["commands sent from a connector that are under way or of unknown outcome"]) == [
        _QUEUE.max_unknown
    ]
    assert numbers(table["local queue, events retained"]) == [
        _QUEUE.max_events,
        _QUEUE.max_event_bytes // _MIB,
        int(_QUEUE.event_retention / 3600),
    ]
    assert numbers(table["outbox"]) == [_QUEUE.max_outbox, _QUEUE.max_outbox_bytes // _MIB]
    assert numbers(table["dead letters"]) == [_QUEUE.max_dead, _QUEUE.max_dead_bytes // _MIB]
    assert numbers(table["paused command names"]) == [pauses.MAX_PAUSES]
    assert numbers(table["iterators"])[0] == _QUEUE.max_iterators
    assert _QUEUE.iterator_idle == 3600 * numbers(table["iterators"])[1]
    assert numbers(table["dedupe window after DONE or DEAD"]) == [int(_QUEUE.dedupe_window * 1000)]
    assert _QUEUE.dedupe_window * 1000 >= _connector().max_timeout_ms + 60_000, "promise 3 of the design"


def test_limits_of_subscriptions() -> None:
    table = limits()
    assert numbers(table["subscriptions"]) == [subscriptions.MAX_SUBSCRIPTIONS, subscribing.MAX_TOPICS]
    out = numbers(table["events of a subscription that are out unacknowledged"])
    assert out == [subscribing.DEFAULT_UNACKED, 1, subscribing.MAX_UNACKED]
    assert numbers(table["lease of such an event"]) == [
        subscribing.DEFAULT_LEASE,
        subscribing.MIN_LEASE,
        subscribing.MAX_LEASE,
        int(deliveries.AFTER_RESTART * 1000),
    ]
    assert numbers(table["events of one take_events"]) == [subscribing.MAX_TAKE, listing.PAYLOADS]


def test_limits_of_awaited_replies() -> None:
    assert numbers(limits()["calls of await_reply that wait"]) == [awaiting.MAX_AWAITING]


def test_limits_of_leases_and_retries() -> None:
    table = limits()
    assert numbers(table["lease"]) == [round(_QUEUE.lease_limit * 1000), *BOUNDS["lease"]]
    assert BOUNDS["lease"] == (holding.MIN_LEASE_MS, holding.MAX_LEASE_MS)
    attempts = [int(limit) for limit in retry.RULES["attempts"]]
    assert numbers(table["attempts at a command"]) == [_QUEUE.retry_attempts, *attempts]
    pauses = [round(_QUEUE.retry_first * 1000), round(_QUEUE.retry_limit * 1000), retry.MAX_PAUSE_MS]
    assert numbers(table["pause between two attempts"]) == pauses
    assert retry.RetryPolicy() == (5, *pauses[:1], _QUEUE.retry_factor, pauses[1])
    assert numbers(table["delay, time to live of a command"]) == [retry.MAX_PAUSE_MS]
    assert BOUNDS["ttl"] == BOUNDS["delay"] == (0, retry.MAX_PAUSE_MS)
    adoption = numbers(table["adoption of a stream's leases after a restart"])
    assert adoption == [int(_QUEUE.adopt_within)]
    assert numbers(table["tidings, a stream asks again"]) == [int(tidings.ASK_WITHIN)]
    assert numbers(table["commands of one take"]) == [holding.MAX_BATCH]
    assert f"{taking.MAX_PAYLOADS:,} bytes of payload" in section(14)
    assert f"{taking.MAX_HEADERS:,} bytes of headers" in section(14)


def test_limits_of_a_journal_message() -> None:
    text = " ".join(section(8).split())
    limits = f"{journalling.MAX_RECORDS} records, {journalling.MAX_HEADERS:,} bytes of headers, "
    assert f"At most {limits}{journalling.MAX_PAYLOADS:,} of payload" in text
    again = (
        f"after {journalling.AGAIN_FIRST:.0f} s doubling to {journalling.AGAIN_LIMIT:.0f} s. Records never"
    )
    assert again in text


def test_limits_of_acknowledgements() -> None:
    assert f"1 to {subscribing.MAX_ACKNOWLEDGED:,} of" in section(14)


def test_limits_of_the_journal() -> None:
    cluster = ClusterSettings(state_dir=ROOT)
    assert numbers(limits()["journal"]) == [int(cluster.journal_days), cluster.journal_bytes // _GIB]


def test_every_limit_is_held_to_the_code_above() -> None:
    source = (ROOT / "tests/unit/messages/test_wire_document.py").read_text(encoding="utf-8")
    assert [what for what in limits() if f'["{what}"]' not in source] == []


def test_times_of_a_session() -> None:
    assert f"HEARTBEAT every {_SESSION.heartbeat * 1000:.0f} ms" in section(5)
    assert f"silent for {_SESSION.dead_after * 1000:,.0f} ms" in section(5)
    assert f"{_SESSION.greeting:.0f} s without WELCOME" in section(4)
    first, limit = _SESSION.backoff_first * 1000, _SESSION.backoff_limit
    assert f"{first:.0f} ms doubling to {limit:.0f} s" in section(4)
    assert "at once when a quarter of the credit" in section(5)


# ---- section 13


def reached() -> dict[str, set[str]]:
    """Every literal that the package reaches as a crash point, and the folders that reach it."""
    points: dict[str, set[str]] = {}
    for path in sorted((ROOT / "zconnector").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reach":
                (argument,) = node.args
                assert isinstance(argument, ast.Constant), f"{path}: a crash point is a literal"
                points.setdefault(str(argument.value), set()).add(path.parent.name)
    return points


def test_crash_points() -> None:
    assert set(reached()) == {row["point"] for row in tables(13)[0]}


def test_crash_points_are_reached_by_the_process_they_are_of() -> None:
    folders = {"connector": {"connector", "queue"}, "member": {"cluster"}}
    found = reached()
    for row in tables(13)[0]:
        assert found[row["point"]] <= folders[row["process"]], row["point"]


# ---- section 14


def operations() -> set[str]:
    """Every operation that a connector compares a call with."""
    files = ("calls.py", "steering.py")
    trees = [ast.parse((ROOT / "zconnector/connector" / name).read_text(encoding="utf-8")) for name in files]
    return {
        str(right.value)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == "op"
        for right in node.comparators
        if isinstance(right, ast.Constant)
    }


def test_operations_of_the_door() -> None:
    assert operations() == {row["op"] for row in tables(14)[0]}


def test_codes_of_the_door_exist() -> None:
    codes = re.findall(r"`error.code` is one of section 10, or (\w+) \([^)]*\), or (\w+)", section(14))
    assert [Reason(code) for code in codes[0]] == [Reason.NOT_FOUND, Reason.SHUTTING_DOWN]
