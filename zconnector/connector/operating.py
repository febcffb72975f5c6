"""The operators' verbs (WIRE.md section 14, `operate`), over the door and over the control socket. Pure.

Each group of verbs has a file of its own; here they are found by name, and answered the way they were asked.
A message's payload is at the door in the payload frame, both ways; at the control socket it is the field
`payload`, or `payload_base64` where it is not UTF-8. A result that is too large for the header of a RESULT
is at the door `{"json": n}`, and the payload frame begins with the n bytes of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from zconnector.actions import Actions, Caller, ControlReply, Respond
from zconnector.clock import Instant
from zconnector.connector.arguments import Args, text
from zconnector.errors import Reason, Refusal
from zconnector.messages.depth import MAX_HEADER_DEPTH, is_deeper
from zconnector.messages.fields import is_unicode

MAX_ARGS = 60_000
"""Bytes of JSON that a result may have in the header of a RESULT, beside what else is there."""


class Answer(NamedTuple):
    """What a verb answers."""

    result: Mapping[str, Any]
    payload: bytes | None = None
    """A message's payload, where the verb has one to show."""


Done = Callable[[Instant, Answer | Refusal], Actions]
"""Hears the answer, exactly once, now or later."""
Verb = Callable[[Args, bytes | None, Instant, Done], Actions]
"""May raise Refusal before it has done anything."""


class Operating:
    """The verbs by name."""

    def __init__(self, *groups: Mapping[str, Verb]) -> None:
        self._verbs: dict[str, Verb] = {name: verb for group in groups for name, verb in group.items()}

    @property
    def verbs(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(sorted(self._verbs))

    def call(self, caller: Caller, args: Args, payload: bytes, now: Instant) -> Actions:
        """A verb through the door. Raises Refusal."""

        def done(_: Instant, answer: Answer | Refusal) -> Actions:
            if isinstance(answer, Refusal):
                return [Respond(caller, error=answer)]
            content = orjson.dumps(answer.result)
            shown = answer.payload or b""
            if len(content) <= MAX_ARGS and not is_deeper(answer.result, MAX_HEADER_DEPTH - 1):
                return [Respond(caller, answer.result, shown)]
            return [Respond(caller, {"json": len(content)}, content + shown)]

        return self._perform(args, payload or None, now, done)

    def control(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        """A verb through the control socket."""

        def done(_: Instant, answer: Answer | Refusal) -> Actions:
            reply(answer if isinstance(answer, Refusal) else _with_payload(answer))
            return []

        try:
            return self._perform(args, _given_payload(args), now, done)
        except Refusal as refusal:
            return done(now, refusal)

    def _perform(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        verb = args.get("verb")
        perform = self._verbs.get(verb) if isinstance(verb, str) else None
        if perform is None:
            known = ", ".join(self.verbs)
            raise Refusal(Reason.BAD_ARGUMENT, f"a connector has no verb {verb!r:.60} (there: {known})")
        return perform(args, payload, now, done)


def _given_payload(args: Args) -> bytes | None:
    text, encoded = args.get("payload"), args.get("payload_base64")
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(Reason.BAD_ARGUMENT, "payload_base64 is not base64") from None
    if text is not None or encoded is not None:
        raise Refusal(Reason.BAD_ARGUMENT, "payload and payload_base64 must be texts")
    return None


def _with_payload(answer: Answer) -> Mapping[str, Any]:
    if answer.payload is None:
        return answer.result
    try:
        return {**answer.result, "payload": answer.payload.decode()}
    except UnicodeDecodeError:
        return {**answer.result, "payload_base64": base64.b64encode(answer.payload).decode()}


def needed(args: Args, name: str, *, limit: int = 256) -> str:
    """A text that must be there. Raises Refusal: BAD_ARGUMENT, naming the field and the rule."""
    value = text(args, name, limit=limit)
    if not value:
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} is missing")
    if not is_unicode(value):  # what becomes a row's key
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} is no Unicode text: {value!r:.80}")
    return value
