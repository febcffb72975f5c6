"""Leases, versions, and the record the queue keeps of each command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from zconnector.actions import Actions, Caller
from zconnector.clock import Instant
from zconnector.queue.states import State


class Version(NamedTuple):
    """Version of a worker."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class Lease:
    """One command is with one worker. Invariant: a command has at most one lease at a time."""

    iterator: str
    worker: str
    """The worker's name as it gave it, or the identity its own socket gives it."""
    client: bytes
    """Routing id at the door of the client that it was handed to."""
    version: Version | None
    """The version that the waiter serves; None: it never registered one."""
    attempt: int
    """1 for the first lease of this command."""
    token: str
    """Fresh for each lease."""
    since: float
    """Monotonic time; of a lease from before a restart: when this process started."""

    def as_meta(self) -> dict[str, Any]:
        return {
            "iterator": self.iterator,
            "worker": self.worker,
            "client": self.client.hex(),
            "version": None if self.version is None else list(self.version),
            "attempt": self.attempt,
            "token": self.token,
        }

    @classmethod
    def from_meta(cls, meta: dict[str, Any], since: float) -> Lease:
        version = meta["version"]
        return cls(
            iterator=meta["iterator"],
            worker=meta["worker"],
            client=bytes.fromhex(meta["client"]),
            version=None if version is None else Version(*version),
            attempt=meta["attempt"],
            token=meta["token"],
            since=since,
        )


@dataclass(slots=True, eq=False)
class Command:
    """What is in memory of a command: everything but header and payload."""

    key: int
    uuid: str
    digest: str
    name: str
    major: int
    admin: bool
    source: str
    tenant: str
    accept_until: int
    size: int
    """Bytes of the stored body: the command's, and after its end the reply's."""
    state: State = State.STORING
    attempt: int = 0
    lease: Lease | None = None
    """Also while COMPLETING: where it goes back to when that commit fails."""
    caller: Caller | None = None
    """The call that the lease was handed to, until it is over."""
    reply: str = ""
    """Uuid of the reply once it has ended."""
    after: tuple[Callable[[Instant], Actions], ...] = ()
    """Who asked about it while a commit is under way; asked again when that is over."""

    def as_meta(self, state: State) -> dict[str, Any]:
        """The stored form. STORING and COMPLETING are never stored: a commit makes them READY or ended."""
        meta: dict[str, Any] = {
            "uuid": self.uuid,
            "digest": self.digest,
            "name": self.name,
            "major": self.major,
            "source": self.source,
            "tenant": self.tenant,
            "accept_until": self.accept_until,
            "state": state,
            "attempt": self.attempt,
        }
        if self.admin:
            meta["admin"] = True
        if self.lease is not None and state is State.LEASED:
            meta["lease"] = self.lease.as_meta()
        if self.reply:
            meta["reply"] = self.reply
        return meta

    @classmethod
    def from_meta(cls, key: int, size: int, meta: dict[str, Any], since: float) -> Command:
        lease = meta.get("lease")
        return cls(
            key=key,
            uuid=meta["uuid"],
            digest=meta["digest"],
            name=meta["name"],
            major=meta["major"],
            admin=meta.get("admin", False),
            source=meta["source"],
            tenant=meta["tenant"],
            accept_until=meta["accept_until"],
            size=size,
            state=State(meta["state"]),
            attempt=meta["attempt"],
            lease=None if lease is None else Lease.from_meta(lease, since),
            reply=meta.get("reply", ""),
        )
