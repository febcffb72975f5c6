"""Who waits for commands."""

from __future__ import annotations

from dataclasses import dataclass

from zconnector.actions import Caller
from zconnector.configuration.pivot import Version
from zconnector.queue.routing import Aim, Serves

ADMIN_WORKER = "ADMIN"


@dataclass(slots=True)
class Waiter:
    """A pending wait_command, or take."""

    caller: Caller
    iterator: str
    name: str
    major: int
    worker: str
    serving: Version | None
    order: int
    """Grows with each wait: lower has waited longer."""
    names: tuple[str, ...] = ()
    """Of a take: all the names that it takes from; `name` is one of them."""
    holder: str = ""
    """Of a take: the stream that it is for, if any."""
    limit: int = 1
    lease_ms: int = 0
    serves: Serves = ()
    """The versions whose commands it may get; of one version mostly that which it is `serving`."""
    aim: Aim | None = None
    """Where its worker is aimed at: it gets that and nothing else."""
    barred: bool = False
    """Its worker gets nothing (it is drained, or held back): it stands in no line."""

    @property
    def stands_for(self) -> Serves:
        """What a rule knows it by. Changes only while it stands in no line."""
        return self.serves if self.aim is None else (self.aim,)

    @property
    def text(self) -> bool:
        """Whether it can be handed only what is UTF-8 (the Gandalf API)."""
        return not self.names

    @property
    def held_by(self) -> str:
        """As `Lease.held_by`."""
        return self.iterator or (f"holder/{self.holder}" if self.holder else "")

    @property
    def lines(self) -> list[tuple[str, bool]]:
        """Where it stands: a name, and whether it is the admin worker's line."""
        return [(name, self.admin) for name in self.names or (self.name,)]

    @property
    def admin(self) -> bool:
        return self.worker == ADMIN_WORKER
