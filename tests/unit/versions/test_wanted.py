"""What is read from a logical configuration, and what is said of each value that breaks its rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories import KEY, OTHER_KEY
from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError
from zconnector.supervision.states import Policy
from zconnector.versions.wanted import (
    Canary,
    Gate,
    Mode,
    Update,
    Wanted,
    WorkerSettings,
    parse_version,
)

V10, V11 = Version(1, 0), Version(1, 1)
PIN = str(KEY.public)


def test_nothing_said_is_the_defaults() -> None:
    wanted = Wanted.from_values({})
    assert wanted == Wanted()
    assert (wanted.versions, wanted.update.mode, wanted.gate) == ((), Mode.MANUAL, Gate(3.0, None))
    assert wanted.worker.policy() == Policy()
    assert Wanted.from_values({"versions": None, "worker": None, "keys": None}) == wanted


def test_keys_may_be_one_text_as_a_file_of_public_keys_has_them() -> None:
    wanted = Wanted.from_values({"repository": "file:///w", "repository_keys": f"{PIN}\n"})
    assert wanted.repository_keys == (PIN,)


def test_every_name_is_read() -> None:
    wanted = Wanted.from_values(
        {
            "product": "Jenkins",
            "repository": "https://workers.example/acme/",
            "repository_keys": [PIN, str(OTHER_KEY.public), PIN],
            "repository_warning": 30,
            "versions": ["1.10", "1.9", "1.10"],
            "shares": {"1.10": 10},
            "pins": {"customer 7": "1.9"},
            "keys": {"token": "s3cret", "retries": 3},
            "update": {"mode": "planned", "at": "03:30", "zone": "Europe/Paris"},
            "gate": {"seconds": 0, "canary": {"command": "PING", "payload": {"a": [1]}, "timeout": 2}},
            "worker": {"timeout": 500, "drain": 0, "start": 2, "hang": None, "limits": {"open_files": 64}},
            "type": "Ci",
            "strict": True,
            "max_timeout_ms": 600_000,
        }
    )
    v19, v110 = Version(1, 9), Version(1, 10)
    assert wanted == Wanted(
        product="Jenkins",
        repository="https://workers.example/acme",
        repository_keys=(PIN, str(OTHER_KEY.public)),
        repository_warning=30.0,
        versions=(v19, v110),
        shares={v110: 10},
        pins={"customer 7": v19},
        keys={"token": "s3cret", "retries": 3},
        update=Update(Mode.PLANNED, 0.0, "03:30", "Europe/Paris"),
        gate=Gate(0.0, Canary("PING", {"a": [1]}, 2.0)),
        worker=WorkerSettings(500, 0.0, 2.0, None, {"open_files": 64}),
    )
    assert wanted.worker.policy() == Policy(start=2.0, hang=None, drain=0.0)


def test_what_is_shown_of_it_has_no_keys() -> None:
    assert "s3cret" not in repr(Wanted.from_values({"keys": {"token": "s3cret"}}))


def test_a_version_is_read() -> None:
    assert parse_version("1.1") == V11
    for text in ("1", "1.", "1.128", "01.0", "1.0.0", "v1.0", " 1.0", "1.0\n", "١.٠"):
        with pytest.raises(ConfigError, match=r"must be MAJOR\.MINOR|from 0 to 127"):
            parse_version(text)


LONG = "é" * 65
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"product": 5}, "product must be a text (got 5)"),
    (
        {"product": "a/b"},
        "product must be 1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit",
    ),
    ({"repository": ["x"]}, "repository must be an address (got a list of 1)"),
    ({"repository": "http://example.org"}, "repository: address of a repository must be https"),
    ({"repository": "https://user:pw@example.org"}, "(got 'https://***@example.org')"),
    ({"repository": "https://example.org"}, "repository_keys must be given with repository"),
    ({"repository": "https://example.org", "repository_keys": []}, "repository_keys must be given"),
    ({"repository_keys": 7}, 'repository_keys must be a list, such as ["ed25519:..."] (got 7'),
    ({"repository_keys": [PIN, 7]}, "repository_keys[1] must be a text, ed25519:... (got 7)"),
    ({"repository_keys": ["ed25519:x"]}, "repository_keys[0]: a public key must be 'ed25519:' and base64"),
    ({"versions": "1.0"}, "versions must be a list, such as [\"1.0\"] (got '1.0')"),
    ({"versions": [1.1]}, 'versions[0] must be a text, "MAJOR.MINOR" (got 1.1)'),
    ({"versions": ["1.0", "1"]}, "versions[1]: a version must be MAJOR.MINOR (got '1')"),
    ({"versions": ["1.0"] * 33}, "versions must be at most 32 (got 33)"),
    ({"shares": [10]}, "shares must be an object (got a list of 1)"),
    ({"shares": {"1": 10}}, "shares: a name: a version must be MAJOR.MINOR (got '1')"),
    ({"shares": {"1.0": 101}}, "shares.1.0 must be a whole number of percent from 0 to 100 (got 101)"),
    ({"shares": {"1.0": 0.5}}, "shares.1.0 must be a whole number of percent from 0 to 100 (got 0.5)"),
    ({"shares": {"1.0": True}}, "shares.1.0 must be a whole number of percent from 0 to 100 (got True)"),
    ({"pins": {"": "1.0"}}, "pins: a context must be a text of 1 to 128 bytes (got '')"),
    ({"pins": {LONG: "1.0"}}, "pins: a context must be a text of 1 to 128 bytes (got 'é"),
    ({"pins": {"a": None}}, 'pins.a must be a text, "MAJOR.MINOR" (got nothing)'),
    ({"pins": {str(n): "1.0" for n in range(101)}}, "pins must be at most 100 (got 101)"),
    *(
        (
            {"repository_warning": value},
            f"repository_warning must be a number of days from 0 to 3,650 (got {said})",
        )
        for value, said in ((-1, "-1"), (3651, "3651"), ("7", "'7'"), (True, "True"))
    ),
    ({"keys": {"": 1}}, "keys: a name must be a text of 1 to 256 bytes (got '')"),
    ({"update": {}}, "update.mode must be manual, auto or planned (got nothing)"),
    ({"update": {"mode": "AUTO"}}, "update.mode must be manual, auto or planned (got 'AUTO')"),
    ({"update": {"mode": "auto"}}, "update.interval must be given where update.mode is auto"),
    (
        {"update": {"mode": "auto", "interval": 9}},
        "update.interval must be a number of seconds from 10 to 31,622,400 (got 9)",
    ),
    ({"update": {"mode": "planned", "at": "03:30"}}, "update.at and update.zone must be given"),
    *(
        (
            {"update": {"mode": "planned", "at": at, "zone": "UTC"}},
            f"update.at must be a time of day from 00:00 to 23:59:59, as HH:MM or HH:MM:SS (got '{at}')",
        )
        for at in ("24:00", "03:30:60", "03:30:1", "03:30:15:00", "03:30:", "03", "3:30", "03:30:15.5")
    ),
    ({"update": {"mode": "manual", "zone": "Europe/Pariss"}}, "(got 'Europe/Pariss')"),
    ({"update": {"mode": "manual", "zone": "Europe"}}, "update.zone must be a time zone that this machine"),
    ({"update": {"mode": "manual", "zone": "../../etc/passwd"}}, "update.zone must be a time zone"),
    (
        {"update": {"mode": "manual", "intervall": 5}},
        "update: unknown name 'intervall', did you mean 'interv",
    ),
    ({"gate": {"seconds": 601}}, "gate.seconds must be a number of seconds from 0 to 600 (got 601)"),
    ({"gate": {"seconds": float("nan")}}, "gate.seconds must be a number of seconds from 0 to 600 (got nan)"),
    ({"gate": {"seconds": 10**400}}, "gate.seconds must be a number of seconds from 0 to 600 (got a very l"),
    ({"gate": {"beats": 3}}, "gate: unknown name 'beats', must be one of seconds, canary"),
    ({"gate": {"canary": {}}}, "gate.canary.command must be a text of 1 to 256 bytes (got nothing)"),
    ({"gate": {"canary": {"command": "P", "timeout": 0}}}, "gate.canary.timeout must be a number of seconds"),
    (
        {"worker": {"timeout": 0}},
        "worker.timeout must be a whole number of milliseconds from 1 to 86,400,000",
    ),
    ({"worker": {"start": 0}}, "worker.start must be a number of seconds from 0.001 to 86,400 (got 0)"),
    ({"worker": {"drain": -1}}, "worker.drain must be a number of seconds from 0 to 86,400 (got -1)"),
    ({"worker": {"hang": "5"}}, "worker.hang must be a number of seconds from 0.001 to 86,400 (got '5')"),
    ({"worker": {"limits": {"files": 5}}}, "worker.limits: limit 'files' must be one of address_space"),
    ({"worker": {"limits": {"cpu": -1}}}, "worker.limits: limit cpu must be a whole number from 0 (got -1)"),
    ({"verions": []}, "configuration: unknown name 'verions', did you mean 'versions'?"),
    ({"Versions": []}, "configuration: unknown name 'Versions', did you mean 'versions'?"),
]


@pytest.mark.parametrize(("values", "said"), BROKEN)
def test_a_value_that_breaks_its_rule_is_named_with_it(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Wanted.from_values(values)
    assert said in str(refused.value)


@pytest.mark.parametrize("keys", ["s3cret", ["s3cret"], 5])
def test_no_error_tells_the_value_of_a_key(keys: object) -> None:
    with pytest.raises(ConfigError, match="keys must be an object of names and values") as refused:
        Wanted.from_values({"keys": keys})
    assert "s3cret" not in str(refused.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from(["1.0", "1.1", "0.127", "auto", "planned", "manual", "03:30", "UTC", PIN, "file:///x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4)
            | st.sampled_from(
                ["1.0", "mode", "interval", "at", "zone", "seconds", "canary", "command", "timeout"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NAMES = st.sampled_from([name for values, _ in BROKEN for name in values]) | st.text(max_size=9)


@given(st.dictionaries(NAMES, JSON, max_size=4) | JSON)
def test_any_json_is_read_or_refused(document: Any) -> None:
    try:
        wanted = Wanted.from_values(document)
    except ConfigError:
        return
    assert wanted.versions == tuple(sorted(set(wanted.versions)))
    assert all(0 <= share <= 100 for share in wanted.shares.values())
    assert wanted.repository_keys or not wanted.repository
    wanted.worker.policy()
