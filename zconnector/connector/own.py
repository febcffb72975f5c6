"""Commands that a worker sends to its own connector: `send_command` with target "self". Pure.

Checked as a command that arrives, stored in the own queue, answered after that commit: no aggregator is
asked. Replies come to the own event queue, and the journal is told of both afterwards (`journalling.py`).

A uuid runs by one way only (DESIGN section 3, promise 3). Whichever way it comes again:

| the uuid is | sent to "self" | sent to a type |
|---|---|---|
| in our queue, sent by us | the same answer; another body: CONFLICT | likewise |
| under way to others, of unknown outcome there, or known to be taken there | CONFLICT | as it is always |
| unknown | it is taken here | as it is always |

That another connector took it is known while its receipt (11 min, and no longer than this process) or its
reply is retained here; so who sends a uuid by another way than before has to know how the first try ended.
Once the journal has been told, copies that others send of it are resolved to us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from zconnector.actions import Actions, Caller, Respond, Then
from zconnector.clock import Instant
from zconnector.connector.incoming import Incoming
from zconnector.connector.outgoing import Outgoing
from zconnector.errors import Reason, Refusal
from zconnector.messages.message import Message
from zconnector.queue.lines import ADMIN_WORKER
from zconnector.queue.local import LocalQueue, Offered
from zconnector.shoset.identity import Identity
from zconnector.versions.traffic import CANARY

SELF = "self"
CANARIES = 32
"""Canaries of new versions may be so many commands beyond the queue's bounds: who would make room there, if a
full queue kept the first version of all from its traffic?"""


class Own:
    """Decides whether a command stays here, and takes it."""

    def __init__(
        self, identity: Identity, queue: LocalQueue, incoming: Incoming, outgoing: Outgoing, flush: Then
    ) -> None:
        """`flush` tells the journal."""
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._queue = queue
        self._incoming = incoming
        self._outgoing = outgoing
        self._flush = flush

    def is_for_us(self, args: Mapping[str, Any]) -> bool:
        """Whether a command that a worker sends stays here. Raises Refusal: BAD_ARGUMENT."""
        target, uuid = args.get("target") or "", args.get("uuid")
        if target not in ("", SELF):
            raise Refusal(Reason.BAD_ARGUMENT, f'target must be "self" or absent (got {target!r:.80})')
        return target == SELF or (isinstance(uuid, str) and self._queue.own.holds(uuid))

    def send(self, caller: Caller, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        """Take a command; `caller` is answered with the outcome: ACCEPTED, after the commit.

        Raises:
            Refusal: of the arguments, of the checks, or since the uuid is in use elsewhere.
        """
        command = self._outgoing.composer.command(args, payload, now, own=True)
        if not self._queue.knows_command(command.uuid):
            self._check(command, now)
        self.counters["own"] += 1
        return self._queue.own.offer(
            command,
            now,
            lambda later, offered: self._answer(caller, command, offered, later),
            self._incoming.policy(command),
            spare=CANARIES if _is_canary(command.header) else 0,
        )

    def _check(self, command: Message, now: Instant) -> None:
        header, me = command.header, self._identity
        uuid, name = header["uuid"], header["command"]
        if header["type"] != me.type:
            detail = f"this connector is of type {me.type}, not {header['type']}"
            raise Refusal(Reason.BAD_ARGUMENT, detail, uuid)
        if header["tenant"] != me.tenant:
            detail = f"this connector belongs to tenant {me.tenant}, not {header['tenant']}"
            raise Refusal(Reason.WRONG_TENANT, detail, uuid)
        if "admin" in header:
            # Who may send those is for the cluster to say: it knows what was permitted to this connector.
            raise Refusal(Reason.NOT_PERMITTED, "admin commands cannot be sent to self", uuid)
        if self._outgoing.holds(uuid) or self._queue.is_unknown(uuid):
            raise Refusal(Reason.CONFLICT, "the uuid is under way to other connectors", uuid)
        if self._queue.own.taken_elsewhere(name, uuid):
            raise Refusal(Reason.CONFLICT, "another connector took a command of this uuid", uuid)
        refusal = self._incoming.check(command, now)
        if refusal is not None:
            raise refusal

    def _answer(self, caller: Caller, command: Message, offered: Offered, now: Instant) -> Actions:
        self.counters[f"own.{offered.outcome}"] += 1
        uuid = command.uuid
        if offered.outcome in ("STORED", "DUPLICATE"):
            self._queue.awaiting.accepted(uuid)
            return [Respond(caller, {"uuid": uuid, "outcome": "ACCEPTED"}), *self._flush(now)]
        refusal = Refusal(offered.reason or Reason.STORAGE_FAILED, offered.detail, uuid)
        return [Respond(caller, error=refusal), *self._queue.refused(command.text("command"), uuid, refusal)]


def _is_canary(header: Mapping[str, Any]) -> bool:
    return header.get("worker") == ADMIN_WORKER and header.get("context", "").startswith(CANARY)
