from ...zconnector.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SendReply(_message.Message):
    __slots__ = ("receipt", "reply")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    receipt: _types_pb2.Receipt
    reply: _types_pb2.Reply
    def __init__(self, receipt: _Optional[_Union[_types_pb2.Receipt, _Mapping]] = ..., reply: _Optional[_Union[_types_pb2.Reply, _Mapping]] = ...) -> None: ...

class AwaitRequest(_message.Message):
    __slots__ = ("uuid", "timeout_ms")
    UUID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    timeout_ms: int
    def __init__(self, uuid: _Optional[str] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("commands", "awaits", "forget")
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    AWAITS_FIELD_NUMBER: _ClassVar[int]
    FORGET_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedCompositeFieldContainer[_types_pb2.Submission]
    awaits: _containers.RepeatedCompositeFieldContainer[AwaitRequest]
    forget: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, commands: _Optional[_Iterable[_Union[_types_pb2.Submission, _Mapping]]] = ..., awaits: _Optional[_Iterable[_Union[AwaitRequest, _Mapping]]] = ..., forget: _Optional[_Iterable[str]] = ...) -> None: ...

class SubmitReply(_message.Message):
    __slots__ = ("receipts", "replies")
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedCompositeFieldContainer[_types_pb2.Receipt]
    replies: _containers.RepeatedCompositeFieldContainer[_types_pb2.Reply]
    def __init__(self, receipts: _Optional[_Iterable[_Union[_types_pb2.Receipt, _Mapping]]] = ..., replies: _Optional[_Iterable[_Union[_types_pb2.Reply, _Mapping]]] = ...) -> None: ...
