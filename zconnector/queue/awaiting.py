"""Calls that wait for the final reply to a command that was sent from here.

| what happens | the call hears |
|---|---|
| the reply is retained, or arrives: SUCCES or FAIL, the FAIL of one never receipted too | it |
| the command is refused, and no copy of it is out | why |
| the time that the call gave is over | TIMED_OUT |

A FAIL UNRECEIPTED says that nobody knows. Sent again under the same uuid after that the command may be
receipted all the same: then the reply of that copy is waited for.

Nothing here is stored: who waits asks again after a restart, and a reply that came meanwhile is retained. A
command that was accepted once is not refused by what becomes of a further copy: its reply still comes. Of the
last `REMEMBERED` that were this is known to a call that comes after that, too.
"""

from __future__ import annotations

from collections import OrderedDict

from zconnector.actions import Actions, Caller, Respond
from zconnector.alarms import Alarms
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.envelope import unfit
from zconnector.queue.retained import Event, Retained
from zconnector.queue.store import EVENTS

MAX_AWAITING = 100_000
"""Calls that wait at once."""
REMEMBERED = 10_000
"""Commands that were accepted last."""


class Awaiting:
    """Invariant: who is in `_uuids` is among the callers of that uuid, to which no final reply is visible."""

    def __init__(self, commits: Commits, messages: Messages, retained: Retained) -> None:
        self._commits = commits
        self._messages = messages
        self._retained = retained
        self._awaited: dict[str, dict[Caller, None]] = {}
        self._uuids: dict[Caller, str] = {}
        self._accepted: OrderedDict[str, None] = OrderedDict()
        self._ends: Alarms[Caller] = Alarms(commits.agenda)

    def __len__(self) -> int:
        return len(self._uuids)

    def wait(self, caller: Caller, uuid: str, timeout: float | None, now: Instant) -> Actions:
        """Answer with the final reply, now or when it comes; `timeout`: seconds, None: no limit.

        Raises:
            Refusal: BAD_ARGUMENT; BUSY, when too many wait.
        """
        if not uuid:
            raise Refusal(Reason.BAD_ARGUMENT, "uuid is missing")
        if caller in self._uuids:
            raise Refusal(Reason.BAD_ARGUMENT, f"call {caller.call} is pending already", uuid)
        reply = self._retained.final(uuid)
        if reply is not None and not self._is_outlived(reply):
            return [self._answer(caller, reply)]
        if len(self._uuids) >= MAX_AWAITING:
            raise Refusal(Reason.BUSY, f"{MAX_AWAITING} calls wait for replies", uuid)
        self._awaited.setdefault(uuid, {})[caller] = None
        self._uuids[caller] = uuid
        if timeout is not None:
            self._ends.set(caller, now.mono + timeout)
        return []

    def cancel(self, caller: Caller) -> None:
        """The caller is gone."""
        if caller in self._uuids:
            self._leave(caller)

    def arrived(self, event: Event) -> Actions:
        """An event has become visible: perhaps the reply that somebody waits for."""
        if event.reference not in self._awaited or not event.is_final or self._is_outlived(event):
            return []
        return [self._answer(caller, event) for caller in self._let_go(event.reference)]

    def _is_outlived(self, reply: Event) -> bool:
        """A later copy of what was FAILed as unreceipted has been receipted: another reply comes."""
        return reply.is_unreceipted and reply.reference in self._accepted

    def accepted(self, uuid: str) -> None:
        """Its target has the command: it has, or will have, a reply."""
        self._accepted[uuid] = None
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)

    def refused(self, uuid: str, refusal: Refusal) -> Actions:
        """The command was refused to its sender.

        A CONFLICT is about another body than that of the command that has this uuid, whose reply still comes.
        """
        awaited = self._awaited.get(uuid)
        if awaited is None or uuid in self._accepted or refusal.reason is Reason.CONFLICT:
            return []
        return [Respond(caller, error=refusal) for caller in self._let_go(uuid)]

    def tick(self, now: Instant) -> Actions:
        """The time of some is over."""
        actions: Actions = []
        for caller in self._ends.due(now.mono):
            uuid = self._uuids[caller]
            self._leave(caller)
            over = Refusal(Reason.TIMED_OUT, "no final reply in this time; ask again", uuid)
            actions.append(Respond(caller, error=over))
        return actions

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return self._ends.deadline()

    def _answer(self, caller: Caller, event: Event) -> Respond:
        try:
            message = self._messages.message(EVENTS, event.key)
        except StorageError as error:
            self._commits.failed()
            return Respond(caller, error=Refusal(Reason.STORAGE_FAILED, str(error), event.reference))
        if broken := unfit(message, text=False, size=event.size):
            return Respond(caller, error=Refusal(*broken, event.reference))
        return Respond(caller, message.header, message.payload)

    def _let_go(self, uuid: str) -> list[Caller]:
        callers = list(self._awaited.pop(uuid))
        for caller in callers:
            del self._uuids[caller]
            self._ends.cancel(caller)
        return callers

    def _leave(self, caller: Caller) -> None:
        uuid = self._uuids.pop(caller)
        self._ends.cancel(caller)
        callers = self._awaited[uuid]
        del callers[caller]
        if not callers:
            del self._awaited[uuid]
