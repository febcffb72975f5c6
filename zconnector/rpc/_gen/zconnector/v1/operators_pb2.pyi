from google.protobuf import struct_pb2 as _struct_pb2
from ...zconnector.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListQueueRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListQueueReply(_message.Message):
    __slots__ = ("rows", "paused")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[QueueRow]
    paused: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rows: _Optional[_Iterable[_Union[QueueRow, _Mapping]]] = ..., paused: _Optional[_Iterable[str]] = ...) -> None: ...

class QueueRow(_message.Message):
    __slots__ = ("command", "major", "ready", "delayed", "leased", "done", "dead", "bytes", "oldest_ms", "paused", "workers", "waits")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    DELAYED_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    OLDEST_MS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    command: str
    major: int
    ready: int
    delayed: int
    leased: int
    done: int
    dead: int
    bytes: int
    oldest_ms: int
    paused: bool
    workers: int
    waits: int
    def __init__(self, command: _Optional[str] = ..., major: _Optional[int] = ..., ready: _Optional[int] = ..., delayed: _Optional[int] = ..., leased: _Optional[int] = ..., done: _Optional[int] = ..., dead: _Optional[int] = ..., bytes: _Optional[int] = ..., oldest_ms: _Optional[int] = ..., paused: _Optional[bool] = ..., workers: _Optional[int] = ..., waits: _Optional[int] = ...) -> None: ...

class PeekQueueRequest(_message.Message):
    __slots__ = ("command", "limit")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    command: str
    limit: int
    def __init__(self, command: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class PeekQueueReply(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[QueuedCommand]
    def __init__(self, rows: _Optional[_Iterable[_Union[QueuedCommand, _Mapping]]] = ...) -> None: ...

class QueuedCommand(_message.Message):
    __slots__ = ("uuid", "command", "major", "state", "attempt", "priority", "order_key", "age_ms", "due_ms", "source", "size", "error", "lease")
    class Lease(_message.Message):
        __slots__ = ("worker", "since_ms")
        WORKER_FIELD_NUMBER: _ClassVar[int]
        SINCE_MS_FIELD_NUMBER: _ClassVar[int]
        worker: str
        since_ms: int
        def __init__(self, worker: _Optional[str] = ..., since_ms: _Optional[int] = ...) -> None: ...
    UUID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ORDER_KEY_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    DUE_MS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    command: str
    major: int
    state: str
    attempt: int
    priority: int
    order_key: str
    age_ms: int
    due_ms: int
    source: str
    size: int
    error: str
    lease: QueuedCommand.Lease
    def __init__(self, uuid: _Optional[str] = ..., command: _Optional[str] = ..., major: _Optional[int] = ..., state: _Optional[str] = ..., attempt: _Optional[int] = ..., priority: _Optional[int] = ..., order_key: _Optional[str] = ..., age_ms: _Optional[int] = ..., due_ms: _Optional[int] = ..., source: _Optional[str] = ..., size: _Optional[int] = ..., error: _Optional[str] = ..., lease: _Optional[_Union[QueuedCommand.Lease, _Mapping]] = ...) -> None: ...

class PurgeQueueRequest(_message.Message):
    __slots__ = ("command", "state")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    command: str
    state: str
    def __init__(self, command: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class PurgeQueueReply(_message.Message):
    __slots__ = ("n", "stopped_by")
    N_FIELD_NUMBER: _ClassVar[int]
    STOPPED_BY_FIELD_NUMBER: _ClassVar[int]
    n: int
    stopped_by: str
    def __init__(self, n: _Optional[int] = ..., stopped_by: _Optional[str] = ...) -> None: ...

class PauseCommandRequest(_message.Message):
    __slots__ = ("command",)
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    command: str
    def __init__(self, command: _Optional[str] = ...) -> None: ...

class PauseCommandReply(_message.Message):
    __slots__ = ("paused",)
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    paused: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, paused: _Optional[_Iterable[str]] = ...) -> None: ...

class ResumeCommandRequest(_message.Message):
    __slots__ = ("command",)
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    command: str
    def __init__(self, command: _Optional[str] = ...) -> None: ...

class ResumeCommandReply(_message.Message):
    __slots__ = ("paused",)
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    paused: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, paused: _Optional[_Iterable[str]] = ...) -> None: ...

class CancelCommandRequest(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    def __init__(self, uuid: _Optional[str] = ...) -> None: ...

class CancelCommandReply(_message.Message):
    __slots__ = ("uuid", "state")
    UUID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    state: str
    def __init__(self, uuid: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    def __init__(self, uuid: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("uuid", "where", "connector", "state", "command", "attempt", "attempts", "history", "waits_for")
    class Step(_message.Message):
        __slots__ = ("at", "what")
        AT_FIELD_NUMBER: _ClassVar[int]
        WHAT_FIELD_NUMBER: _ClassVar[int]
        at: int
        what: str
        def __init__(self, at: _Optional[int] = ..., what: _Optional[str] = ...) -> None: ...
    UUID_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    CONNECTOR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    where: str
    connector: str
    state: str
    command: str
    attempt: int
    attempts: int
    history: _containers.RepeatedCompositeFieldContainer[Explanation.Step]
    waits_for: str
    def __init__(self, uuid: _Optional[str] = ..., where: _Optional[str] = ..., connector: _Optional[str] = ..., state: _Optional[str] = ..., command: _Optional[str] = ..., attempt: _Optional[int] = ..., attempts: _Optional[int] = ..., history: _Optional[_Iterable[_Union[Explanation.Step, _Mapping]]] = ..., waits_for: _Optional[str] = ...) -> None: ...

class ListWorkersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListWorkersReply(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[WorkerRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[WorkerRow, _Mapping]]] = ...) -> None: ...

class WorkerRow(_message.Message):
    __slots__ = ("worker", "api", "state", "major", "minor", "commands", "waits", "leases", "last_beat_ms", "since_ms")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    API_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    LAST_BEAT_MS_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    worker: str
    api: str
    state: str
    major: int
    minor: int
    commands: _containers.RepeatedScalarFieldContainer[str]
    waits: int
    leases: int
    last_beat_ms: int
    since_ms: int
    def __init__(self, worker: _Optional[str] = ..., api: _Optional[str] = ..., state: _Optional[str] = ..., major: _Optional[int] = ..., minor: _Optional[int] = ..., commands: _Optional[_Iterable[str]] = ..., waits: _Optional[int] = ..., leases: _Optional[int] = ..., last_beat_ms: _Optional[int] = ..., since_ms: _Optional[int] = ...) -> None: ...

class LetterFilter(_message.Message):
    __slots__ = ("reason", "command", "source", "older_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OLDER_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    command: str
    source: str
    older_ms: int
    def __init__(self, reason: _Optional[str] = ..., command: _Optional[str] = ..., source: _Optional[str] = ..., older_ms: _Optional[int] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("filter", "uuid", "limit", "after")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    filter: LetterFilter
    uuid: str
    limit: int
    after: int
    def __init__(self, filter: _Optional[_Union[LetterFilter, _Mapping]] = ..., uuid: _Optional[str] = ..., limit: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...

class ListDeadLettersReply(_message.Message):
    __slots__ = ("rows", "next")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[DeadLetter]
    next: int
    def __init__(self, rows: _Optional[_Iterable[_Union[DeadLetter, _Mapping]]] = ..., next: _Optional[int] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("uuid", "kind", "command", "reason", "detail", "attempts", "error", "source", "at", "edited", "size")
    UUID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    EDITED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    kind: str
    command: str
    reason: str
    detail: str
    attempts: int
    error: str
    source: str
    at: int
    edited: int
    size: int
    def __init__(self, uuid: _Optional[str] = ..., kind: _Optional[str] = ..., command: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., attempts: _Optional[int] = ..., error: _Optional[str] = ..., source: _Optional[str] = ..., at: _Optional[int] = ..., edited: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class ShowDeadLetterRequest(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    def __init__(self, uuid: _Optional[str] = ...) -> None: ...

class ShowDeadLetterReply(_message.Message):
    __slots__ = ("letter", "header", "payload")
    LETTER_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    letter: DeadLetter
    header: _struct_pb2.Struct
    payload: bytes
    def __init__(self, letter: _Optional[_Union[DeadLetter, _Mapping]] = ..., header: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class EditDeadLetterRequest(_message.Message):
    __slots__ = ("uuid", "payload")
    UUID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    payload: bytes
    def __init__(self, uuid: _Optional[str] = ..., payload: _Optional[bytes] = ...) -> None: ...

class EditDeadLetterReply(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    def __init__(self, uuid: _Optional[str] = ...) -> None: ...

class ReplayDeadLettersRequest(_message.Message):
    __slots__ = ("uuid", "filter", "all", "limit", "after")
    UUID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    filter: LetterFilter
    all: bool
    limit: int
    after: int
    def __init__(self, uuid: _Optional[str] = ..., filter: _Optional[_Union[LetterFilter, _Mapping]] = ..., all: _Optional[bool] = ..., limit: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...

class ReplayDeadLettersReply(_message.Message):
    __slots__ = ("n", "uuids", "refused", "next")
    class Replayed(_message.Message):
        __slots__ = ("uuid", "replay_of")
        UUID_FIELD_NUMBER: _ClassVar[int]
        REPLAY_OF_FIELD_NUMBER: _ClassVar[int]
        uuid: str
        replay_of: str
        def __init__(self, uuid: _Optional[str] = ..., replay_of: _Optional[str] = ...) -> None: ...
    N_FIELD_NUMBER: _ClassVar[int]
    UUIDS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    n: int
    uuids: _containers.RepeatedCompositeFieldContainer[ReplayDeadLettersReply.Replayed]
    refused: _containers.RepeatedCompositeFieldContainer[_types_pb2.Refusal]
    next: int
    def __init__(self, n: _Optional[int] = ..., uuids: _Optional[_Iterable[_Union[ReplayDeadLettersReply.Replayed, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[_types_pb2.Refusal, _Mapping]]] = ..., next: _Optional[int] = ...) -> None: ...

class PurgeDeadLettersRequest(_message.Message):
    __slots__ = ("uuid", "filter", "all")
    UUID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    filter: LetterFilter
    all: bool
    def __init__(self, uuid: _Optional[str] = ..., filter: _Optional[_Union[LetterFilter, _Mapping]] = ..., all: _Optional[bool] = ...) -> None: ...

class PurgeDeadLettersReply(_message.Message):
    __slots__ = ("n",)
    N_FIELD_NUMBER: _ClassVar[int]
    n: int
    def __init__(self, n: _Optional[int] = ...) -> None: ...
