"""Batches: what one `take` of zconnector.v1 is answered with.

A RESULT is bounded like every message: its header to 65,536 bytes, all of it to 4,000,000. A command that
would be too much for this one stays for the next.
"""

from __future__ import annotations

import heapq
from typing import Any

from zconnector.actions import Actions, Respond
from zconnector.clock import Instant
from zconnector.messages import Message
from zconnector.queue.leases import Lease
from zconnector.queue.lines import Waiter
from zconnector.queue.picking import Picking
from zconnector.queue.register import LineKey, Register

MAX_PAYLOADS = 3_000_000
"""Bytes of payload of one batch, unless a single command has more."""
MAX_HEADERS = 56_000
"""The same for headers, as JSON."""
_BESIDE = 160
"""Bytes that an entry has beside the command's stored form without its payload: that is the header, and a few
more."""


class Taking:
    """Fills batches from several lines, by priority and arrival over all of them."""

    def __init__(self, register: Register, picking: Picking) -> None:
        self._register = register
        self._picking = picking

    def fill(self, waiter: Waiter, now: Instant, actions: Actions) -> Respond | None:
        """What there is for a waiter, leased to it; None when there is nothing."""
        entries: list[dict[str, Any]] = []
        payloads: list[bytes] = []
        size = headers = 0
        # Of one line, as most workers wait at, there is nothing to compare: it is picked from to its end.
        one = len(waiter.names) == 1
        peek = _unseen if one else self._peek
        heads = [(number, key) for key in waiter.lines if (number := peek(key, waiter)) is not None]
        heapq.heapify(heads)
        while heads and len(entries) < waiter.limit:
            _, key = heapq.heappop(heads)
            picked = self._picking.pick(key, waiter, now, actions)
            if picked is None:
                continue
            command, message = picked
            length = len(message.payload)
            size += length
            headers += command.size - length + _BESIDE
            if entries and (size > MAX_PAYLOADS or headers > MAX_HEADERS):
                self._picking.put_back(picked)
                break
            entries.append(_entry(message, length, self._picking.lease(command, waiter, now)))
            payloads.append(message.payload)
            head = 0 if one else self._peek(key, waiter)
            if head is not None:
                heapq.heappush(heads, (head, key))
        return Respond(waiter.caller, {"commands": entries}, b"".join(payloads)) if entries else None

    def _peek(self, key: LineKey, waiter: Waiter) -> int | None:
        """The rank of the first command that fits; None: there is none."""
        if not key[1] and self._picking.held(key[0]):
            return None
        line = self._register.line(key)
        if line.sorting is None:
            return line.peek(waiter.major, self._register.is_ready)
        return line.sorting.peek(waiter, self._register.ready)


def _unseen(key: LineKey, waiter: Waiter) -> int:
    """The rank of what nothing is compared with."""
    return 0


def _entry(message: Message, size: int, lease: Lease) -> dict[str, Any]:
    """The command's header fields; its own `token` gives way to that of the lease."""
    header = message.header
    entry = {
        **header,
        "token": lease.token,
        "attempt": lease.attempt,
        "lease": round(lease.length * 1000),
        "size": size,
    }
    if "token" in header:
        entry["command_token"] = header["token"]
    return entry
