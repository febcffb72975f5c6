"""What the core of worker versions asks for; what follows from each is told to `Manager`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zconnector.actions import Note
from zconnector.errors import Reason
from zconnector.versions.editions import Edition
from zconnector.versions.states import Step


@dataclass(frozen=True, slots=True)
class Keep:
    """Commit the memory as it is now; `kept` follows."""

    number: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Install:
    """Have an edition ready to start: its files, its configuration, its keys. `installed` follows."""

    edition: Edition
    attempt: int
    content: str = ""
    """SHA-256 of the archive that it has to be, which may be on the disk; "": what the repository has."""


@dataclass(frozen=True, slots=True)
class Look:
    """Which versions does the repository have? `found` follows."""

    number: int


@dataclass(frozen=True, slots=True)
class Consult:
    """What says the manifest that was last accepted of the repository? `consulted` follows."""


@dataclass(frozen=True, slots=True)
class Start:
    """An edition should run; `moved` tells how it goes."""

    edition: Edition


@dataclass(frozen=True, slots=True)
class Stop:
    """It should not; `moved` tells."""

    edition: Edition
    drain: bool = True


@dataclass(frozen=True, slots=True)
class Steer:
    """Held back, drained, or shares and pins have changed: tell the router before anything that follows."""


@dataclass(frozen=True, slots=True)
class Canary:
    """Send the canary command to a version that is held back; `canaried` follows."""

    edition: Edition
    attempt: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer who asked. `reason` "": it succeeded."""

    ask: str
    result: Mapping[str, Any]
    reason: str = ""
    code: Reason = Reason.FAILED
    """Of a reason: what kind it is."""


@dataclass(frozen=True, slots=True)
class Advance:
    """Of a rollout, to its manager: the next step; None: it is over."""

    step: Step | None
    reason: str = ""
    passing: bool = False
    """Of ROLLING_BACK: another try may succeed as it is."""


@dataclass(frozen=True, slots=True)
class Clean:
    """What nobody goes back to may leave the disk: what that is says `Manager.stock` when it is done."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody goes back to an edition: its socket and its name may go."""

    edition: Edition


Action = (
    Clean | Consult | Forget | Keep | Install | Look | Start | Stop | Steer | Canary | Answer | Advance | Note
)
Actions = list[Action]
