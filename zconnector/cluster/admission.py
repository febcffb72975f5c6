"""Secrets shown to a member: its aggregators' own, and those that they pass on for connectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.cluster.components import Verdict
from zconnector.cluster.context import Context
from zconnector.cluster.store import Component, ComponentId, Learn
from zconnector.errors import Reason, Refusal
from zconnector.messages.fields import is_name
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message, clipped
from zconnector.shoset.peers import Peer

_NOTHING_FOUND_OUT = (Reason.BUSY, Reason.STORAGE_FAILED)
"""Says nothing about the secret: the other end is to try again, not to give up."""


class Admission:
    """Who gets a session with this member, and what it answers about connectors."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def admit(self, hello: Message, key: str) -> Refusal | None:
        """May a peer with this HELLO show its secret at all?"""
        if hello.text("kind") != "aggregator":
            return Refusal(Reason.UNDECLARED, "a cluster member has sessions with aggregators only")
        identity = ComponentId(hello.text("tenant"), "aggregator", hello.text("name"), hello.text("instance"))
        return self._context.components.refusal(identity, key)

    def secret(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A SECRET: of the peer itself while it is not validated, else of one of its connectors."""
        if peer.validated:
            return self._of_connector(peer, message, now)

        def then(later: Instant, verdict: Verdict) -> Actions:
            sessions = self._context.sessions
            if isinstance(verdict, Refusal) and verdict.reason in _NOTHING_FOUND_OUT:
                return sessions.drop(peer, Reason.BUSY, verdict.detail, later)
            if isinstance(verdict, Refusal):
                return sessions.refuse(peer, verdict.reason, verdict.detail, later, message.uuid)
            # Known first: whoever sees it serve may declare connectors that are to find it.
            return self._learn(peer, lambda now: sessions.validate(peer, now, {}), later)

        identity = ComponentId(peer.tenant, "aggregator", peer.name, peer.instance)
        return self._context.components.validate(
            identity, peer.type, peer.boot, peer.key, message.payload, then, now
        )

    def _learn(self, peer: Peer, known_now: Callable[[Instant], Actions], now: Instant) -> Actions:
        """Keep where an aggregator instance is reached, then `known_now`; tell the others when that is new.

        What cannot be stored keeps nobody out: it is learnt with the next session.
        """
        identity = ComponentId(peer.tenant, "aggregator", peer.name, peer.instance)
        known = self._context.components.get(identity)
        if known is None or not peer.endpoint or not peer.server_key:
            return known_now(now)
        if (known.endpoint, known.server_key) == (peer.endpoint, peer.server_key):
            return known_now(now)

        def stored(now: Instant, _: Any) -> Actions:
            self._context.components.learnt(identity, peer.endpoint, peer.server_key)
            return known_now(now) + self._tell_instances(peer.tenant, peer.name, now)

        write = Learn(identity, peer.endpoint, peer.server_key)
        return self._context.commits.commit([write], stored, known_now)

    def instances(self, peer: Peer) -> list[dict[str, str]]:
        """All known instances of a peer's logical name, for WELCOME."""
        return [
            {"instance": c.instance, "endpoint": c.endpoint, "key": c.server_key}
            for c in self._context.components.instances(peer.tenant, peer.name)
        ]

    def revoked(self, component: Component, now: Instant) -> Actions:
        """A component was revoked: end its live sessions, here or at its aggregators."""
        detail = f"the secret of {component.identity} was revoked"
        peers = self._context.instances(component.tenant)
        if component.kind == "aggregator":
            gone = [p for p in peers if (p.name, p.instance) == (component.name, component.instance)]
            actions = [
                action
                for peer in gone
                for action in self._context.sessions.drop(peer, Reason.REVOKED, detail, now)
            ]
            return actions + self._tell_instances(component.tenant, component.name, now)
        header = {
            "reason": Reason.REVOKED,
            "detail": detail,
            "name": component.name,
            "tenant": component.tenant,
        }
        error = Message(Kind.ERROR, header)
        return [a for peer in peers for a in self._context.send(peer, error, now, "revocation_dropped")]

    def _tell_instances(self, tenant: str, name: str, now: Instant) -> Actions:
        peers = [peer for peer in self._context.instances(tenant) if peer.name == name]
        return [action for peer in peers for action in self._context.sessions.welcome(peer, now)]

    def _of_connector(self, peer: Peer, message: Message, now: Instant) -> Actions:
        name, instance = message.text("name"), message.text("instance")
        if message.text("kind") != "connector" or not (is_name(name) and is_name(instance)):
            return [Note("warning", "secret of no connector", {"peer": str(peer), "uuid": message.uuid})]
        identity = ComponentId(peer.tenant, "connector", name, instance)

        def then(later: Instant, verdict: Verdict) -> Actions:
            return self._answer(peer, message, identity, verdict, later)

        return self._context.components.validate(
            identity,
            message.text("type"),
            message.text("boot"),
            message.text("key"),
            message.payload,
            then,
            now,
        )

    def _answer(
        self, peer: Peer, message: Message, identity: ComponentId, verdict: Verdict, now: Instant
    ) -> Actions:
        header: dict[str, Any] = {
            "reference": message.uuid,
            "tenant": peer.tenant,
            "kind": identity.kind,
            "name": identity.name,
        }
        if isinstance(verdict, Component):
            header |= {"valid": True, "permissions": list(verdict.permissions)}
            answer = Message(Kind.SECRET, header, flags=Flag.ANSWER)
            return self._context.send(peer, answer, now, "answer_dropped")
        if verdict.reason in _NOTHING_FOUND_OUT:  # no answer: the aggregator asks again
            self._context.counters["secret_postponed"] += 1
            return []
        self._context.counters[f"refused.{verdict.reason}"] += 1
        header |= {"valid": False, "reason": verdict.reason, "detail": clipped(verdict.detail)}
        fields = {"component": str(identity), "reason": str(verdict.reason), "by": str(peer)}
        return [
            Note("warning", "connector refused", fields),
            *self._context.send(peer, Message(Kind.SECRET, header, flags=Flag.ANSWER), now, "answer_dropped"),
        ]
