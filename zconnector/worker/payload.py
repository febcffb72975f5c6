"""Payloads: what handlers and senders write, as the text that the Gandalf API carries."""

from __future__ import annotations

import orjson

from zconnector.errors import Fault
from zconnector.messages.kinds import MAX_MESSAGE
from zconnector.worker.errors import WorkerError

MAX_PAYLOAD = MAX_MESSAGE - 65_536
"""Bytes of UTF-8 that fit in a message whatever its other fields hold."""


class PayloadError(WorkerError):
    """A value that the Gandalf API cannot carry."""

    fault = Fault.SENDER
    grpc = "INVALID_ARGUMENT"
    exit_code = 65


def encode(value: object) -> str:
    """A payload: text as it is, bytes in UTF-8, None as "", anything else as JSON.

    Raises:
        PayloadError: what is not UTF-8, is no JSON, or is too large.
    """
    text = _text(value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise PayloadError(f"a payload must be encodable in UTF-8: {error}") from None
    if size > MAX_PAYLOAD:
        raise PayloadError(f"a payload of {size} bytes, limit {MAX_PAYLOAD}")
    return text


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value).decode()
        return orjson.dumps(value).decode()
    except UnicodeDecodeError as error:
        raise PayloadError(f"payload bytes must be UTF-8: {error}") from None
    except TypeError as error:
        raise PayloadError(f"a payload of {type(value).__name__} is no JSON: {error}") from None
