"""`dead.*`: what operators do with dead letters. Pure."""

from __future__ import annotations

from itertools import islice
from typing import Any

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.connector.arguments import Args, number
from zconnector.connector.incoming import Incoming
from zconnector.connector.operating import Answer, Done, Verb, needed
from zconnector.errors import Reason, Refusal, StorageError, WireError
from zconnector.messages import Kind, Message
from zconnector.messages.codec import encode_one
from zconnector.queue.envelope import unfit
from zconnector.queue.letters import Letter, LetterFilter
from zconnector.queue.operators import Operators
from zconnector.queue.replays import Replayed

PAGE = 1_000
"""Letters of one page, or of one replay, at most."""
REPLAY_BYTES = 64 << 20
"""A replay goes no further once it has read so much; `next` says where to go on."""
_EVERY = 1 << 62
_FILTER = ("reason", "command", "source", "older_ms", "uuid")


class DeadVerbs:
    """Verbs over the dead letters of one connector; `incoming` knows what commands must keep."""

    def __init__(
        self,
        operators: Operators,
        incoming: Incoming,
        *,
        replay_bytes: int = REPLAY_BYTES,
    ) -> None:
        self._replay_bytes = replay_bytes
        self._operators = operators
        self._incoming = incoming
        self.verbs: dict[str, Verb] = {
            "dead.ls": self._ls,
            "dead.show": self._show,
            "dead.edit": self._edit,
            "dead.replay": self._replay,
            "dead.purge": self._purge,
        }

    def _ls(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        limit = number(args, "limit", 1, PAGE, 100)
        page = self._operators.letters(LetterFilter.read(args, now.wall), limit, _after(args))
        return done(now, Answer({"rows": [letter.row() for letter in page.letters], "next": page.after}))

    def _show(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        letter = self._one(args)
        try:
            message = self._operators.read(letter)
        except StorageError as error:
            raise Refusal(Reason.STORAGE_FAILED, str(error), letter.uuid) from None
        return done(now, Answer({**letter.row(), "header": dict(message.header)}, message.payload))

    def _edit(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        letter = self._one(args)
        if letter.kind != Kind.COMMAND.name:
            raise Refusal(Reason.BAD_ARGUMENT, "it is an event: only commands are edited", letter.uuid)
        try:
            message = self._operators.read(letter)
        except StorageError as error:
            raise Refusal(Reason.STORAGE_FAILED, str(error), letter.uuid) from None
        edited = Message(message.kind, message.header, payload or b"", message.flags)
        if refusal := self.check(edited):
            raise refusal
        return self._operators.edit(
            letter,
            edited.payload,
            now,
            lambda later, refusal: done(later, refusal or Answer({"uuid": letter.uuid})),
        )

    def check(self, command: Message) -> Refusal | None:
        """Why a letter may not become a command with this payload, as for one that arrives."""
        if broken := unfit(command, text=False):
            return Refusal(*broken, command.uuid)
        try:
            encode_one(command.with_fields(budget=command.number("timeout"), target="t" * 128))
        except WireError as error:
            return Refusal(error.reason, error.detail, command.uuid)
        return self._incoming.catalogue.check(command)

    def _replay(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        letters, following = self._some(args, now)

        def replayed(later: Instant, outcome: Replayed) -> Actions:
            refused = [_refused(refusal) for refusal in outcome.refused]
            if "uuid" in args and outcome.refused:
                return done(later, outcome.refused[0])
            result: dict[str, Any] = {
                "n": len(outcome.uuids),
                "uuids": [{"uuid": new, "replay_of": old} for old, new in outcome.uuids],
                "refused": refused,
                "next": following,
            }
            return done(later, Answer(result))

        return self._operators.replay(letters, self.check, self._incoming.policy, now, replayed)

    def _purge(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        if "uuid" in args:
            letters = [self._one(args)]
        else:
            letters = self._operators.letters(_wanted(args, now), _EVERY).letters
        return self._operators.purge_letters(
            letters, now, lambda later, refusal: done(later, refusal or Answer({"n": len(letters)}))
        )

    def _one(self, args: Args) -> Letter:
        uuid = needed(args, "uuid")
        letter = self._operators.letter(uuid)
        if letter is None:
            raise Refusal(Reason.NOT_FOUND, f"no dead letter {uuid:.64}", uuid[:64])
        return letter

    def _some(self, args: Args, now: Instant) -> tuple[list[Letter], int]:
        """The letters that are meant, as many as one replay takes, and where the next one begins."""
        if "uuid" in args:
            return [self._one(args)], 0
        limit = number(args, "limit", 1, PAGE, PAGE)
        page = self._operators.letters(_wanted(args, now), limit, _after(args))
        size, taken = 0, 0
        for letter in page.letters:
            if size >= self._replay_bytes:
                return list(islice(page.letters, taken)), page.letters[taken - 1].key
            size, taken = size + letter.size, taken + 1
        return page.letters, page.after


def _wanted(args: Args, now: Instant) -> LetterFilter:
    """The filter of what changes letters: nobody means all of them by leaving a field out."""
    if not any(args.get(name) for name in _FILTER) and args.get("all") is not True:
        raise Refusal(Reason.BAD_ARGUMENT, f"give a uuid, one of {', '.join(_FILTER[:4])}, or all: true")
    return LetterFilter.read(args, now.wall)


def _after(args: Args) -> int:
    return number(args, "after", 0, 1 << 53, 0)


def _refused(refusal: Refusal) -> dict[str, str]:
    return {"uuid": refusal.uuid, "reason": str(refusal.reason), "detail": refusal.detail}
