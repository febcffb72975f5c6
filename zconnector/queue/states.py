"""The life of a command in the local queue: one table (WIRE.md section 6, to which a test holds it).

STORING    its commit is under way; nobody has been told
READY      stored; its turn comes by priority, and by the order of arrival among those of its name
DELAYED    stored; not to be handed out before its time
LEASED     one worker has it, as long as that worker lives and the lease's limit is not reached
COMPLETING the commit of its end is under way (done + reply, or dead letter + FAIL reply), or that of its nak
DONE       completed; remembered, with the reply, for the dedupe window
DEAD       never to be handed out; remembered likewise
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    STORING = "STORING"
    READY = "READY"
    DELAYED = "DELAYED"
    LEASED = "LEASED"
    COMPLETING = "COMPLETING"
    DONE = "DONE"
    DEAD = "DEAD"


class Step(StrEnum):
    """What happens to a command."""

    STORED = "its commit succeeded"
    STORED_DELAYED = "its commit succeeded, and it has a delay"
    NOT_STORED = "its commit failed"
    DUE = "its delay is over"
    LEASE = "a waiter of its name and version"
    LEASE_ENDED = "holder gone, beat missed, limit reached, given back; attempts are left"
    ANSWERED = "SUCCES or FAIL by a worker of this connector, or the holder's ack"
    NAK = "the holder's nak, and attempts are left"
    BURY = "unfit, failed, attempts used up, time to live over, cancelled, purged, dropped"
    COMPLETED = "the commit of its completion succeeded"
    BURIED = "the commit of its dead letter succeeded"
    PUT_OFF = "the commit of its nak succeeded"
    UNDONE = "that commit failed, and no lease lasts"
    UNDONE_HELD = "that commit failed, and its lease lasts"
    UNDONE_DELAYED = "that commit failed, and it was DELAYED"
    FORGOTTEN = "dedupe window over"


READY, LEASED, COMPLETING, DONE = State.READY, State.LEASED, State.COMPLETING, State.DONE
"""Those that every command goes through, for what looks at them each time: an attribute of an Enum class
costs ten times as much as a name."""

TRANSITIONS: dict[tuple[State, Step], State | None] = {
    (State.STORING, Step.STORED): State.READY,
    (State.STORING, Step.STORED_DELAYED): State.DELAYED,
    (State.STORING, Step.NOT_STORED): None,
    (State.DELAYED, Step.DUE): State.READY,
    (State.READY, Step.LEASE): State.LEASED,
    (State.LEASED, Step.LEASE_ENDED): State.READY,
    (State.LEASED, Step.ANSWERED): State.COMPLETING,
    (State.READY, Step.ANSWERED): State.COMPLETING,
    (State.DELAYED, Step.ANSWERED): State.COMPLETING,
    (State.LEASED, Step.NAK): State.COMPLETING,
    (State.LEASED, Step.BURY): State.COMPLETING,
    (State.READY, Step.BURY): State.COMPLETING,
    (State.DELAYED, Step.BURY): State.COMPLETING,
    (State.COMPLETING, Step.COMPLETED): State.DONE,
    (State.COMPLETING, Step.BURIED): State.DEAD,
    (State.COMPLETING, Step.PUT_OFF): State.DELAYED,
    (State.COMPLETING, Step.UNDONE): State.READY,
    (State.COMPLETING, Step.UNDONE_HELD): State.LEASED,
    (State.COMPLETING, Step.UNDONE_DELAYED): State.DELAYED,
    (State.DONE, Step.FORGOTTEN): None,
    (State.DEAD, Step.FORGOTTEN): None,
}
"""(state, step) -> next state; None: the queue knows it no longer. What is not here cannot happen."""

WAITING = frozenset({State.READY, State.DELAYED})
"""Stored, and with nobody."""
LIVE = frozenset({State.STORING, State.READY, State.DELAYED, State.LEASED, State.COMPLETING})
ENDED = frozenset({State.DONE, State.DEAD})
