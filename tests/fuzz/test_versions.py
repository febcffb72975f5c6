"""Logical configurations, changes to them, values of keys: read, or refused in a line without a secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.profile import examples
from zconnector.configuration.logical import Layers
from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.errors import ConfigError, Refusal
from zconnector.versions.changes import OBJECTS, Changes
from zconnector.versions.keys import masked, resolve, unknown
from zconnector.versions.wanted import Wanted, next_due

SECRET = "s3cret-value"
_NAMES = (
    *OBJECTS,
    *("product", "repository", "repository_keys", "versions", "mode", "interval", "at", "zone", "seconds"),
    *("canary", "command", "payload", "timeout", "drain", "start", "hang", "limits", "cpu", "1.0", "a.b", ""),
)
_TYPES = ("string", "integer", "number", "boolean", "list", "object", "INT", "other", "é")
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["1.0", "1.1", "127.128", "auto", "planned", "25:00", "03:30", "UTC", "Europe", "x" * 5000]
    )
    | st.sampled_from(["file:///w", "https://user:pw@host/", "ed25519:", "true", "1e400", "9" * 500])
)
names = st.sampled_from(_NAMES) | st.text(max_size=4)
anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)
hidden = st.recursive(
    st.just(SECRET) | _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def refused(make: Callable[[], Any]) -> bool:
    """Whether it is refused, in few words and without what is secret."""
    try:
        make()
    except (ConfigError, Refusal) as error:
        said = str(error)
    else:
        return False
    assert 0 < len(said) < 2_000
    assert SECRET not in said
    return True


@examples(300)
@given(st.dictionaries(names, anything, max_size=5) | anything, hidden, st.integers(0, 2**42))
def test_any_values_are_wanted_or_refused(document: Any, keys: Any, now: int) -> None:
    if isinstance(document, dict):
        document["keys"] = keys
    if not refused(lambda: Wanted.from_values(document)):
        wanted = Wanted.from_values(document)
        due = next_due(wanted.update, now)
        assert due is None or due > now
        wanted.worker.policy()
        assert SECRET not in repr(wanted)


@examples(200)
@given(
    st.dictionaries(names, anything, max_size=3),
    st.dictionaries(names, anything, max_size=3) | anything,
    st.dictionaries(st.just("keys") | names.map("keys.{}".format), hidden, max_size=3),
    st.lists(names, max_size=2) | anything,
)
def test_any_change_leaves_what_is_wanted_or_is_refused(
    operator: Any, set_: Any, keys: dict[str, Any], unset: Any
) -> None:
    if isinstance(set_, dict):
        set_ = {**set_, **keys}
    layers = Layers(1, {"type": "Ci"}, operator)
    found: list[dict[str, Any]] = []
    if refused(lambda: found.append(Changes.from_args({"set": set_, "unset": unset}).apply(layers))):
        return
    Wanted.from_values({**layers.saved, **found[0]})
    orjson.dumps(found[0])


@examples(200)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(_TYPES), anything, st.booleans()), max_size=4),
    st.booleans(),
    st.dictionaries(st.sampled_from("abcd"), hidden, max_size=4),
)
def test_any_values_of_keys_make_one_line_or_are_refused(
    keys: list[tuple[str, str, Any, bool]], of_product: bool, values: dict[str, Any]
) -> None:
    declared = [{"name": n, "type": t, "defaultValue": d, "mandatory": m} for n, t, d, m in keys]
    document = {"name": "Ci", "product": "P", "major": 1, "keys": declared}
    found: list[Pivot | ProductConnector] = []
    read = ProductConnector.from_dict if of_product else Pivot.from_dict
    if refused(lambda: found.append(read(document))):
        return
    (source,) = found
    product = source if isinstance(source, ProductConnector) else None
    pivot = None if isinstance(source, ProductConnector) else source
    lines: list[bytes] = []
    if not refused(lambda: lines.append(resolve(pivot, product, values))):
        assert lines[0].count(b"\n") == 1
        assert set(orjson.loads(lines[0])) <= {n for n, *_ in keys}
    assert set(unknown(pivot, product, values)) == set(values) - {n for n, *_ in keys}
    text = orjson.dumps(values).decode()
    assert SECRET not in masked(values)(text)
