"""What the worker service is told: times and bounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Times and bounds of the worker service. Seconds, counts."""

    hold: float = 1.0
    """Gandalf API: seconds from the call's begin until a definite error of SendCommandMessage is told."""
    default_timeout_ms: int = 10_000
    """Timeout of a message that carries none."""
    worker: str = ""
    """Identity of the worker that this socket belongs to; empty: a shared socket."""
    v1: bool = True
    """Serve zconnector.v1 beside the Gandalf API."""
    heartbeat: float = 5.0
    """Both ends of a v1 stream say something at least so often."""
    silence: float = 15.0
    """A v1 stream whose client said nothing for so long is ended."""
    max_streams: int = 10_000
    """v1 streams open at once."""
    closing: float = 0.3
    """What a v1 stream has under way may still be answered so long when we end."""
