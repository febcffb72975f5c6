"""`explain`: where a command is at this connector, what happened to it, and the one thing it waits for. Pure.

A connector may know a command as its source (it is sending it, or has), as its target (its queue), as a
dead letter, or as several of these. What is asked for is put together when it is asked: nothing here costs a
command anything but its history (`queue/history.py`, `shoset/traces.py`).
"""

from __future__ import annotations

from typing import Any

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.connector.arguments import Args
from zconnector.connector.operating import Answer, Done, Verb, needed
from zconnector.connector.outgoing import Outgoing
from zconnector.connector.reasons import Reasons, lasting
from zconnector.errors import Reason, Refusal
from zconnector.messages.message import is_completion
from zconnector.queue.history import told
from zconnector.queue.leases import Command
from zconnector.queue.letters import Letter
from zconnector.queue.local import LocalQueue
from zconnector.queue.states import ENDED, State
from zconnector.shoset.identity import Identity
from zconnector.shoset.traces import Traces

Story = tuple[str, list[tuple[int, str]], str]
"""State, history (ms, what), what it waits for ("": nothing)."""


class Explaining:
    """Asks the parts of a connector about one uuid."""

    def __init__(
        self,
        identity: Identity,
        queue: LocalQueue,
        outgoing: Outgoing,
        reasons: Reasons,
        traces: Traces,
    ) -> None:
        self._identity = identity
        self._queue = queue
        self._outgoing = outgoing
        self._reasons = reasons
        self._traces = traces
        self.verbs: dict[str, Verb] = {"explain": self._explain}

    def _explain(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        uuid = needed(args, "uuid", limit=64)
        stories: list[tuple[str, Story]] = []
        if (sent := self._sent(uuid, now)) is not None:
            stories.append(("sent from here", sent))
        command = self._queue.find_command(uuid)
        letter = self._queue.operators.letter(uuid)
        if command is not None:
            stories.append(("in its queue", self._queued(command, now)))
        if letter is not None:
            stories.append(("in its dead letters", _dead(letter)))
        if not stories:
            detail = f"connector {self._identity.name} does not know {uuid}, or has forgotten it"
            raise Refusal(Reason.NOT_FOUND, detail, uuid)
        history = sorted((step for _, story in stories for step in story[1]), key=lambda step: step[0])
        known = command or letter
        waiting = [story[2] for _, story in stories if story[2]]
        answer: dict[str, Any] = {
            "uuid": uuid,
            "where": f"connector {self._identity.name}: {', '.join(where for where, _ in stories)}",
            "connector": self._identity.name,
            # The queue knows best: what is only sent from here, or a letter after its command, comes behind.
            "state": (stories[0] if command is None else ("", self._queued(command, now)))[1][0],
            "command": known.name if known is not None else "",
            "history": [{"at": at, "what": what} for at, what in history],
            "waits_for": waiting[-1] if waiting else "",
        }
        if command is not None:
            answer["attempt"] = command.attempt
            answer["attempts"] = self._queue.operators.most_attempts(command)
        return done(now, Answer(answer))

    # ---- as its source

    def _sent(self, uuid: str, now: Instant) -> Story | None:
        history = self._traces.of(self._identity.tenant, uuid)
        events = [(at, e) for at, e in self._queue.operators.told_of(uuid, now) if e.message or e.directed]
        if not history:  # of before a restart: what is stored says when it came
            history = [(at, f"{e.event} of {e.source or 'this connector'} came") for at, e in events]
        dispatch, waiting = self._outgoing.under_way(uuid), self._outgoing.waiting(uuid)
        if dispatch is not None:
            return "SENDING", history, self._reasons.sending(dispatch, now)
        if waiting is not None:
            return "WAITING", history, self._reasons.place(waiting, now)
        ends = [event for _, event in events if is_completion(event.event)]
        if ends:
            return "REPLIED", history, ""
        if self._queue.is_unknown(uuid):
            return "UNKNOWN", history, self._reasons.unknown(uuid, now)
        if any(event.message is not None and event.event == "ON_GOING" for _, event in events):
            return "RECEIPTED", history, "its reply: its target has it"
        return ("SENT", history, "") if history else None

    # ---- as its target

    def _queued(self, command: Command, now: Instant) -> Story:
        history = told(command.history)
        if not history and command.at:  # of before a restart
            what = "ended" if command.state in ENDED else "arrived"
            history = [(command.at, f"{what} (this connector has been restarted since)")]
        state = str(command.state)
        if command.lease is not None and history and command.state is State.LEASED:
            history[-1] = (history[-1][0], f"leased to {command.lease.worker or 'an unnamed worker'}")
        if command.state not in ENDED:
            return state, history, self._reasons.queued(command, now)
        waits = self._queue.operators.reply_waits(command.reply, now)
        if waits is None:
            return state, history, ""
        sent, again = waits
        why = self._reasons.unreachable() or f"{command.source} has not confirmed it"
        next_ = f", again in {lasting(again)}" if again else ""
        return state, history, f"its reply is in the outbox, sent {_times(sent)}{next_}: {why}"


def _dead(letter: Letter) -> Story:
    error = f"; the last error: {letter.error}" if letter.error else ""
    attempts = f" after {_times(letter.attempts)} at a worker" if letter.attempts else ""
    history = [(letter.at, f"dead letter {letter.reason}{attempts}: {letter.detail}{error}")]
    if letter.edited:
        history.append((letter.edited, "its payload was edited"))
    return str(State.DEAD), history, ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
