"""What several components say of one command, merged: who knows best says what it waits for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zconnector.cli.explain import find_components, merged


def story(where: str, state: str, waits_for: str = "", *history: tuple[int, str]) -> dict[str, Any]:
    steps = [{"at": at, "what": what} for at, what in history]
    return {"uuid": "u", "where": where, "state": state, "waits_for": waits_for, "history": steps}


TARGET = story("connector ci: in its queue", "READY", "no worker", (3, "stored"), (5, "leased"))
SOURCE = story("connector git: sent from here", "RECEIPTED", "its reply", (1, "given"), (4, "receipt"))
MEMBER = story("cluster member 1", "RECEIPTED", "its reply: connector ci has it", (2, "resolved"))
LETTER = story("connector ci: in its dead letters", "DEAD")


def test_the_history_is_merged_by_time_and_says_who_told_it() -> None:
    told = merged("u", [SOURCE, MEMBER, TARGET])
    assert [(step["at"], step["what"]) for step in told["history"]] == [
        (1, "given"),
        (2, "resolved"),
        (3, "stored"),
        (4, "receipt"),
        (5, "leased"),
    ]
    assert told["history"][1]["where"] == "cluster member 1"
    assert told["told_by"] == [SOURCE, MEMBER, TARGET]


@pytest.mark.parametrize(
    ("stories", "best"),
    [
        ([SOURCE, MEMBER, TARGET], TARGET),
        ([story("connector ci: in its queue", "DONE"), SOURCE], story("connector ci: in its queue", "DONE")),
        ([MEMBER, story("connector git: sent from here", "SENDING", "a receipt")], None),
        ([SOURCE, MEMBER, LETTER], LETTER),
        ([SOURCE, story("cluster member 1", "RESOLVED", "ci is away")], None),
        ([MEMBER, story("connector git: sent from here", "REPLIED")], None),
    ],
    ids=lambda value: value["where"] if isinstance(value, dict) else "",
)
def test_who_knows_best(stories: list[dict[str, Any]], best: dict[str, Any] | None) -> None:
    told = merged("u", stories)
    expected = best or stories[-1]
    assert {key: told[key] for key in ("state", "waits_for", "where")} == {
        key: expected[key] for key in ("state", "waits_for", "where")
    }


def test_components_are_found_in_every_layout(tmp_path: Path) -> None:
    assert find_components(tmp_path) == [tmp_path], "whatever it is, it says so itself"
    for name in ("connector/git", "connector/ci", "cluster/1", "aggregator/agg1-a"):
        path = tmp_path / "dev" / name
        path.mkdir(parents=True)
        (path / "lock").write_text("")
    found = [str(path.relative_to(tmp_path / "dev")) for path in find_components(tmp_path / "dev")]
    assert found == ["connector/ci", "connector/git", "cluster/1"]
    scripts = tmp_path / "scripts"
    (scripts / "cluster").mkdir(parents=True)
    (scripts / "cluster" / "lock").write_text("")
    (scripts / "connector" / "ci").mkdir(parents=True)
    (scripts / "connector" / "ci" / "lock").write_text("")
    assert find_components(scripts) == [scripts / "connector" / "ci", scripts / "cluster"]
