"""Payloads: what handlers and senders write, as text (the Gandalf API) or bytes (zconnector.v1)."""

from __future__ import annotations

from typing import Any

import orjson

from zconnector.errors import Fault
from zconnector.messages.kinds import MAX_MESSAGE
from zconnector.worker.errors import WorkerError

MAX_PAYLOAD = MAX_MESSAGE - 65_536
"""Bytes that fit in a message whatever its other fields hold."""


class PayloadError(WorkerError):
    """A value that cannot be carried, or is not what was asked for."""

    fault = Fault.SENDER
    grpc = "INVALID_ARGUMENT"
    exit_code = 65


def encode(value: object) -> str:
    """A payload for the Gandalf API: text as it is, bytes in UTF-8, None as "", anything else as JSON.

    Raises:
        PayloadError: what is not UTF-8, is no JSON, or is too large.
    """
    raw = encode_bytes(value)
    try:
        return value if isinstance(value, str) else raw.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(f"payload bytes must be UTF-8: {error}") from None


def encode_bytes(value: object) -> bytes:
    """A payload for zconnector.v1: bytes as they are, text in UTF-8, None as b"", a msgspec or pydantic model
    or anything else as JSON.

    Raises:
        PayloadError: what is no text, is no JSON, or is too large.
    """
    raw = _bytes(value)
    if len(raw) > MAX_PAYLOAD:
        raise PayloadError(f"a payload of {len(raw)} bytes, limit {MAX_PAYLOAD}")
    return raw


def _bytes(value: object) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        if value is None:
            return b""
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        return orjson.dumps(value, default=_model)
    except UnicodeEncodeError as error:
        raise PayloadError(f"a payload must be encodable in UTF-8: {error}") from None
    except TypeError as error:
        raise PayloadError(f"a payload of {type(value).__name__} is no JSON: {error}") from None


def _model(value: Any) -> Any:
    """A model as what orjson knows."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__struct_fields__"):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
