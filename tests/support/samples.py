"""Messages that keep the rules of WIRE.md section 3, made by hypothesis or by hand."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from zconnector.messages.fields import ANSWERED, BOUNDS, FIELDS, NAMES, REQUIRED
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message
from zconnector.messages.retry import MAX_PAUSE_MS

_LETTERS = string.ascii_letters + string.digits + "_.-"
_SAFE = 2**53

names = st.text(_LETTERS, min_size=1, max_size=32)
texts = st.text(st.characters(codec="utf-8"), max_size=8)  # 32 bytes: the least limit of a field
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-_SAFE, _SAFE) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
wishes = st.fixed_dictionaries(
    {},
    optional={
        "attempts": st.integers(1, 1_000),
        "first": st.integers(0, MAX_PAUSE_MS),
        "factor": st.integers(1, 10) | st.floats(1, 10),
        "limit": st.integers(0, MAX_PAUSE_MS),
    },
)
"""Values of `retry`."""
flags = st.builds(lambda bits: Flag(bits), st.integers(0, 7))


def values(name: str) -> st.SearchStrategy[Any]:
    """Values of one field that keep its rule."""
    if name in NAMES:
        return names
    if name in BOUNDS:
        return st.integers(*BOUNDS[name])
    if name == "retry":
        return wishes
    by_type: dict[type, st.SearchStrategy[Any]] = {
        str: texts,
        int: st.integers(-_SAFE, _SAFE),
        bool: st.booleans(),
        list: st.lists(json_values, max_size=4),
        dict: st.dictionaries(texts, json_values, max_size=4),
    }
    return by_type[FIELDS[name].type]


@st.composite
def messages(draw: st.DrawFn, kinds: st.SearchStrategy[Kind] | None = None) -> Message:
    """Any message that a peer may send: required fields, some others, some unknown to this version."""
    kind = draw(st.sampled_from(list(Kind)) if kinds is None else kinds)
    flag = draw(flags)
    required = ("reference",) if flag & Flag.ANSWER and kind in ANSWERED else REQUIRED[kind]
    others = draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=6))
    header = {name: draw(values(name)) for name in sorted(others | set(required))}
    unknown = draw(st.dictionaries(texts.map(lambda text: f"x-{text}"), json_values, max_size=2))
    payload = draw(st.binary(max_size=64))
    return Message(kind, {**header, **unknown}, payload, flag)


_EXAMPLES: dict[type, Any] = {str: "x", int: 1, bool: True, list: [], dict: {}}


def minimal(kind: Kind, **fields: Any) -> Message:
    """The smallest good message of a kind."""
    header = {name: _EXAMPLES[FIELDS[name].type] for name in REQUIRED[kind]}
    return Message(kind, {**header, **fields})
