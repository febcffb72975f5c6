"""What one turn of the loop sends, gathered by link and handed over in few transmissions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zconnector.actions import Actions, Link, Note, Then, Transmit
from zconnector.errors import WireError
from zconnector.messages.codec import Frames, Transmission, encode, encode_one, encode_packed

Send = Callable[[Link, Frames], bool]


@dataclass(slots=True)
class Flushed:
    """What became of it."""

    refused: list[Then]
    notes: Actions


_ALL_TAKEN = Flushed([], [])
"""As it mostly is; to be read only, as every Flushed that is returned."""


class Outbox:
    """Transmissions not yet handed to their sockets, in order for each link.

    Order between links is nobody's promise.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.waiting: dict[Link, list[Transmit]] = {}
        """To be read only."""

    def add(self, transmit: Transmit) -> None:
        if transmit.messages:
            gathered = self.waiting.get(transmit.link)
            if gathered is None:
                self.waiting[transmit.link] = [transmit]
            else:
                gathered.append(transmit)

    def flush(self, link: Link | None = None) -> Flushed:
        """Hand over what waits (for one link, or all)."""
        if link is not None:
            transmits = self.waiting.pop(link, None)
            waiting = {} if transmits is None else {link: transmits}
        else:
            waiting, self.waiting = self.waiting, {}
        flushed: Flushed | None = None
        for each, transmits in waiting.items():
            messages = transmits[0].messages
            if len(transmits) == 1 and len(messages) == 1:  # as most are
                try:
                    if self._send(each, encode_one(messages[0])):
                        continue
                except WireError:
                    pass  # it is told below
                else:
                    flushed = flushed or Flushed([], [])
                    _refuse(transmits[0], flushed)
                    continue
            flushed = flushed or Flushed([], [])
            self._hand_over(each, transmits, flushed)
        return flushed or _ALL_TAKEN

    def _hand_over(self, link: Link, transmits: list[Transmit], flushed: Flushed) -> None:
        try:
            transmissions = _encode(transmits)
        except WireError as error:
            if len(transmits) > 1:
                # One of them cannot be encoded; the others must not pay for it.
                for transmit in transmits:
                    self._hand_over(link, [transmit], flushed)
                return
            fields: dict[str, object] = {
                "reason": str(error.reason),
                "detail": error.detail,
                "uuid": error.uuid,
            }
            flushed.notes.append(Note("error", "message cannot be sent", fields))
            _refuse(transmits[0], flushed)
            return
        handed = 0
        for frames, count in transmissions:
            if not self._send(link, frames):
                break
            handed += count
        else:
            return  # all of it is taken
        start = 0
        for transmit in transmits:
            end = start + len(transmit.messages)
            if handed <= start:
                _refuse(transmit, flushed)
            elif handed < end:
                # Some of it has gone: to say "refused" would be untrue. It is in doubt, as after a loss.
                fields = {"messages": end - handed, "uuid": transmit.messages[handed - start].uuid}
                flushed.notes.append(Note("warning", "transmission cut off by its socket", fields))
            start = end


def _encode(transmits: list[Transmit]) -> list[Transmission]:
    messages = [message for transmit in transmits for message in transmit.messages]
    if transmits[0].packs or any(transmit.packs for transmit in transmits):
        return encode_packed(messages)
    return [Transmission(frames, len(frames) // 3) for frames in encode(messages)]


def _refuse(transmit: Transmit, flushed: Flushed) -> None:
    if transmit.refused is not None:
        flushed.refused.append(transmit.refused)
