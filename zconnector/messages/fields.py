"""Header fields and their rules: the tables of `protos/WIRE.md` section 3, as code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from zconnector.errors import Reason, WireError
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.retry import MAX_PAUSE_MS, broken_rule


class Rule(NamedTuple):
    """What a field holds, and how long it may be (bytes of UTF-8, or list items)."""

    type: type
    limit: int = 0


FIELDS: dict[str, Rule] = {
    "uuid": Rule(str, 64),
    "tenant": Rule(str, 128),
    "token": Rule(str, 4096),
    "timeout": Rule(int),
    "timestamp": Rule(int),
    "major": Rule(int),
    "minor": Rule(int),
    "source": Rule(str, 128),
    "target": Rule(str, 128),
    "type": Rule(str, 128),
    "command": Rule(str, 256),
    "command_type": Rule(str, 256),
    "admin": Rule(bool),
    "context": Rule(str, 4096),
    "worker": Rule(str, 256),
    "accept_until": Rule(int),
    "replay_of": Rule(str, 64),
    "budget": Rule(int),
    "ttl": Rule(int),
    "delay": Rule(int),
    "priority": Rule(int),
    "order_key": Rule(str, 256),
    "lease": Rule(int),
    "retry": Rule(dict),
    "topic": Rule(str, 256),
    "event": Rule(str, 256),
    "reference": Rule(str, 64),
    "recipient": Rule(str, 128),
    "seq": Rule(int),
    "reason": Rule(str, 64),
    "detail": Rule(str, 1024),
    "digest": Rule(str, 64),
    "entries": Rule(list, 4096),
    "kind": Rule(str, 32),
    "name": Rule(str, 128),
    "instance": Rule(str, 128),
    "boot": Rule(str, 64),
    "session": Rule(str, 64),
    "versions": Rule(list, 8),
    "endpoint": Rule(str, 256),
    "server_key": Rule(str, 64),
    "key": Rule(str, 64),
    "validated": Rule(bool),
    "instances": Rule(list, 256),
    "credit": Rule(int),
    "heartbeat": Rule(int),
    "packs": Rule(bool),
    "received": Rule(int),
    "latest": Rule(int),
    "cursor": Rule(int),
    "after": Rule(int),
    "upto": Rule(int),
    "missed": Rule(int),
    "valid": Rule(bool),
    "permissions": Rule(list, 256),
    "product": Rule(str, 128),
    "number": Rule(int),
    "down": Rule(list, 4096),
    "call": Rule(int),
    "op": Rule(str, 32),
    "args": Rule(dict),
    "error": Rule(dict),
}

REQUIRED: dict[Kind, tuple[str, ...]] = {
    Kind.COMMAND: ("uuid", "type", "command", "timeout", "accept_until"),
    Kind.EVENT: ("uuid", "topic", "event"),
    Kind.CONFIG: ("uuid", "command"),
    Kind.CONFIGURATION: ("uuid", "command"),
    Kind.SECRET: ("uuid", "command"),
    Kind.HEARTBEAT: ("received",),
    Kind.HELLO: ("versions", "kind", "tenant", "name", "instance", "boot", "session", "credit"),
    Kind.WELCOME: ("boot", "name", "instance", "session", "validated", "credit", "heartbeat"),
    Kind.GOAWAY: ("reason",),
    Kind.REPLACED: ("reason",),
    Kind.CONFIRM: ("entries",),
    Kind.PRESENCE: ("number", "entries"),
    Kind.FETCH: ("uuid", "after", "upto"),
    Kind.ERROR: ("reason", "detail"),
    Kind.JOURNAL: ("uuid", "entries"),
    Kind.CALL: ("call", "op"),
    Kind.RESULT: ("call",),
    Kind.CANCEL: ("call",),
}

ANSWERED = frozenset((Kind.CONFIG, Kind.CONFIGURATION, Kind.SECRET, Kind.FETCH, Kind.JOURNAL))
"""Kinds that have answers. On any other the flag excuses nothing: readers of a field rely on REQUIRED."""

NAMES = ("tenant", "source", "target", "type", "recipient", "name", "instance", "product")
"""Fields that hold a name: they end up in keys, paths and logs, so their letters are few."""
_NAMES = frozenset(NAMES)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")

_MAX_INT = 2**53  # what every JSON reader in every language holds exactly

BOUNDS: dict[str, tuple[int, int]] = {
    "major": (-128, 127),
    "minor": (-128, 127),
    "ttl": (0, MAX_PAUSE_MS),
    "delay": (0, MAX_PAUSE_MS),
    "priority": (0, 9),
    "lease": (1_000, 86_400_000),
}
"""Least and greatest value of the integers that have other bounds than 2^53."""
WISHES = ("ttl", "delay", "priority", "order_key", "lease", "retry")
"""What the sender of a command may ask of the queue that it ends in."""

_LONGEST = {
    name: (0 if name in _NAMES else rule.limit) if rule.type is str else -1 for name, rule in FIELDS.items()
}
"""By field, bytes that a text there may have, which are characters where all are ASCII: such a text need not
be encoded to be measured. 0: it is a name; -1: no text belongs there."""
_GREATEST = {
    name: BOUNDS.get(name, (0, _MAX_INT))[1] if rule.type is int and BOUNDS.get(name, (0, 0))[0] <= 0 else -1
    for name, rule in FIELDS.items()
}
"""By field, the greatest integer, where 0 may stand too; -1: it takes a closer look."""
_good_names: set[str] = set()
"""Texts that have been found to be names: most of what comes names the same few, over and over."""
_GOOD_NAMES = 1_024
"""When there are so many, finding begins anew."""

_JSON_NAME = {str: "str", int: "int", bool: "bool", list: "list", dict: "object"}


def is_name(text: str) -> bool:
    """Whether a text may serve as a logical name: 1 to 128 of A-Z a-z 0-9 _ . -"""
    if text in _good_names:
        return True
    if _NAME.fullmatch(text) is None:
        return False
    if len(_good_names) >= _GOOD_NAMES:
        _good_names.clear()
    _good_names.add(text)
    return True


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: a lone surrogate (YAML and JSON can spell one) cannot."""
    return text.isascii() or not _SURROGATE.search(text)


def check_field(name: str, value: object) -> str:
    """The rule that a known field breaks, in words; "" when it keeps them all."""
    return broken_rule_of({name: value})


def is_plain(fields: Mapping[str, Any]) -> bool:
    """Whether all of these are fields that we know, with texts and integers that keep their rules.

    Then no rule is broken and nothing is nested. So are most headers, and that is told with hardly a call.
    """
    longest, greatest, good_names = _LONGEST, _GREATEST, _good_names
    try:
        for name, value in fields.items():
            form = type(value)
            if form is str:
                limit = longest[name]
                if limit > 0:
                    if len(value) <= limit and value.isascii():
                        continue
                elif limit == 0 and (value in good_names or is_name(value)):
                    continue
            elif form is int and 0 <= value <= greatest[name]:
                continue
            return False
    except KeyError:  # a field that this version does not know
        return False
    return True


def broken_rule_of(fields: Mapping[str, Any]) -> str:
    """The first rule that any known field of these breaks, in words; "" when they keep them all."""
    for name, value in fields.items():
        form = type(value)
        if form is str:
            limit = _LONGEST.get(name, -1)
            if limit > 0:
                if len(value) <= limit and value.isascii():
                    continue
            elif limit == 0 and value in _good_names:
                continue
        elif form is int and 0 <= value <= _GREATEST.get(name, -1):
            continue
        if broken := _broken_rule(name, value):
            return broken
    return ""


def _broken_rule(name: str, value: object) -> str:
    rule = FIELDS.get(name)
    if rule is None:
        return ""
    kind, limit = rule
    if type(value) is not kind:
        return f"{name} must be {_JSON_NAME[kind]}, not {type(value).__name__}"
    if kind is str:
        return _check_text(name, value, limit)  # type: ignore[arg-type]
    if kind is int:
        return _check_number(name, value)  # type: ignore[arg-type]
    if name == "retry":
        return broken_rule(value)
    if kind is list and len(value) > limit:  # type: ignore[arg-type]
        return f"{name} has more than {limit} items"
    return ""


def _check_text(name: str, value: str, limit: int) -> str:
    if len(value) > limit or len(value.encode()) > limit:
        return f"{name} is longer than {limit} bytes"
    if name in _NAMES and not is_name(value):
        if not value:
            return f"{name} must not be empty"
        return f"{name} may hold only A-Z a-z 0-9 _ . - (got {value[:40]!r})"
    return ""


def _check_number(name: str, value: int) -> str:
    if name in BOUNDS:
        least, greatest = BOUNDS[name]
        if not least <= value <= greatest:
            return f"{name} must be from {least} to {greatest} (got {value})"
    elif not -_MAX_INT <= value <= _MAX_INT:
        return f"{name} is beyond 2^53"
    return ""


def check_header(kind: Kind, flags: Flag, header: dict[str, Any]) -> None:
    """Hold a header to the tables.

    Raises:
        WireError: BAD_HEADER, naming the field and the rule.
    """
    if broken := broken_rule_of(header):
        raise WireError(Reason.BAD_HEADER, broken, _readable_uuid(header))
    check_required(kind, flags, header)


def check_required(kind: Kind, flags: Flag, header: dict[str, Any]) -> None:
    """Hold a header to `REQUIRED`.

    Raises:
        WireError: BAD_HEADER, naming the field.
    """
    required = REQUIRED[kind]
    if kind in ANSWERED and flags & Flag.ANSWER:
        required = ("reference",)
    for name in required:
        if name not in header:
            raise WireError(Reason.BAD_HEADER, f"{kind.name} lacks {name}", _readable_uuid(header))


def _readable_uuid(header: dict[str, Any]) -> str:
    uuid = header.get("uuid", "")
    return uuid if isinstance(uuid, str) and len(uuid) <= 64 else ""
