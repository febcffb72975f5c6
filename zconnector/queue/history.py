"""What happened to a command, with times: eight bytes a step, in memory, as long as the command is known.

Bounded: beyond `MAX_STEPS` the oldest steps after the first `_FIRST` go (a command that has been leased a
hundred times still says when it came). ANSWERED is not noted: COMPLETED follows at once, or UNDONE. After a
restart the history begins anew; state, attempts, lease and arrival are on the disk.
"""

from __future__ import annotations

import struct

from zconnector.queue.states import Step

MAX_STEPS = 32
_FIRST = 4
_STEP = struct.Struct(">Q")
_STEPS = list(Step)
_CODES = {step: code for code, step in enumerate(_STEPS)}
_BOUND = MAX_STEPS * _STEP.size
_pack = _STEP.pack

_TOLD: dict[Step, str] = {
    Step.STORED: "stored and receipted",
    Step.STORED_DELAYED: "stored and receipted, with a delay",
    Step.DUE: "its delay is over: ready",
    Step.LEASE: "leased to a worker",
    Step.LEASE_ENDED: "its lease ended without an answer: ready again",
    Step.NAK: "given back by its worker (nak): being stored",
    Step.BURY: "becomes a dead letter: being stored",
    Step.COMPLETED: "done: its reply is stored",
    Step.BURIED: "dead: a dead letter, and FAIL to its source",
    Step.PUT_OFF: "put off until its next attempt",
    Step.UNDONE: "that could not be stored: as before",
    Step.UNDONE_HELD: "that could not be stored: still leased",
    Step.UNDONE_DELAYED: "that could not be stored: still delayed",
}


def noted(history: bytes, step: Step, wall: int) -> bytes:
    """A history with one more step, at `wall` (ms)."""
    longer = history + _pack((wall << 8 if wall > 0 else 0) | _CODES[step])
    if len(longer) <= _BOUND:
        return longer
    first = _FIRST * _STEP.size
    return longer[:first] + longer[first + _STEP.size :]


def told(history: bytes) -> list[tuple[int, str]]:
    """Times (ms) and what happened, in order."""
    steps = [(number >> 8, _STEPS[number & 0xFF]) for (number,) in _STEP.iter_unpack(history)]
    return [(wall, _TOLD.get(step, str(step))) for wall, step in steps]
