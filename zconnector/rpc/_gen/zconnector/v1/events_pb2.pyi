from ...zconnector.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublishRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_types_pb2.Publication]
    def __init__(self, events: _Optional[_Iterable[_Union[_types_pb2.Publication, _Mapping]]] = ...) -> None: ...

class PublishReply(_message.Message):
    __slots__ = ("published",)
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    published: _containers.RepeatedCompositeFieldContainer[_types_pb2.Published]
    def __init__(self, published: _Optional[_Iterable[_Union[_types_pb2.Published, _Mapping]]] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("subscribe", "acks", "credits", "beat")
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    subscribe: _types_pb2.Subscription
    acks: _containers.RepeatedCompositeFieldContainer[_types_pb2.EventAck]
    credits: int
    beat: int
    def __init__(self, subscribe: _Optional[_Union[_types_pb2.Subscription, _Mapping]] = ..., acks: _Optional[_Iterable[_Union[_types_pb2.EventAck, _Mapping]]] = ..., credits: _Optional[int] = ..., beat: _Optional[int] = ...) -> None: ...

class SubscribeReply(_message.Message):
    __slots__ = ("subscribed", "events", "acked", "missed", "beat", "heartbeat_ms")
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    ACKED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    subscribed: _types_pb2.Subscribed
    events: _containers.RepeatedCompositeFieldContainer[_types_pb2.Delivery]
    acked: _containers.RepeatedCompositeFieldContainer[_types_pb2.EventAcked]
    missed: _types_pb2.Missed
    beat: int
    heartbeat_ms: int
    def __init__(self, subscribed: _Optional[_Union[_types_pb2.Subscribed, _Mapping]] = ..., events: _Optional[_Iterable[_Union[_types_pb2.Delivery, _Mapping]]] = ..., acked: _Optional[_Iterable[_Union[_types_pb2.EventAcked, _Mapping]]] = ..., missed: _Optional[_Union[_types_pb2.Missed, _Mapping]] = ..., beat: _Optional[int] = ..., heartbeat_ms: _Optional[int] = ...) -> None: ...

class UnsubscribeRequest(_message.Message):
    __slots__ = ("subscription",)
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    subscription: str
    def __init__(self, subscription: _Optional[str] = ...) -> None: ...

class UnsubscribeReply(_message.Message):
    __slots__ = ("existed",)
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    existed: bool
    def __init__(self, existed: _Optional[bool] = ...) -> None: ...
