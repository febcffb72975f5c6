"""The enrolment string: all that a fresh process needs to be told, in one line (DESIGN section 6).

`zc1.` and the base64url (without padding) of one JSON object. It carries the secret: it is printed
once, kept in a 0600 file, and appears in no log and no error.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from zconnector.errors import ConfigError

_PREFIX = "zc1."
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_KINDS = ("connector", "aggregator", "member")
_Z85_LENGTH = 40
_MAX_LENGTH = 262_144
_MAX_ENDPOINTS = 256


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one instance of the level above is reached, and the key it must prove."""

    instance: str
    endpoint: str
    key: str
    """Z85 CURVE public key."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who a process is declared to be, its secret, and whom it connects to."""

    kind: str
    tenant: str
    name: str
    instance: str
    type: str
    """Connector type; empty for others."""
    secret: str = field(repr=False)
    endpoints: tuple[Endpoint, ...] = ()

    def encode(self) -> str:
        """The enrolment string."""
        content = orjson.dumps(
            {
                "kind": self.kind,
                "tenant": self.tenant,
                "name": self.name,
                "instance": self.instance,
                "type": self.type,
                "secret": self.secret,
                "endpoints": [
                    {"instance": e.instance, "endpoint": e.endpoint, "key": e.key} for e in self.endpoints
                ],
            }
        )
        return _PREFIX + base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")

    @classmethod
    def decode(cls, text: str) -> Enrolment:
        """What an enrolment string says.

        Raises:
            ConfigError: naming the part and the rule it breaks; never the secret.
        """
        text = text.strip()
        if len(text) > _MAX_LENGTH:
            raise ConfigError(f"enrolment string of {len(text)} characters, limit {_MAX_LENGTH}")
        if not text.startswith(_PREFIX):
            raise ConfigError(f"enrolment string must begin with {_PREFIX!r}: copy the whole line")
        encoded = text[len(_PREFIX) :]
        try:
            content = base64.b64decode(
                encoded.encode("ascii") + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True
            )
            fields = orjson.loads(content)
        except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError):
            raise ConfigError("enrolment string is damaged: copy the whole line") from None
        if type(fields) is not dict:
            raise ConfigError("enrolment string is damaged: it holds no object")
        kind = _text(fields, "kind")
        if kind not in _KINDS:
            raise ConfigError(f"enrolment: kind {kind!r} must be one of {', '.join(_KINDS)}")
        secret = _text(fields, "secret")
        if not secret:
            raise ConfigError("enrolment: secret is empty")
        type_ = _text(fields, "type")
        if kind == "connector" or type_:
            _check_name("type", type_)
        listed = fields.get("endpoints")
        if type(listed) is not list or len(listed) > _MAX_ENDPOINTS:
            raise ConfigError(f"enrolment: endpoints must be a list of at most {_MAX_ENDPOINTS}")
        return cls(
            kind=kind,
            tenant=_name(fields, "tenant"),
            name=_name(fields, "name"),
            instance=_name(fields, "instance"),
            type=type_,
            secret=secret,
            endpoints=tuple(_endpoint(each) for each in listed),
        )


def _endpoint(fields: Any) -> Endpoint:
    if type(fields) is not dict:
        raise ConfigError("enrolment: each of endpoints must be an object")
    endpoint = _text(fields, "endpoint")
    if not endpoint.startswith("tcp://"):
        raise ConfigError(f"enrolment: endpoint {endpoint!r} must begin with tcp://")
    key = _text(fields, "key")
    if len(key) != _Z85_LENGTH:
        raise ConfigError(f"enrolment: key of {endpoint} must have {_Z85_LENGTH} characters")
    return Endpoint(_name(fields, "instance"), endpoint, key)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str:
        raise ConfigError(f"enrolment: {name} must be a string")
    return value


def _name(fields: dict[str, Any], name: str) -> str:
    value = _text(fields, name)
    _check_name(name, value)
    return value


def _check_name(field_name: str, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise ConfigError(
            f"enrolment: {field_name} {value!r} must be 1 to 128 characters of A-Z a-z 0-9 _ . -"
        )
