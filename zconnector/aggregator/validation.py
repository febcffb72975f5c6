"""Secrets on their way to the cluster: an aggregator asks a member about each new connector session."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from zconnector.actions import Actions
from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.identity import fresh_uuid
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset

_ASK_AGAIN = 3.0
"""Seconds without an answer after which another member is asked."""


@dataclass(slots=True)
class Asked:
    """One question: whose secret, and under which uuid the connector sent it."""

    peer: Peer
    original: str
    question: Message
    due: float
    member: Peer | None = None
    """Who was asked last."""


class Validations:
    """Questions without an answer, at most one for each pending session."""

    def __init__(self, shoset: Shoset, rng: random.Random, agenda: Agenda) -> None:
        """`agenda` is told when to ask again."""
        self._agenda = agenda
        self._shoset = shoset
        self._rng = rng
        self._asked: dict[str, Asked] = {}

    def begin(self, peer: Peer, secret: Message, members: Sequence[Peer], now: Instant) -> Actions:
        """A connector showed its secret: ask a member, now or as soon as there is one."""
        if peer.validated:
            return []
        self._forget(peer)
        header = {
            "uuid": fresh_uuid(self._rng),
            "command": "VALIDATE",
            "kind": peer.kind,
            "tenant": peer.tenant,
            "name": peer.name,
            "instance": peer.instance,
            "boot": peer.boot,
            "key": peer.key,
        }
        if peer.type:
            header["type"] = peer.type
        question = Message(Kind.SECRET, header, secret.payload)
        asked = Asked(peer, secret.uuid, question, now.mono)
        self._asked[question.uuid] = asked
        return self._ask(asked, members, now)

    def again(self, members: Sequence[Peer], now: Instant) -> Actions:
        """A member has come: ask whatever waits."""
        self._drop_gone()
        return [a for asked in list(self._asked.values()) for a in self._ask(asked, members, now)]

    def member_down(self, member: Peer, members: Sequence[Peer], now: Instant) -> Actions:
        """A member has gone: ask another what it was asked."""
        self._drop_gone()
        asked_it = [asked for asked in self._asked.values() if asked.member is member]
        return [a for asked in asked_it for a in self._ask(asked, members, now)]

    def answered(self, answer: Message) -> Asked | None:
        """What an answer is about; None when it came too late for anybody."""
        return self._asked.pop(answer.reference, None)

    def tick(self, members: Sequence[Peer], now: Instant) -> Actions:
        """Ask another member about what stayed unanswered."""
        due = [asked for asked in self._asked.values() if asked.due <= now.mono]
        if not due:
            return []
        self._drop_gone()
        still = [asked for asked in due if asked.question.uuid in self._asked]
        return [a for asked in still for a in self._ask(asked, members, now)]

    def deadline(self) -> float | None:
        return min([asked.due for asked in self._asked.values()]) if self._asked else None

    def _ask(self, asked: Asked, members: Sequence[Peer], now: Instant) -> Actions:
        asked.due = now.mono + _ASK_AGAIN
        self._agenda.by(asked.due)
        asked.member = self._rng.choice(members) if members else None
        return self._shoset.send(asked.member, (asked.question,), now) if asked.member else []

    def _forget(self, peer: Peer) -> None:
        self._asked = {uuid: asked for uuid, asked in self._asked.items() if asked.peer is not peer}

    def _drop_gone(self) -> None:
        self._asked = {uuid: asked for uuid, asked in self._asked.items() if self._shoset.knows(asked.peer)}
