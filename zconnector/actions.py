"""What a pure core asks its shell to do, and the face that a whole process core shows its shell.

A core is fed one event at a time (a frame, a tick, a finished commit) and returns a list of
these actions; the shell performs them in order. Whatever has an outcome carries what to do then
as a function that again returns actions. No core awaits, sleeps, reads a clock or touches a disk: a
simulation performs the same actions on a virtual network and a virtual disk.

Nobody changes an action. They are not frozen all the same, as Message is not: each would take three times
as long to make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from zconnector.clock import Instant
from zconnector.errors import Refusal, StorageError, ZConnectorError
from zconnector.messages.message import Message

Link = int | bytes
"""One connection: an int for a DEALER this process opened, bytes for a peer's routing id on its ROUTER."""

Then = Callable[[Instant], "Actions"]


@dataclass(slots=True)
class Open:
    """Open a DEALER to an endpoint; `Machine.link_opened` or `link_lost` follows."""

    link: int
    endpoint: str
    server_key: str
    """Z85 CURVE public key that the other end must prove."""


@dataclass(slots=True)
class Close:
    """Close a DEALER at once (LINGER 0); no `link_lost` follows. Nothing to do for a ROUTER's peer."""

    link: Link


@dataclass(slots=True)
class Transmit:
    """Hand messages to a link in as few transmissions as the limits allow.

    `refused` is called when the socket did not take them (no route, would block): then none of
    them was handed over.
    """

    link: Link
    messages: tuple[Message, ...]
    refused: Then | None = None
    packs: bool = False
    """The other end reads PACKs (WIRE.md section 1)."""


@dataclass(slots=True)
class Commit:
    """Make writes durable, all or none, in the order in which commits were asked for.

    `then` runs after the fsync; `failed` when the disk refused, and nothing of it is stored.
    """

    writes: tuple[Any, ...]
    then: Callable[[Instant, Sequence[Any]], Actions]
    """Gets one result for each write (None where the store has nothing to say)."""
    failed: Callable[[Instant, StorageError], Actions]
    lazy: bool = False
    """Nobody awaits it: it may wait a moment for others to go along with."""


class Caller(NamedTuple):
    """Who waits at the door for the answer to one call."""

    client: bytes
    """Routing id of the client at the door."""
    call: int


Call = tuple[Caller, str, Mapping[str, Any], bytes]
"""A call at the door: who asks, operation, arguments, payload."""


@dataclass(slots=True)
class Respond:
    """Answer a call at the door: with a result, or with the refusal `error`."""

    caller: Caller
    args: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""
    error: Refusal | None = None


@dataclass(slots=True)
class Verify:
    """Check a secret against its argon2id hash, off the loop, in a bounded pool."""

    secret: bytes
    hashed: str
    then: Callable[[Instant, bool], Actions]


@dataclass(slots=True)
class Hash:
    """Make the argon2id hash of a fresh secret, off the loop, in the same pool."""

    secret: bytes
    then: Callable[[Instant, str], Actions]


@dataclass(slots=True)
class Reach:
    """A named crash point of WIRE.md section 13 is reached (tests kill the process here)."""

    point: str


@dataclass(slots=True)
class Note:
    """A structured log line."""

    level: str
    """debug, info, warning or error."""
    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Serve:
    """This component can do its work now: open the door to workers (connector), tell the supervisor.

    Said again, it does nothing.
    """


@dataclass(slots=True)
class Stop:
    """End the process: drained (no error) or because it cannot go on."""

    error: ZConnectorError | None = None


@dataclass(slots=True)
class Slow:
    """A peer below sends more than is read of it: pause for so many seconds between two wakes that read
    from below, as long as there is more to read. Its connection then fills up, and it has to wait."""

    seconds: float


Action = Slow | Open | Close | Transmit | Commit | Respond | Verify | Hash | Reach | Note | Serve | Stop
Actions = list[Action]


ControlReply = Callable[[Mapping[str, Any] | Refusal], None]
"""How a core answers the control socket; called exactly once."""


class Machine(Protocol):
    """The whole core of one process, as its shell (or a simulation) sees it.

    Every method takes the time as a value and returns what to do.
    """

    @property
    def quiet(self) -> bool:
        """The last `frames` left `deadline()` as it was, so that a shell need not ask for it again."""

    def start(self, now: Instant) -> Actions: ...

    def tick(self, now: Instant) -> Actions:
        """Do everything that is due. Called before frames are read, and at `deadline()`."""

    def deadline(self) -> float | None:
        """Monotonic time of the next thing due; None: nothing waits for time."""

    def soon(self) -> float:
        """A time before which nothing is due; `inf`: nothing waits for time.

        Not later than `deadline`, at times earlier, and cheaper: this is asked after every step. When it has
        come, ask whether anything is `due` indeed.
        """

    def due(self, now: Instant) -> bool:
        """Whether `tick` has anything to do."""

    def doubt(self) -> None:
        """Have `soon` ask all parts the next time, whatever they announced."""

    def link_opened(self, link: int, now: Instant) -> Actions: ...

    def link_lost(self, link: int, why: str, now: Instant) -> Actions: ...

    def frames(self, link: Link, key: str, frames: Sequence[bytes], now: Instant) -> Actions:
        """One transmission arrived; `key` is the peer's CURVE public key (Z85) as ZAP saw it."""

    def call(
        self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant
    ) -> Actions: ...

    def cancel(self, caller: Caller, now: Instant) -> Actions: ...

    def drain(self, now: Instant) -> Actions:
        """SIGTERM: say GOAWAY, finish what is under way, then Stop."""

    def status(self, now: Instant) -> dict[str, Any]: ...

    def control(
        self,
        op: str,
        args: Mapping[str, Any],
        now: Instant,
        reply: ControlReply,
    ) -> Actions:
        """A request from the control socket; `reply` is called exactly once, now or later."""
