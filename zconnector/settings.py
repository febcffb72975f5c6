"""Settings: frozen, resolved once by the CLI (flags, then environment, then file), then handed down.

Nothing below `zconnector/cli` reads argv or the environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Times and bounds of sessions (WIRE.md sections 4, 5, 12). Seconds, counts."""

    heartbeat: float = 0.75
    dead_after: float = 2.5
    greeting: float = 3.0
    backoff_first: float = 0.05
    backoff_limit: float = 2.0
    credit: int = 256
    max_sessions: int = 4096
    max_unvalidated: int = 256
    rate: float = 2_000.0
    """Messages a second of one peer below that are acknowledged; it has no credit for more. What it sends
    without credit is dropped unread, and counted."""
    burst: int = 64


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Bounds and times of the local queue. Counts, bytes, seconds."""

    max_commands: int = 100_000
    max_command_bytes: int = 1 << 30
    overflow: str = "refuse"
    """What a full queue does with a new command: `refuse` it, or `drop_oldest` to make room for it."""
    max_events: int = 100_000
    max_event_bytes: int = 512 << 20
    event_retention: float = 86_400.0
    max_unknown: int = 100_000
    """Commands sent from here that are under way, or of unknown outcome."""
    max_outbox: int = 100_000
    max_outbox_bytes: int = 512 << 20
    reply_retention: float = 86_400.0
    max_iterators: int = 10_000
    iterator_idle: float = 3_600.0
    dedupe_window: float = 720.0
    lease_limit: float = 300.0
    """A lease lasts no longer than this without progress, unless command or worker ask for another."""
    adopt_within: float = 15.0
    """After a restart a stream must take up its leases again within this."""
    retry_attempts: int = 5
    retry_first: float = 1.0
    retry_factor: float = 2.0
    retry_limit: float = 100.0
    """Attempts and pauses of commands whose sender and pivot say nothing else."""
    beat_missed: float = 4.0
    """A worker (or, on a shared socket, a version) that registered and is silent for this long is gone."""
    max_dead: int = 10_000
    max_dead_bytes: int = 256 << 20
    resend_first: float = 1.0
    resend_limit: float = 30.0


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What every component has."""

    state_dir: Path
    log_level: str = "warning"
    log_format: str = "json"
    """json or console."""
    enrolment: str = field(default="", repr=False)
    """Enrolment string; empty: the one kept in the state directory."""
    crash_at: str = ""
    """Name of a crash point (tests only)."""
    notify: str = ""
    """Datagram socket to tell when this component serves (systemd's NOTIFY_SOCKET); empty: nobody asks."""
    session: SessionSettings = SessionSettings()


@dataclass(frozen=True, slots=True)
class ConnectorSettings(ProcessSettings):
    """A connector: router, local queue, gRPC worker service."""

    grpc: str = ""
    """Address workers dial, `unix:PATH` or `HOST:PORT`; empty: `grpc.sock` in the state directory."""
    max_timeout_ms: int = 600_000
    default_timeout_ms: int = 10_000
    strict: bool = True
    """False: a type without a pivot takes its first SendCommandList as its pivot."""
    grpc_tls_cert: str = ""
    grpc_tls_key: str = ""
    grpc_token_file: str = ""
    """For an address `HOST:PORT`: certificate, its key, and the file with the token that workers show."""
    queue: QueueSettings = QueueSettings()


@dataclass(frozen=True, slots=True)
class FrontEndSettings(ProcessSettings):
    """A gRPC front end in a process of its own, at the door of a connector on this machine."""

    connector: str = ""
    """State directory of the connector."""
    grpc: str = ""
    """Address workers dial; empty: `grpc.sock` in the front end's own state directory."""
    default_timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class AggregatorSettings(ProcessSettings):
    """One instance of an aggregator."""

    bind: str = "tcp://127.0.0.1:0"
    advertise: str = ""
    """Endpoint told to connectors; empty: what was bound."""
    max_in_flight: int = 10_000


@dataclass(frozen=True, slots=True)
class ClusterSettings(ProcessSettings):
    """One cluster member."""

    bind: str = "tcp://127.0.0.1:0"
    advertise: str = ""
    member: str = "1"
    strict: bool = True
    session: SessionSettings = SessionSettings(credit=1_024, rate=20_000.0, burst=1_024)
    """Its peers are aggregators: each brings what all connectors of a tenant send."""
    max_in_flight: int = 10_000
    journal_days: float = 7.0
    journal_bytes: int = 10 << 30
