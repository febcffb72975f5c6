"""The life of a command in the local queue: one table (WIRE.md section 6, to which a test holds it).

STORING    its commit is under way; nobody has been told
READY      stored; its turn comes in the order of arrival among those of its name
LEASED     one worker has it, as long as that worker lives and the lease limit is not reached
COMPLETING the commit of its end is under way: done + reply, or dead letter + FAIL reply
DONE       completed; remembered, with the reply, for the dedupe window
DEAD       never to be handed out; remembered likewise
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    STORING = "STORING"
    READY = "READY"
    LEASED = "LEASED"
    COMPLETING = "COMPLETING"
    DONE = "DONE"
    DEAD = "DEAD"


class Step(StrEnum):
    """What happens to a command."""

    STORED = "its commit succeeded"
    NOT_STORED = "its commit failed"
    LEASE = "a waiter of its name and version"
    LEASE_ENDED = "holder gone, beat missed, limit reached"
    ANSWERED = "SUCCES or FAIL by a worker of this connector"
    UNFIT = "not valid UTF-8 for a Gandalf waiter"
    COMPLETED = "the commit of its completion succeeded"
    BURIED = "the commit of its dead letter succeeded"
    UNDONE = "the commit of its end failed, and its lease has ended"
    UNDONE_HELD = "the commit of its end failed, and its lease lasts"
    FORGOTTEN = "dedupe window over"


TRANSITIONS: dict[tuple[State, Step], State | None] = {
    (State.STORING, Step.STORED): State.READY,
    (State.STORING, Step.NOT_STORED): None,
    (State.READY, Step.LEASE): State.LEASED,
    (State.LEASED, Step.LEASE_ENDED): State.READY,
    (State.LEASED, Step.ANSWERED): State.COMPLETING,
    (State.READY, Step.ANSWERED): State.COMPLETING,
    (State.READY, Step.UNFIT): State.COMPLETING,
    (State.COMPLETING, Step.COMPLETED): State.DONE,
    (State.COMPLETING, Step.BURIED): State.DEAD,
    (State.COMPLETING, Step.UNDONE): State.READY,
    (State.COMPLETING, Step.UNDONE_HELD): State.LEASED,
    (State.DONE, Step.FORGOTTEN): None,
    (State.DEAD, Step.FORGOTTEN): None,
}
"""(state, step) -> next state; None: the queue knows it no longer. What is not here cannot happen."""

LIVE = frozenset({State.STORING, State.READY, State.LEASED, State.COMPLETING})
ENDED = frozenset({State.DONE, State.DEAD})
