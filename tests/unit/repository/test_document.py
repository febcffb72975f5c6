"""docs/repository.md says what the code does: fields, limits, steps, rules of the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import orjson

from tests.support.repositories import KEY
from zconnector import errors
from zconnector.repository.accepting import MAX_AHEAD
from zconnector.repository.archive import MIB, Limits
from zconnector.repository.fetch_http import HttpLimits
from zconnector.repository.install import Step
from zconnector.repository.manifest import MAX_FILES, MAX_MANIFEST, File, Manifest, sign

TEXT = (Path(__file__).parents[3] / "docs" / "repository.md").read_text()
_FLAT = " ".join(TEXT.split())


def test_the_example_has_the_fields_of_a_manifest() -> None:
    example = json.loads(re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)[0])
    file = File.of(example["files"][0]["path"], b"")
    made = orjson.loads(sign(Manifest("acme", 1, 1, KEY.public, (file,), expires=2), KEY).render())
    assert list(example) == list(made)
    assert list(example["files"][0]) == list(made["files"][0])


def test_the_limits() -> None:
    limits, http = Limits(), HttpLimits()
    assert (limits.archive, limits.member, limits.total) == (128 * MIB, 512 * MIB, 1024 * MIB)
    assert f"128 MiB / {limits.members:,} / 512 MiB / 1 GiB" in TEXT
    assert f"and of all | {limits.ratio} |" in TEXT
    assert f"at most {MAX_MANIFEST >> 20} MiB and {MAX_FILES:,} files" in TEXT
    assert MAX_AHEAD == 3600
    assert f"{http.connect:g} s to connect, {http.idle:g} s between two pieces, {http.whole:g} s" in _FLAT
    assert f"{http.attempts} attempts with exponential" in _FLAT
    assert f"Up to {http.redirects} redirects" in _FLAT


def test_the_steps_of_an_install() -> None:
    rows = re.findall(r"^\| `([A-Z]+)` \|", TEXT, re.MULTILINE)
    assert rows == [step.name for step in Step]


def test_the_exit_statuses() -> None:
    rows = re.findall(r"\| `(\w+Error)`(?:, `(\w+Error)`)? \| (\d+) \|", TEXT)
    assert len(rows) == 8
    for first, second, code in rows:
        for name in filter(None, (first, second)):
            assert getattr(errors, name).exit_code == int(code), name
