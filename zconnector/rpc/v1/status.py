"""Errors as google.rpc.Status: what a refusal is on the wire of gRPC, and read back."""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from zconnector.errors import Refusal
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.rpc.metadata import Heard

DETAILS = "grpc-status-details-bin"
"""Trailing metadata that carries the Status (what grpcio-status reads)."""
DOMAIN = "zconnector"

_LIMIT = re.compile(r"\blimit (\d{1,18})\b")
"""Every refusal for a bound names it so."""


def limit_of(refusal: Refusal) -> int:
    """The bound that a refusal is about; 0: none."""
    found = _LIMIT.search(refusal.detail)
    return int(found[1]) if found else 0


def item_refusal(refusal: Refusal) -> Any:
    """A refusal of one item of a batch."""
    return pb.Refusal(
        reason=str(refusal.reason), detail=refusal.detail, uuid=refusal.uuid, limit=limit_of(refusal)
    )


def code_of(refusal: Refusal) -> grpc.StatusCode:
    code: grpc.StatusCode = getattr(grpc.StatusCode, refusal.grpc)
    return code


def trailing(refusal: Refusal, **said: str) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata of a call that ends with a refusal; `said`: more for ErrorInfo.metadata."""
    info = ErrorInfo(reason=str(refusal.reason), domain=DOMAIN, metadata=said)
    if refusal.uuid:
        info.metadata["uuid"] = refusal.uuid
    if limit := limit_of(refusal):
        info.metadata["limit"] = str(limit)
    packed = AnyMessage()
    packed.Pack(info)
    number: int = code_of(refusal).value[0]
    status = Status(code=number, message=str(refusal), details=[packed])
    return ((DETAILS, status.SerializeToString()),)


def info_of(pairs: Heard | None) -> ErrorInfo | None:
    """The ErrorInfo in the trailing metadata of a failed call; None: it was not we who said so."""
    for key, value in pairs or ():
        if key != DETAILS or not isinstance(value, bytes):
            continue
        try:
            status = Status.FromString(value)
        except DecodeError:
            return None
        for packed in status.details:
            info = ErrorInfo()
            if packed.Unpack(info) and info.domain == DOMAIN:
                return info
    return None
