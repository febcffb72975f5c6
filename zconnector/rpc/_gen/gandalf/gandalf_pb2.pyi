from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class CommandList(_message.Message):
    __slots__ = ("Major", "Minor", "Commands")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    Major: int
    Minor: int
    Commands: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, Major: _Optional[int] = ..., Minor: _Optional[int] = ..., Commands: _Optional[_Iterable[str]] = ...) -> None: ...

class Validate(_message.Message):
    __slots__ = ("valid",)
    VALID_FIELD_NUMBER: _ClassVar[int]
    valid: bool
    def __init__(self, valid: _Optional[bool] = ...) -> None: ...

class Stop(_message.Message):
    __slots__ = ("Major", "Minor")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    Major: int
    Minor: int
    def __init__(self, Major: _Optional[int] = ..., Minor: _Optional[int] = ...) -> None: ...

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class IteratorMessage(_message.Message):
    __slots__ = ("Id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    Id: str
    def __init__(self, Id: _Optional[str] = ...) -> None: ...

class CommandMessage(_message.Message):
    __slots__ = ("SourceAggregator", "SourceConnector", "SourceWorker", "DestinationAggregator", "DestinationConnector", "DestinationWorker", "Tenant", "Token", "Context", "Timeout", "Timestamp", "Major", "UUID", "ConnectorType", "CommandType", "Command", "Payload", "Admin")
    SOURCEAGGREGATOR_FIELD_NUMBER: _ClassVar[int]
    SOURCECONNECTOR_FIELD_NUMBER: _ClassVar[int]
    SOURCEWORKER_FIELD_NUMBER: _ClassVar[int]
    DESTINATIONAGGREGATOR_FIELD_NUMBER: _ClassVar[int]
    DESTINATIONCONNECTOR_FIELD_NUMBER: _ClassVar[int]
    DESTINATIONWORKER_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    CONNECTORTYPE_FIELD_NUMBER: _ClassVar[int]
    COMMANDTYPE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    SourceAggregator: str
    SourceConnector: str
    SourceWorker: str
    DestinationAggregator: str
    DestinationConnector: str
    DestinationWorker: str
    Tenant: str
    Token: str
    Context: str
    Timeout: str
    Timestamp: str
    Major: int
    UUID: str
    ConnectorType: str
    CommandType: str
    Command: str
    Payload: str
    Admin: bool
    def __init__(self, SourceAggregator: _Optional[str] = ..., SourceConnector: _Optional[str] = ..., SourceWorker: _Optional[str] = ..., DestinationAggregator: _Optional[str] = ..., DestinationConnector: _Optional[str] = ..., DestinationWorker: _Optional[str] = ..., Tenant: _Optional[str] = ..., Token: _Optional[str] = ..., Context: _Optional[str] = ..., Timeout: _Optional[str] = ..., Timestamp: _Optional[str] = ..., Major: _Optional[int] = ..., UUID: _Optional[str] = ..., ConnectorType: _Optional[str] = ..., CommandType: _Optional[str] = ..., Command: _Optional[str] = ..., Payload: _Optional[str] = ..., Admin: _Optional[bool] = ...) -> None: ...

class CommandMessageUUID(_message.Message):
    __slots__ = ("UUID",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    UUID: str
    def __init__(self, UUID: _Optional[str] = ...) -> None: ...

class CommandMessageWait(_message.Message):
    __slots__ = ("WorkerSource", "Value", "IteratorId", "Major")
    WORKERSOURCE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ITERATORID_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    WorkerSource: str
    Value: str
    IteratorId: str
    Major: int
    def __init__(self, WorkerSource: _Optional[str] = ..., Value: _Optional[str] = ..., IteratorId: _Optional[str] = ..., Major: _Optional[int] = ...) -> None: ...

class EventMessage(_message.Message):
    __slots__ = ("Tenant", "Token", "Topic", "Timeout", "Timestamp", "UUID", "Event", "Payload", "ReferenceUUID")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REFERENCEUUID_FIELD_NUMBER: _ClassVar[int]
    Tenant: str
    Token: str
    Topic: str
    Timeout: str
    Timestamp: str
    UUID: str
    Event: str
    Payload: str
    ReferenceUUID: str
    def __init__(self, Tenant: _Optional[str] = ..., Token: _Optional[str] = ..., Topic: _Optional[str] = ..., Timeout: _Optional[str] = ..., Timestamp: _Optional[str] = ..., UUID: _Optional[str] = ..., Event: _Optional[str] = ..., Payload: _Optional[str] = ..., ReferenceUUID: _Optional[str] = ...) -> None: ...

class EventMessageWait(_message.Message):
    __slots__ = ("WorkerSource", "Event", "Topic", "IteratorId", "ReferenceUUID")
    WORKERSOURCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    ITERATORID_FIELD_NUMBER: _ClassVar[int]
    REFERENCEUUID_FIELD_NUMBER: _ClassVar[int]
    WorkerSource: str
    Event: str
    Topic: str
    IteratorId: str
    ReferenceUUID: str
    def __init__(self, WorkerSource: _Optional[str] = ..., Event: _Optional[str] = ..., Topic: _Optional[str] = ..., IteratorId: _Optional[str] = ..., ReferenceUUID: _Optional[str] = ...) -> None: ...

class TopicMessageWait(_message.Message):
    __slots__ = ("WorkerSource", "Topic", "IteratorId", "ReferenceUUID")
    WORKERSOURCE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    ITERATORID_FIELD_NUMBER: _ClassVar[int]
    REFERENCEUUID_FIELD_NUMBER: _ClassVar[int]
    WorkerSource: str
    Topic: str
    IteratorId: str
    ReferenceUUID: str
    def __init__(self, WorkerSource: _Optional[str] = ..., Topic: _Optional[str] = ..., IteratorId: _Optional[str] = ..., ReferenceUUID: _Optional[str] = ...) -> None: ...
