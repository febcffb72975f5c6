"""A worker's life, decided purely: what to do next, after what the connector or the operator said.

| state | event | step | next |
|---|---|---|---|
| REGISTERING | ACCEPTED | SERVE | SERVING |
| REGISTERING | REFUSED | DRAIN, exit status of the refusal | DRAINING |
| REGISTERING | AWAY | RETRY after a pause | REGISTERING |
| REGISTERING | SIGNAL | DRAIN | DRAINING |
| SERVING | BEAT_TRUE | BEAT after a second | SERVING |
| SERVING | AWAY | BEAT after a second: the waits reconnect by themselves | SERVING |
| SERVING | ROUTER_NEW | REGISTER: the router restarted and does not know this worker | REGISTERING |
| SERVING | BEAT_FALSE | DRAIN: this version is told to leave | DRAINING |
| SERVING | SIGNAL | DRAIN | DRAINING |
| DRAINING | IDLE | EXIT | STOPPED |

Anything else changes nothing. Handlers run on through REGISTERING and DRAINING; DRAIN ends only the waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from zconnector.worker.errors import RegistrationRefused


class State(StrEnum):
    """Where a worker is in its life."""

    REGISTERING = "REGISTERING"
    SERVING = "SERVING"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"


class Happening(StrEnum):
    """What may happen to it."""

    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    AWAY = "AWAY"
    BEAT_TRUE = "BEAT_TRUE"
    ROUTER_NEW = "ROUTER_NEW"
    BEAT_FALSE = "BEAT_FALSE"
    SIGNAL = "SIGNAL"
    IDLE = "IDLE"


class Step(StrEnum):
    """What to do then."""

    NOTHING = "NOTHING"
    REGISTER = "REGISTER"
    RETRY = "RETRY"
    SERVE = "SERVE"
    BEAT = "BEAT"
    DRAIN = "DRAIN"
    EXIT = "EXIT"


_S, _H = State, Happening

TABLE: dict[tuple[State, Happening], tuple[Step, State]] = {
    (_S.REGISTERING, _H.ACCEPTED): (Step.SERVE, _S.SERVING),
    (_S.REGISTERING, _H.REFUSED): (Step.DRAIN, _S.DRAINING),
    (_S.REGISTERING, _H.AWAY): (Step.RETRY, _S.REGISTERING),
    (_S.REGISTERING, _H.SIGNAL): (Step.DRAIN, _S.DRAINING),
    (_S.SERVING, _H.BEAT_TRUE): (Step.BEAT, _S.SERVING),
    (_S.SERVING, _H.AWAY): (Step.BEAT, _S.SERVING),
    (_S.SERVING, _H.ROUTER_NEW): (Step.REGISTER, _S.REGISTERING),
    (_S.SERVING, _H.BEAT_FALSE): (Step.DRAIN, _S.DRAINING),
    (_S.SERVING, _H.SIGNAL): (Step.DRAIN, _S.DRAINING),
    (_S.DRAINING, _H.IDLE): (Step.EXIT, _S.STOPPED),
}


@dataclass(slots=True)
class Lifecycle:
    """The life of one worker process.

    Invariant: `boot` is that of the router which last accepted this worker ("" before, and for a
    connector that does not tell).
    """

    state: State = State.REGISTERING
    boot: str = ""
    error: RegistrationRefused | None = None

    def accepted(self, boot: str) -> Step:
        """SendCommandList said valid."""
        self.boot = boot
        return self._on(Happening.ACCEPTED)

    def refused(self, error: RegistrationRefused) -> Step:
        """SendCommandList said not valid."""
        if self.state is State.REGISTERING:
            self.error = error
        return self._on(Happening.REFUSED)

    def away(self) -> Step:
        """The connector did not answer."""
        return self._on(Happening.AWAY)

    def beaten(self, valid: bool, boot: str) -> Step:
        """SendStop was answered. Under another boot id even a yes is about somebody else's registration."""
        if boot and boot != self.boot:
            return self._on(Happening.ROUTER_NEW)
        return self._on(Happening.BEAT_TRUE if valid else Happening.BEAT_FALSE)

    def signalled(self) -> Step:
        """SIGTERM or SIGINT."""
        return self._on(Happening.SIGNAL)

    def idle(self) -> Step:
        """Nothing runs any more."""
        return self._on(Happening.IDLE)

    @property
    def exit_code(self) -> int:
        """Exit status of the process: 0, or that of a refused registration."""
        return self.error.exit_code if self.error is not None else 0

    def _on(self, happening: Happening) -> Step:
        step, self.state = TABLE.get((self.state, happening), (Step.NOTHING, self.state))
        return step
