"""`queue.*`: what operators see and do of the commands that wait. Pure."""

from __future__ import annotations

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.connector.operating import Answer, Args, Done, Verb, text
from zconnector.queue.operators import Operators


class QueueVerbs:
    """Verbs over the commands of one connector."""

    def __init__(self, operators: Operators) -> None:
        self._operators = operators
        self.verbs: dict[str, Verb] = {
            "queue.pause": self._pause,
            "queue.resume": self._resume,
        }

    def _pause(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        name = text(args, "command", required=True)
        return self._operators.pause(
            name, now, lambda later, refusal: done(later, refusal or self._paused(name))
        )

    def _resume(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        name = text(args, "command", required=True)
        return self._operators.resume(
            name, now, lambda later, refusal: done(later, refusal or self._paused(name))
        )

    def _paused(self, name: str) -> Answer:
        return Answer({"command": name, "paused": self._operators.pauses.names()})
