"""The table of a command's life, and the document it is written down in."""

from __future__ import annotations

from pathlib import Path

from zconnector.queue.states import ENDED, LIVE, TRANSITIONS, State

WIRE = Path(__file__).parents[3] / "protos" / "WIRE.md"


def documented() -> set[tuple[str, str]]:
    """(state, next) of each row of the table in WIRE.md section 6; "-" is a command that is not known."""
    section = WIRE.read_text().split("A command in the local queue:")[1].split("\n## ")[0]
    pairs: set[tuple[str, str]] = set()
    for line in section.splitlines():
        if not line.startswith("| ") or line.startswith("| state"):
            continue
        before, _, after, _ = (cell.strip() for cell in line.strip("|").split("|"))
        for state in before.split(", "):
            named = [next_ for next_ in [*State, "-"] if next_ in after.replace("(", " ").split()]
            named += [next_ for next_ in State if f"{next_}," in after]
            named = named or ["READY", "LEASED", "DELAYED"]  # "as before"
            pairs |= {(state, str(next_)) for next_ in named}
    return pairs


def test_the_table_is_the_documented_one() -> None:
    coded = {(str(before), str(after or "-")) for (before, _), after in TRANSITIONS.items()}
    coded.add(("-", "STORING"))
    assert coded == documented()


def test_every_state_can_be_left_and_is_live_or_ended() -> None:
    assert {before for before, _ in TRANSITIONS} == set(State)
    assert set(State) == LIVE | ENDED
    assert not LIVE & ENDED
    for state in ENDED:
        assert {after for (before, _), after in TRANSITIONS.items() if before is state} == {None}
