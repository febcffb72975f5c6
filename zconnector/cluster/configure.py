"""CONFIG and CONFIGURATION: asked for, saved, and pushed to connectors (WIRE.md section 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.cluster.context import Context
from zconnector.cluster.store import Component, PutConfiguration, PutPivot, PutProduct
from zconnector.configuration.logical import Layers, read_values
from zconnector.configuration.pivot import Pivot, ProductConnector, implicit_pivot
from zconnector.errors import ConfigError, Reason, Refusal, StorageError
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message, clipped
from zconnector.shoset.identity import fresh_uuid
from zconnector.shoset.peers import Peer

Outcome = Callable[[Instant, Refusal | None], Actions]
"""What to do once a change is committed (None) or was not."""

_TRIES = 100
"""Of one change, each undone by another one that came between: far more than operators there are."""

_Subject = tuple[Kind, str, str]
"""What a push is about: the kind, the connector type, the connector ("" for all of the type)."""


class Configure:
    """Answers, changes and pushes of configuration.

    Pushes that a busy instance had no room for wait in `_owed`, the newest of each subject.
    """

    def __init__(self, context: Context, *, strict: bool) -> None:
        self._context = context
        self._strict = strict
        self._owed: dict[Peer, dict[_Subject, Message]] = {}

    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A CONFIG or CONFIGURATION message of a connector."""
        source = self._context.components.connector(peer.tenant, message.text("source"))
        if source is None:
            detail = f"{message.text('source')!r} is not declared here"
            return self._refuse(peer, message, Refusal(Reason.UNDECLARED, detail), now)
        verbs: dict[tuple[Kind, str], Callable[[Peer, Component, Message, Instant], Actions]] = {
            (Kind.CONFIG, "GET"): self._get_config,
            (Kind.CONFIG, "PUT_IMPLICIT"): self._put_implicit,
            (Kind.CONFIG, "PUT_ABSENT"): self._put_absent,
            (Kind.CONFIGURATION, "GET"): self._get_configuration,
            (Kind.CONFIGURATION, "SAVE"): self._save_configuration,
        }
        verb = verbs.get((message.kind, message.text("command")))
        if verb is None:
            detail = f"{message.kind.name} has no command {message.text('command')!r:.80}"
            return self._refuse(peer, message, Refusal(Reason.BAD_ARGUMENT, detail), now)
        try:
            return verb(peer, source, message, now)
        except ConfigError as error:
            return self._refuse(peer, message, Refusal(Reason.BAD_ARGUMENT, str(error)), now)
        except StorageError as error:
            refusal = Refusal(Reason.STORAGE_FAILED, "the configuration could not be read")
            return self._context.commits.broken(error) + self._refuse(peer, message, refusal, now)

    # ---- changes (also for the control operations)

    def put(self, tenant: str, item: Pivot | ProductConnector, outcome: Outcome) -> Actions:
        """Commit a pivot or product connector and push its type's catalogue.

        Raises:
            ConfigError: the type's catalogue would not fit in a message.
        """
        return self._put(tenant, item.name, [item], outcome, absent=False)

    def _put(
        self,
        tenant: str,
        connector_type: str,
        items: Sequence[Pivot | ProductConnector],
        outcome: Outcome,
        *,
        absent: bool,
    ) -> Actions:
        """Commit what is of one type; with `absent` none of it replaces what the store has."""
        self._context.catalogues.check_room(tenant, connector_type, items)

        def committed(now: Instant, results: Any) -> Actions:
            for in_force in results:
                self._context.catalogues.put(tenant, in_force)
            return outcome(now, None) + self._push_config(tenant, connector_type, now)

        writes = [
            PutPivot(tenant, item, absent) if isinstance(item, Pivot) else PutProduct(tenant, item, absent)
            for item in items
        ]
        return self._context.commits.commit(writes, committed, lambda now: outcome(now, _not_stored()))

    def set_values(
        self,
        tenant: str,
        name: str,
        values: Mapping[str, Any],
        then: Callable[[Instant, Layers | Refusal], Actions],
        *,
        operator: bool,
    ) -> Actions:
        """Commit one layer of a connector's configuration; an operator's change is pushed."""

        def committed(now: Instant, results: Any) -> Actions:
            layers: Layers = results[0]
            actions = then(now, layers)
            return actions + self._push_configuration(tenant, name, layers, now) if operator else actions

        write = PutConfiguration(tenant, name, values, operator)
        return self._context.commits.commit([write], committed, lambda now: then(now, _not_stored()))

    def change_values(
        self,
        tenant: str,
        name: str,
        change: Callable[[Layers], Mapping[str, Any]],
        then: Callable[[Instant, Layers | Refusal], Actions],
        tries: int = _TRIES,
    ) -> Actions:
        """Commit what `change` makes of the operator's layer, and push it.

        Where another change came between, `change` is asked again: none is lost.

        Raises:
            ConfigError, Refusal: by `change`, of what is stored now.
            StorageError: what is stored cannot be read.
        """
        layers = self._context.reads.configuration(tenant, name)
        values = change(layers)

        def committed(now: Instant, results: Any) -> Actions:
            if results[0] is not None:
                return then(now, results[0]) + self._push_configuration(tenant, name, results[0], now)
            if tries <= 1:
                return then(now, Refusal(Reason.BUSY, f"the configuration of {name} was changed meanwhile"))
            try:
                return self.change_values(tenant, name, change, then, tries - 1)
            except ConfigError as error:
                return then(now, Refusal(Reason.BAD_ARGUMENT, str(error)))
            except Refusal as refusal:
                return then(now, refusal)
            except StorageError as error:
                return self._context.commits.broken(error) + then(now, _not_stored())

        write = PutConfiguration(tenant, name, values, operator=True, over=layers.operator)
        return self._context.commits.commit([write], committed, lambda now: then(now, _not_stored()))

    # ---- what waits for room

    def room_again(self, peer: Peer, now: Instant) -> Actions:
        """An instance takes messages again: give it the pushes that it is owed."""
        owed = self._owed.pop(peer, {})
        return [a for subject, message in owed.items() for a in self._give(peer, subject, message, now)]

    def forget(self, peer: Peer) -> None:
        """An instance is gone; when it is back, it has its connectors ask anew."""
        self._owed.pop(peer, None)

    # ---- the verbs

    def _get_config(self, peer: Peer, source: Component, message: Message, now: Instant) -> Actions:
        payload = orjson.dumps(self._context.catalogues.of(peer.tenant, source.type).to_dict())
        return self._answer(peer, message, payload, now)

    def _put_implicit(self, peer: Peer, source: Component, message: Message, now: Instant) -> Actions:
        if self._strict:
            detail = f"this cluster is strict: zconnector pivot put a pivot of {source.type}"
            return self._refuse(peer, message, Refusal(Reason.NOT_PERMITTED, detail), now)
        pivot = _command_list(source.type, message.payload)
        known = self._context.catalogues.of(peer.tenant, source.type)
        if any(not other.implicit for other in known.pivots):  # an operator has said what this type is
            return self._get_config(peer, source, message, now)

        return self.put(peer.tenant, pivot, self._then_get(peer, source, message))

    def _put_absent(self, peer: Peer, source: Component, message: Message, now: Instant) -> Actions:
        brought = _brought(source, message.payload)
        absent = [item for item in brought if self._context.catalogues.absent(peer.tenant, item)]
        if not absent:
            return self._get_config(peer, source, message, now)
        then = self._then_get(peer, source, message)
        return self._put(peer.tenant, source.type, absent, then, absent=True)

    def _then_get(self, peer: Peer, source: Component, message: Message) -> Outcome:
        """Answers a change as GET, or with its refusal."""

        def outcome(later: Instant, refusal: Refusal | None) -> Actions:
            if refusal is not None:
                return self._refuse(peer, message, refusal, later)
            return self._get_config(peer, source, message, later)

        return outcome

    def _get_configuration(self, peer: Peer, source: Component, message: Message, now: Instant) -> Actions:
        layers = self._context.reads.configuration(peer.tenant, source.name)
        return self._answer(peer, message, _in_force(layers), now)

    def _save_configuration(self, peer: Peer, source: Component, message: Message, now: Instant) -> Actions:
        def then(later: Instant, outcome: Layers | Refusal) -> Actions:
            if isinstance(outcome, Refusal):
                return self._refuse(peer, message, outcome, later)
            return self._answer(peer, message, _in_force(outcome), later)

        values = read_values(message.payload)
        return self.set_values(peer.tenant, source.name, values, then, operator=False)

    # ---- answers and pushes

    def _answer(self, peer: Peer, message: Message, payload: bytes, now: Instant) -> Actions:
        answer = Message(message.kind, _answer_header(peer, message), payload, Flag.ANSWER)
        return self._context.send(peer, answer, now, "answer_dropped")

    def _refuse(self, peer: Peer, message: Message, refusal: Refusal, now: Instant) -> Actions:
        header = {
            **_answer_header(peer, message),
            "reason": refusal.reason,
            "detail": clipped(refusal.detail),
        }
        fields = {"source": message.text("source"), "reason": str(refusal.reason), "uuid": message.uuid}
        return [
            Note("warning", "configuration refused", fields),
            *self._context.send(
                peer, Message(message.kind, header, flags=Flag.ANSWER), now, "answer_dropped"
            ),
        ]

    def _push_config(self, tenant: str, connector_type: str, now: Instant) -> Actions:
        payload = orjson.dumps(self._context.catalogues.of(tenant, connector_type).to_dict())
        return self._push(tenant, (Kind.CONFIG, connector_type, ""), payload, now)

    def _push_configuration(self, tenant: str, name: str, layers: Layers, now: Instant) -> Actions:
        known = self._context.components.connector(tenant, name)
        subject = (Kind.CONFIGURATION, known.type if known else "", name)
        return self._push(tenant, subject, _in_force(layers), now)

    def _push(self, tenant: str, subject: _Subject, payload: bytes, now: Instant) -> Actions:
        kind, connector_type, name = subject
        header = {
            "uuid": fresh_uuid(self._context.rng),
            "command": "GET",
            "tenant": tenant,
            "timestamp": now.wall,
            "type": connector_type,
        }
        if name:
            header["recipient"] = name
        message = Message(kind, header, payload, Flag.PUSH)
        peers = self._context.instances(tenant)
        return [action for peer in peers for action in self._give(peer, subject, message, now)]

    def _give(self, peer: Peer, subject: _Subject, message: Message, now: Instant) -> Actions:
        def busy(_: Instant) -> Actions:
            if self._context.sessions.is_live(peer):
                self._owed.setdefault(peer, {})[subject] = message
            return []

        return self._context.sessions.send(peer, (message,), now, busy)


def _answer_header(peer: Peer, message: Message) -> dict[str, Any]:
    return {
        "reference": message.uuid,
        "recipient": message.text("source"),
        "tenant": peer.tenant,
        "command": message.text("command"),
    }


def _in_force(layers: Layers) -> bytes:
    return orjson.dumps(layers.in_force.to_dict())


def _not_stored() -> Refusal:
    return Refusal(Reason.STORAGE_FAILED, "the change could not be stored")


def _object(payload: bytes, what: str) -> dict[str, Any]:
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{what} is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{what} must be a JSON object, not {type(document).__name__}")
    return document


def _brought(source: Component, payload: bytes) -> list[Pivot | ProductConnector]:
    """What a PUT_ABSENT brings, all of it of the connector's own type. Raises ConfigError."""
    document = _object(payload, "what is brought")
    items: list[Pivot | ProductConnector] = []
    if document.get("pivot") is not None:
        items.append(replace(Pivot.from_dict(_mapping(document, "pivot")), implicit=False))
    if document.get("product") is not None:
        items.append(ProductConnector.from_dict(_mapping(document, "product"), "product"))
    if not items:
        raise ConfigError("what is brought must have a pivot or a product")
    for item in items:
        if item.name != source.type:
            where = "pivot" if isinstance(item, Pivot) else "product"
            raise ConfigError(
                f"{where}.name: must be {source.type!r}, the type of connector {source.name!r} "
                f"(got {item.name!r})"
            )
    return items


def _mapping(document: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = document[field]
    if not isinstance(value, Mapping):
        raise ConfigError(f"{field}: must be an object, not {type(value).__name__}")
    return value


def _command_list(connector_type: str, payload: bytes) -> Pivot:
    """The implicit pivot in the payload of a PUT_IMPLICIT. Raises ConfigError."""
    document = _object(payload, "command list")
    commands = document.get("commands")
    if not isinstance(commands, list) or not all(isinstance(name, str) for name in commands):
        raise ConfigError("command list: commands must be a list of names")
    major, minor = document.get("major"), document.get("minor", 0)
    return implicit_pivot(connector_type, major, minor, commands)  # which checks the numbers
