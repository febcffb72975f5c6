"""The peers below, as they are found by name."""

from __future__ import annotations

from zconnector.settings import SessionSettings
from zconnector.shoset.lower import Lower
from zconnector.shoset.peers import Peer


def peer(link: bytes, name: str) -> Peer:
    return Peer(link, False, "connector", "acme", name, "0")


def test_only_the_live_ones_are_found_and_of_one_name_the_first() -> None:
    lower = Lower(SessionSettings())
    older, newer, other = peer(b"1", "git"), peer(b"2", "git"), peer(b"3", "ci")
    for each in (older, newer, other):
        lower.enter(each)
    assert lower.named("git") is None, "nobody is validated"
    lower.validate(newer)
    assert lower.named("git") is newer
    lower.validate(older)
    assert lower.named("git") is older, "its session began before"
    lower.leave(older)
    assert lower.named("git") is newer
    lower.leave(newer)
    assert lower.named("git") is None
    lower.validate(other)
    assert lower.named("ci") is other
