"""From what a worker asks to send to the command that is sent. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, WireError
from zconnector.messages.checked import Checked
from zconnector.messages.codec import encode_one
from zconnector.messages.fields import WISHES, broken_rule_of
from zconnector.messages.kinds import MAX_HEADER, MAX_MESSAGE, Kind
from zconnector.messages.message import Message
from zconnector.settings import ConnectorSettings
from zconnector.shoset.identity import Identity, fresh_uuid

OPTIONAL = ("admin", "command_type", "context", "token", "worker", *WISHES)
_LONGEST_TARGET = "t" * 128
_NEAR_THE_LIMIT = MAX_MESSAGE - MAX_HEADER
"""A payload of fewer bytes leaves room for any header; and no header of these fields is too long, were all of
them at their limits, and escaped."""


class Composer:
    """Makes commands of arguments, and refuses arguments."""

    def __init__(self, identity: Identity, settings: ConnectorSettings, rng: random.Random) -> None:
        self._identity = identity
        self._settings = settings
        self._rng = rng

    def command(self, args: Mapping[str, Any], payload: bytes, now: Instant, *, own: bool = False) -> Message:
        """The command that a worker asks to send; `own`: to this connector, of whose type it then is.

        `accept_until` counts from the sender's call: what is left of the timeout then is left of it now.

        Raises:
            Refusal: BAD_ARGUMENT, TOO_LARGE.
        """
        me, settings = self._identity, self._settings
        uuid = args.get("uuid") or fresh_uuid(self._rng)
        timeout = args.get("timeout") or settings.default_timeout_ms
        type_ = args.get("type", "")
        header: dict[str, Any] = {
            "uuid": uuid,
            "tenant": args.get("tenant") or me.tenant,
            "source": me.name,
            "type": type_ or me.type if own else type_,
            "command": args.get("command", ""),
            "major": args.get("major", 0),
            "minor": args.get("minor", 0),
            "timeout": timeout,
            "timestamp": now.wall,
        }
        for name in OPTIONAL:
            if name in args:
                value = args[name]
                if value:  # what is not wished for is not said
                    header[name] = value
        # What comes by our own gRPC service was held to these rules there; what comes over a socket was not.
        if type(args) is not Checked and (broken := broken_rule_of(header)):
            raise Refusal(Reason.BAD_ARGUMENT, broken, str(uuid)[:64])
        for name in ("type", "command"):
            if not header[name]:
                raise Refusal(Reason.BAD_ARGUMENT, f"{name} is missing", uuid)
        if timeout < 1:
            raise Refusal(Reason.BAD_ARGUMENT, f"timeout must be at least 1 ms (got {timeout})", uuid)
        timeout = header["timeout"] = min(timeout, settings.max_timeout_ms)
        header["accept_until"] = now.wall + timeout
        if "began" in args:
            header["accept_until"] -= _waited(args["began"], timeout, now, uuid)
        command = Message(Kind.COMMAND, header, payload)
        if len(payload) > _NEAR_THE_LIMIT:
            try:
                encode_one(command.with_fields(budget=timeout, target=_LONGEST_TARGET))
            except WireError as error:
                raise Refusal(error.reason, error.detail, uuid) from None
        if own:
            header["target"] = me.name
        return command


def _waited(began: object, timeout: int, now: Instant, uuid: str) -> int:
    """Milliseconds of its timeout that a command spent on its way from the sender's call to here.

    A sender's time runs from its call, also while this process is busy with what came before. At most the
    timeout: what a door client says of its clock, which is ours, can shorten a wait and never lengthen it.
    """
    if began is None:
        return 0
    if type(began) is not int:
        raise Refusal(Reason.BAD_ARGUMENT, f"began must be int, not {type(began).__name__}", uuid)
    return min(max(0, int(now.mono * 1000) - began), timeout)
