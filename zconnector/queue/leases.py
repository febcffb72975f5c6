"""Leases, versions, and the record the queue keeps of each command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zconnector.actions import Actions, Caller
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.states import ENDED, LEASED, State

MAX_CONTEXT = 128
"""Bytes of an application context that is kept in memory: a longer one can be pinned to nothing."""
_UNTOLD = 300.0
"""Seconds of a lease that was stored by a version that did not store how long it lasts."""


@dataclass(slots=True)
class Lease:
    """One command is with one worker. Invariant: a command has at most one lease at a time.

    Never changed: another one takes its place. (Frozen it would take three times as long to make.)
    """

    iterator: str
    """Through which it was taken; "": by `take` (of zconnector.v1)."""
    worker: str
    """The worker's name as it gave it, or the identity its own socket gives it."""
    client: bytes
    """Routing id at the door of the client that it was handed to."""
    version: Version | None
    """The version that the waiter serves; None: it never registered one."""
    attempt: int
    """1 for the first lease of this command that counts."""
    token: str
    """Fresh for each lease: it fences off whoever held an earlier one."""
    since: float
    """Monotonic time; of a lease from before a restart: when this process started."""
    length: float = _UNTOLD
    """Seconds that it lasts without progress."""
    holder: str = ""
    """The stream that has it; "": nobody whose end could be told (Gandalf, or a unary call)."""

    @property
    def held_by(self) -> str:
        """What the leases of one holder are found by; "": nothing but time ends it."""
        return self.iterator or (f"holder/{self.holder}" if self.holder else "")

    def as_meta(self) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "iterator": self.iterator,
            "worker": self.worker,
            "client": self.client.hex(),
            "version": None if self.version is None else list(self.version),
            "attempt": self.attempt,
            "token": self.token,
            "length": self.length,
        }
        if self.holder:
            meta["holder"] = self.holder
        return meta

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
            length=float(meta.get("length", _UNTOLD)),
            holder=meta.get("holder", ""),
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
    at: int = 0
    """When it arrived; once it has ended: when it did (wall clock, ms). 0: stored by an older version."""
    state: State = State.STORING
    attempt: int = 0
    """Leases so far that count."""
    priority: int = 0
    order_key: str = ""
    context: str = ""
    """Its application context, by which it may be pinned to a version; "" also of one over MAX_CONTEXT."""
    policy: RetryPolicy | None = None
    """None: that of the settings."""
    lease_ms: int = 0
    """The lease that its sender asks for; 0: that of the settings."""
    delay: int = 0
    due: int = 0
    """While DELAYED: for how long (ms), and until when (wall clock, ms)."""
    ttl: int = 0
    expires: int = 0
    """Its time to live from its arrival on (ms), and when that is over (wall clock, ms); 0: never."""
    over_at: float = 0.0
    """The same as monotonic time of this process; not stored."""
    timed: bool = False
    """It may have an alarm beside that of its lease; not stored."""
    error: str = ""
    """What the last nak said."""
    lease: Lease | None = None
    """Also while COMPLETING: where it goes back to when that commit fails."""
    caller: Caller | None = None
    """The call that the lease was handed to, until it is over."""
    reply: str = ""
    """Uuid of the reply once it has ended."""
    history: bytes = b""
    """See `history.py`; not stored."""
    after: tuple[Callable[[Instant], Actions], ...] = ()
    """Who asked about it while a commit is under way; asked again when that is over."""
    before: Command | None = None
    behind: Command | None = None
    """Its neighbours among the live commands of its name and order key."""

    def as_meta(self, state: State) -> dict[str, Any]:
        """The stored form. STORING and COMPLETING are never stored: a commit makes them something else."""
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
            "at": self.at,
        }
        if self.admin:
            meta["admin"] = True
        if state in ENDED:
            if self.reply:
                meta["reply"] = self.reply
            return meta
        if self._has_options:
            for name in _OPTIONAL:
                value = getattr(self, name)
                if value:
                    meta[name] = value
        if self.policy is not None:
            meta["policy"] = list(self.policy)
        if self.lease is not None and state is LEASED:
            meta["lease"] = self.lease.as_meta()
        return meta

    @property
    def _has_options(self) -> bool:
        """Whether any of `_OPTIONAL` is not empty, as few have."""
        return bool(
            self.priority
            or self.order_key
            or self.context
            or self.lease_ms
            or self.delay
            or self.due
            or self.ttl
            or self.expires
            or self.error
        )

    @classmethod
    def from_meta(cls, key: int, size: int, meta: dict[str, Any], since: float) -> Command:
        command = cls(
            key,
            meta["uuid"],
            meta["digest"],
            sys.intern(meta["name"]),
            meta["major"],
            meta.get("admin", False),
            sys.intern(meta["source"]),
            sys.intern(meta["tenant"]),
            meta["accept_until"],
            size,
            meta.get("at", 0),
            _STATES[meta["state"]],
            meta["attempt"],
        )
        if len(meta) > _ALWAYS:
            for name in _SOMETIMES:
                if name in meta:
                    setattr(command, name, meta[name])
            command.context = sys.intern(command.context)
            lease, policy = meta.get("lease"), meta.get("policy")
            command.lease = None if lease is None else Lease.from_meta(lease, since)
            command.policy = None if policy is None else RetryPolicy(*policy).over({})
        return command


_OPTIONAL = (
    "priority",
    "order_key",
    "context",
    "lease_ms",
    "delay",
    "due",
    "ttl",
    "expires",
    "error",
)
"""Stored where they are not empty."""
_SOMETIMES = ("reply", *_OPTIONAL)
_ALWAYS = 10
"""Entries of every stored form: one with more has some that are not always there."""
_STATES = {str(state): state for state in State}
