from ...zconnector.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Pool(_message.Message):
    __slots__ = ("commands", "credits")
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedScalarFieldContainer[str]
    credits: int
    def __init__(self, commands: _Optional[_Iterable[str]] = ..., credits: _Optional[int] = ...) -> None: ...

class Holding(_message.Message):
    __slots__ = ("uuid", "token", "command")
    UUID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    token: str
    command: str
    def __init__(self, uuid: _Optional[str] = ..., token: _Optional[str] = ..., command: _Optional[str] = ...) -> None: ...

class Register(_message.Message):
    __slots__ = ("worker", "major", "minor", "commands", "concurrency", "pools", "subscriptions", "holding", "lease_ms")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    worker: str
    major: int
    minor: int
    commands: _containers.RepeatedScalarFieldContainer[str]
    concurrency: int
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    subscriptions: _containers.RepeatedCompositeFieldContainer[_types_pb2.Subscription]
    holding: _containers.RepeatedCompositeFieldContainer[Holding]
    lease_ms: int
    def __init__(self, worker: _Optional[str] = ..., major: _Optional[int] = ..., minor: _Optional[int] = ..., commands: _Optional[_Iterable[str]] = ..., concurrency: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ..., subscriptions: _Optional[_Iterable[_Union[_types_pb2.Subscription, _Mapping]]] = ..., holding: _Optional[_Iterable[_Union[Holding, _Mapping]]] = ..., lease_ms: _Optional[int] = ...) -> None: ...

class Credits(_message.Message):
    __slots__ = ("pool", "credits")
    POOL_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    pool: int
    credits: int
    def __init__(self, pool: _Optional[int] = ..., credits: _Optional[int] = ...) -> None: ...

class WorkRequest(_message.Message):
    __slots__ = ("register", "credits", "outcomes", "acks", "drain", "beat")
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    register: Register
    credits: _containers.RepeatedCompositeFieldContainer[Credits]
    outcomes: _containers.RepeatedCompositeFieldContainer[_types_pb2.Outcome]
    acks: _containers.RepeatedCompositeFieldContainer[_types_pb2.EventAck]
    drain: bool
    beat: int
    def __init__(self, register: _Optional[_Union[Register, _Mapping]] = ..., credits: _Optional[_Iterable[_Union[Credits, _Mapping]]] = ..., outcomes: _Optional[_Iterable[_Union[_types_pb2.Outcome, _Mapping]]] = ..., acks: _Optional[_Iterable[_Union[_types_pb2.EventAck, _Mapping]]] = ..., drain: _Optional[bool] = ..., beat: _Optional[int] = ...) -> None: ...

class Registered(_message.Message):
    __slots__ = ("boot", "adopted", "heartbeat_ms", "silence_ms", "subscriptions")
    BOOT_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    SILENCE_MS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    boot: str
    adopted: _containers.RepeatedScalarFieldContainer[str]
    heartbeat_ms: int
    silence_ms: int
    subscriptions: _containers.RepeatedCompositeFieldContainer[_types_pb2.Subscribed]
    def __init__(self, boot: _Optional[str] = ..., adopted: _Optional[_Iterable[str]] = ..., heartbeat_ms: _Optional[int] = ..., silence_ms: _Optional[int] = ..., subscriptions: _Optional[_Iterable[_Union[_types_pb2.Subscribed, _Mapping]]] = ...) -> None: ...

class Cancellation(_message.Message):
    __slots__ = ("uuid", "token", "reason")
    UUID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    token: str
    reason: str
    def __init__(self, uuid: _Optional[str] = ..., token: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("leave",)
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    leave: bool
    def __init__(self, leave: _Optional[bool] = ...) -> None: ...

class WorkReply(_message.Message):
    __slots__ = ("registered", "commands", "settled", "cancelled", "events", "acked", "missed", "drain", "beat")
    REGISTERED_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    ACKED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    registered: Registered
    commands: _containers.RepeatedCompositeFieldContainer[_types_pb2.Command]
    settled: _containers.RepeatedCompositeFieldContainer[_types_pb2.Settled]
    cancelled: _containers.RepeatedCompositeFieldContainer[Cancellation]
    events: _containers.RepeatedCompositeFieldContainer[_types_pb2.Delivery]
    acked: _containers.RepeatedCompositeFieldContainer[_types_pb2.EventAcked]
    missed: _containers.RepeatedCompositeFieldContainer[_types_pb2.Missed]
    drain: Drain
    beat: int
    def __init__(self, registered: _Optional[_Union[Registered, _Mapping]] = ..., commands: _Optional[_Iterable[_Union[_types_pb2.Command, _Mapping]]] = ..., settled: _Optional[_Iterable[_Union[_types_pb2.Settled, _Mapping]]] = ..., cancelled: _Optional[_Iterable[_Union[Cancellation, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[_types_pb2.Delivery, _Mapping]]] = ..., acked: _Optional[_Iterable[_Union[_types_pb2.EventAcked, _Mapping]]] = ..., missed: _Optional[_Iterable[_Union[_types_pb2.Missed, _Mapping]]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., beat: _Optional[int] = ...) -> None: ...

class PollRequest(_message.Message):
    __slots__ = ("worker", "major", "minor", "commands", "limit", "lease_ms", "wait_ms")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    worker: str
    major: int
    minor: int
    commands: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    lease_ms: int
    wait_ms: int
    def __init__(self, worker: _Optional[str] = ..., major: _Optional[int] = ..., minor: _Optional[int] = ..., commands: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., lease_ms: _Optional[int] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class PollReply(_message.Message):
    __slots__ = ("commands",)
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedCompositeFieldContainer[_types_pb2.Command]
    def __init__(self, commands: _Optional[_Iterable[_Union[_types_pb2.Command, _Mapping]]] = ...) -> None: ...

class CompleteRequest(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[_types_pb2.Outcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[_types_pb2.Outcome, _Mapping]]] = ...) -> None: ...

class CompleteReply(_message.Message):
    __slots__ = ("settled",)
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    settled: _containers.RepeatedCompositeFieldContainer[_types_pb2.Settled]
    def __init__(self, settled: _Optional[_Iterable[_Union[_types_pb2.Settled, _Mapping]]] = ...) -> None: ...
