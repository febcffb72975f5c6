from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Refusal(_message.Message):
    __slots__ = ("reason", "detail", "uuid", "limit")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    uuid: str
    limit: int
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ..., uuid: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class RetryPolicy(_message.Message):
    __slots__ = ("attempts", "first_ms", "factor", "limit_ms")
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_MS_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    attempts: int
    first_ms: int
    factor: float
    limit_ms: int
    def __init__(self, attempts: _Optional[int] = ..., first_ms: _Optional[int] = ..., factor: _Optional[float] = ..., limit_ms: _Optional[int] = ...) -> None: ...

class Submission(_message.Message):
    __slots__ = ("uuid", "type", "command", "payload", "timeout_ms", "major", "admin", "context", "command_type", "sender_token", "sender", "target", "ttl_ms", "delay_ms", "priority", "order_key", "lease_ms", "retry", "reply", "reply_timeout_ms")
    UUID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    SENDER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ORDER_KEY_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    REPLY_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    type: str
    command: str
    payload: bytes
    timeout_ms: int
    major: int
    admin: bool
    context: str
    command_type: str
    sender_token: str
    sender: str
    target: str
    ttl_ms: int
    delay_ms: int
    priority: int
    order_key: str
    lease_ms: int
    retry: RetryPolicy
    reply: bool
    reply_timeout_ms: int
    def __init__(self, uuid: _Optional[str] = ..., type: _Optional[str] = ..., command: _Optional[str] = ..., payload: _Optional[bytes] = ..., timeout_ms: _Optional[int] = ..., major: _Optional[int] = ..., admin: _Optional[bool] = ..., context: _Optional[str] = ..., command_type: _Optional[str] = ..., sender_token: _Optional[str] = ..., sender: _Optional[str] = ..., target: _Optional[str] = ..., ttl_ms: _Optional[int] = ..., delay_ms: _Optional[int] = ..., priority: _Optional[int] = ..., order_key: _Optional[str] = ..., lease_ms: _Optional[int] = ..., retry: _Optional[_Union[RetryPolicy, _Mapping]] = ..., reply: _Optional[bool] = ..., reply_timeout_ms: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("uuid", "outcome", "refusal")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[Receipt.Outcome]
        ACCEPTED: _ClassVar[Receipt.Outcome]
        REJECTED: _ClassVar[Receipt.Outcome]
        NOT_SENT: _ClassVar[Receipt.Outcome]
        UNKNOWN: _ClassVar[Receipt.Outcome]
    OUTCOME_UNSPECIFIED: Receipt.Outcome
    ACCEPTED: Receipt.Outcome
    REJECTED: Receipt.Outcome
    NOT_SENT: Receipt.Outcome
    UNKNOWN: Receipt.Outcome
    UUID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    outcome: Receipt.Outcome
    refusal: Refusal
    def __init__(self, uuid: _Optional[str] = ..., outcome: _Optional[_Union[Receipt.Outcome, str]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("uuid", "ok", "event", "payload", "reason", "detail", "refusal")
    UUID_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    ok: bool
    event: str
    payload: bytes
    reason: str
    detail: str
    refusal: Refusal
    def __init__(self, uuid: _Optional[str] = ..., ok: _Optional[bool] = ..., event: _Optional[str] = ..., payload: _Optional[bytes] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("uuid", "token", "attempt", "lease_ms", "command", "payload", "source", "sender", "type", "command_type", "major", "admin", "context", "sender_token", "timeout_ms", "timestamp_ms", "priority", "order_key", "ttl_ms", "replay_of")
    UUID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SENDER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ORDER_KEY_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_OF_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    token: str
    attempt: int
    lease_ms: int
    command: str
    payload: bytes
    source: str
    sender: str
    type: str
    command_type: str
    major: int
    admin: bool
    context: str
    sender_token: str
    timeout_ms: int
    timestamp_ms: int
    priority: int
    order_key: str
    ttl_ms: int
    replay_of: str
    def __init__(self, uuid: _Optional[str] = ..., token: _Optional[str] = ..., attempt: _Optional[int] = ..., lease_ms: _Optional[int] = ..., command: _Optional[str] = ..., payload: _Optional[bytes] = ..., source: _Optional[str] = ..., sender: _Optional[str] = ..., type: _Optional[str] = ..., command_type: _Optional[str] = ..., major: _Optional[int] = ..., admin: _Optional[bool] = ..., context: _Optional[str] = ..., sender_token: _Optional[str] = ..., timeout_ms: _Optional[int] = ..., timestamp_ms: _Optional[int] = ..., priority: _Optional[int] = ..., order_key: _Optional[str] = ..., ttl_ms: _Optional[int] = ..., replay_of: _Optional[str] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("uuid", "token", "kind", "payload", "error", "delay_ms", "event", "extend_ms")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Outcome.Kind]
        ACK: _ClassVar[Outcome.Kind]
        FAIL: _ClassVar[Outcome.Kind]
        NAK: _ClassVar[Outcome.Kind]
        PROGRESS: _ClassVar[Outcome.Kind]
    KIND_UNSPECIFIED: Outcome.Kind
    ACK: Outcome.Kind
    FAIL: Outcome.Kind
    NAK: Outcome.Kind
    PROGRESS: Outcome.Kind
    UUID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    EXTEND_MS_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    token: str
    kind: Outcome.Kind
    payload: bytes
    error: str
    delay_ms: int
    event: str
    extend_ms: int
    def __init__(self, uuid: _Optional[str] = ..., token: _Optional[str] = ..., kind: _Optional[_Union[Outcome.Kind, str]] = ..., payload: _Optional[bytes] = ..., error: _Optional[str] = ..., delay_ms: _Optional[int] = ..., event: _Optional[str] = ..., extend_ms: _Optional[int] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("uuid", "kind", "refusal")
    UUID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    kind: Outcome.Kind
    refusal: Refusal
    def __init__(self, uuid: _Optional[str] = ..., kind: _Optional[_Union[Outcome.Kind, str]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Publication(_message.Message):
    __slots__ = ("uuid", "topic", "event", "payload", "reference", "timeout_ms", "sender_token", "sender")
    UUID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SENDER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    topic: str
    event: str
    payload: bytes
    reference: str
    timeout_ms: int
    sender_token: str
    sender: str
    def __init__(self, uuid: _Optional[str] = ..., topic: _Optional[str] = ..., event: _Optional[str] = ..., payload: _Optional[bytes] = ..., reference: _Optional[str] = ..., timeout_ms: _Optional[int] = ..., sender_token: _Optional[str] = ..., sender: _Optional[str] = ...) -> None: ...

class Published(_message.Message):
    __slots__ = ("uuid", "refusal")
    UUID_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    refusal: Refusal
    def __init__(self, uuid: _Optional[str] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Topic(_message.Message):
    __slots__ = ("topic", "event")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    topic: str
    event: str
    def __init__(self, topic: _Optional[str] = ..., event: _Optional[str] = ...) -> None: ...

class Subscription(_message.Message):
    __slots__ = ("name", "topics", "max_unacked", "lease_ms", "credits")
    class From(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FROM_UNSPECIFIED: _ClassVar[Subscription.From]
        NEW: _ClassVar[Subscription.From]
        OLDEST: _ClassVar[Subscription.From]
    FROM_UNSPECIFIED: Subscription.From
    NEW: Subscription.From
    OLDEST: Subscription.From
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    MAX_UNACKED_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    name: str
    topics: _containers.RepeatedCompositeFieldContainer[Topic]
    max_unacked: int
    lease_ms: int
    credits: int
    def __init__(self, name: _Optional[str] = ..., topics: _Optional[_Iterable[_Union[Topic, _Mapping]]] = ..., max_unacked: _Optional[int] = ..., lease_ms: _Optional[int] = ..., credits: _Optional[int] = ..., **kwargs) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("subscription", "id", "uuid", "attempt", "topic", "event", "payload", "source", "reference", "timestamp_ms", "timeout_ms", "sender_token")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SENDER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    subscription: str
    id: int
    uuid: str
    attempt: int
    topic: str
    event: str
    payload: bytes
    source: str
    reference: str
    timestamp_ms: int
    timeout_ms: int
    sender_token: str
    def __init__(self, subscription: _Optional[str] = ..., id: _Optional[int] = ..., uuid: _Optional[str] = ..., attempt: _Optional[int] = ..., topic: _Optional[str] = ..., event: _Optional[str] = ..., payload: _Optional[bytes] = ..., source: _Optional[str] = ..., reference: _Optional[str] = ..., timestamp_ms: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., sender_token: _Optional[str] = ...) -> None: ...

class EventAck(_message.Message):
    __slots__ = ("subscription", "id", "ok", "attempt")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    subscription: str
    id: int
    ok: bool
    attempt: int
    def __init__(self, subscription: _Optional[str] = ..., id: _Optional[int] = ..., ok: _Optional[bool] = ..., attempt: _Optional[int] = ...) -> None: ...

class EventAcked(_message.Message):
    __slots__ = ("subscription", "id", "refusal")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    subscription: str
    id: int
    refusal: Refusal
    def __init__(self, subscription: _Optional[str] = ..., id: _Optional[int] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Subscribed(_message.Message):
    __slots__ = ("subscription", "created")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    subscription: str
    created: bool
    def __init__(self, subscription: _Optional[str] = ..., created: _Optional[bool] = ...) -> None: ...

class Missed(_message.Message):
    __slots__ = ("subscription", "events")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    subscription: str
    events: int
    def __init__(self, subscription: _Optional[str] = ..., events: _Optional[int] = ...) -> None: ...
