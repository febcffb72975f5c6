"""What the cluster tells a connector about itself, and what is kept of it for a fast start. Pure.

| document in the local queue | holds |
|---|---|
| validation | whether the cluster validated the secret when it was last asked |
| configuration | the logical configuration in force |
| catalogue | pivots and product connectors of this connector's type |
| instances | the aggregator instances of the last WELCOME |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

from zconnector.actions import Actions, Caller, Note, Respond, Serve, Stop
from zconnector.clock import Instant
from zconnector.configuration.catalogue import Catalogue
from zconnector.configuration.logical import LogicalConfiguration
from zconnector.configuration.pivot import Pivot, ProductConnector, Version
from zconnector.connector.incoming import Incoming
from zconnector.connector.initialisation import Initialisation, Step
from zconnector.connector.requests import Requests
from zconnector.connector.versions import Versions
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.queue.local import LocalQueue
from zconnector.settings import ConnectorSettings
from zconnector.shoset.identity import Identity
from zconnector.shoset.uplinks import Target

_MAX_NAMES = 1_000
_MAX_LISTS = 100
"""Command lists, each another, that may wait for the cluster to make a pivot of them; and likewise pivots."""

Brought = Callable[[Instant, Catalogue | Refusal], Actions]
"""What to do when the cluster has answered a `bring`."""


class Setup:
    """Validation, logical configuration, versions: from the cluster to where they are used."""

    def __init__(
        self,
        identity: Identity,
        queue: LocalQueue,
        requests: Requests,
        initialisation: Initialisation,
        incoming: Incoming,
        versions: Versions,
        settings: ConnectorSettings,
    ) -> None:
        self.configuration: LogicalConfiguration | None = None
        self._identity = identity
        self._queue = queue
        self._requests = requests
        self._initialisation = initialisation
        self._incoming = incoming
        self._versions = versions
        self._settings = settings
        self.on_configuration: Callable[[Instant], Actions] = lambda now: []
        """Told of each logical configuration that comes into force."""
        self.on_registered: Callable[[str, Version, str, Instant], Actions] = lambda *_: []
        """Told of each worker's command list, of which version, and why it was refused ("": it was not)."""
        self._valid = False
        self._serving = False
        self._listed: dict[str, dict[Caller, str]] = {}
        """By the name of the request under way for a list: whose call waits for it, and the worker's name."""
        self._bringing: dict[str, list[Brought]] = {}
        """By the name of the request under way: who is told of its end."""

    def restore(self, now: Instant) -> bool:
        """Take up what was kept. Returns whether workers may be served at once."""
        validation = self._queue.recall("validation") or {}
        catalogue = self._queue.recall("catalogue")
        configuration = self._queue.recall("configuration")
        if not validation.get("valid") or catalogue is None or configuration is None:
            return False
        try:
            known = Catalogue.from_dict(catalogue)
            self.configuration = LogicalConfiguration.from_dict(configuration)
        except ConfigError:
            return False  # written by another version: the cluster will tell it anew
        self._incoming.catalogue = known
        self._valid = True
        self._serving = True
        self._initialisation.from_cache = True
        return True

    @property
    def catalogue(self) -> Catalogue:
        """Pivots and product connectors of this connector's type."""
        return self._incoming.catalogue

    # ---- the steps

    def validated(self, now: Instant) -> Actions:
        """A session is live, so the cluster has validated the secret: ask for the rest."""
        self._initialisation.done(Step.SECRET)
        actions: Actions = []
        if not self._valid:
            self._valid = True
            actions += self._queue.remember("validation", {"valid": True}, now)
        mine = {
            "type": self._identity.type,
            "strict": self._settings.strict,
            "max_timeout_ms": self._settings.max_timeout_ms,
        }
        actions += self._requests.ask(
            "logical configuration",
            Kind.CONFIGURATION,
            "SAVE",
            orjson.dumps(mine),
            self._configuration_answered,
            now,
        )
        return actions + self._requests.ask(
            "pivots and product connectors", Kind.CONFIG, "GET", b"", self._config_answered, now
        )

    def refused(self, refusal: Refusal) -> Actions:
        """The secret is not (or no longer) valid: forget that it was, then stop."""
        return [
            Note("error", "refused by the cluster", {"reason": str(refusal.reason)}),
            *self._queue.remember_then("validation", {"valid": False}, lambda: [Stop(refusal)]),
        ]

    def pushed(self, message: Message, now: Instant) -> Actions:
        """A change in the cluster, told unasked."""
        if message.kind is Kind.CONFIG:
            return self._apply_config(message, now)
        return self._apply_configuration(message, now, newer=True)

    def keep_instances(self, targets: Sequence[Target], now: Instant) -> Actions:
        """For the next start, in the form that WELCOME has."""
        kept = [{"instance": t.instance, "endpoint": t.endpoint, "key": t.server_key} for t in targets]
        return self._queue.remember("instances", {"instances": kept}, now)

    def _configuration_answered(self, answer: Message | Refusal, now: Instant) -> Actions:
        if isinstance(answer, Refusal):
            return []
        return self._apply_configuration(answer, now)

    def _config_answered(self, answer: Message | Refusal, now: Instant) -> Actions:
        if isinstance(answer, Refusal):
            return []
        return self._apply_config(answer, now)

    def _apply_configuration(self, message: Message, now: Instant, *, newer: bool = False) -> Actions:
        """Take a logical configuration; with `newer` only one of no lower version.

        A push comes over every instance: over a slow one, one that another has followed already.
        """
        try:
            found = LogicalConfiguration.from_dict(orjson.loads(message.payload))
        except (orjson.JSONDecodeError, ConfigError) as error:
            return [Note("error", "logical configuration not readable", {"error": str(error)})]
        known = self.configuration
        if newer and known is not None and found.version < known.version:
            return []
        self.configuration = found
        self._initialisation.done(Step.CONFIGURATION)
        kept = self._queue.remember("configuration", self.configuration.to_dict(), now)
        return kept + self.on_configuration(now) + self._serve()

    def _apply_config(self, message: Message, now: Instant) -> Actions:
        try:
            catalogue = Catalogue.from_dict(orjson.loads(message.payload))
        except (orjson.JSONDecodeError, ConfigError) as error:
            return [Note("error", "pivots not readable", {"error": str(error)})]
        return self._take_catalogue(catalogue, now)

    def _take_catalogue(self, catalogue: Catalogue, now: Instant) -> Actions:
        self._incoming.catalogue = catalogue
        self._initialisation.done(Step.VERSIONS)
        kept = self._queue.remember("catalogue", catalogue.to_dict(), now)
        return kept + self._serve()

    def _serve(self) -> Actions:
        if self._serving or not self._initialisation.may_serve:
            return []
        self._serving = True
        return [Serve()]

    # ---- what a repository says of a version

    def bring(
        self, pivot: Pivot | None, product: ProductConnector | None, done: Brought, now: Instant
    ) -> Actions:
        """Save a version's pivot and product connector to the cluster, where it has none of that version.

        `done` gets the catalogue that is in force then (with what the cluster had already), or why not: a
        definite refusal. While no member answers it is asked again; the same documents are one request.
        """
        both = {"pivot": pivot, "product": product}
        payload = orjson.dumps({name: item.to_dict() for name, item in both.items() if item is not None})
        versions = {str(item.version) for item in both.values() if item is not None}
        request = f"pivot of {', '.join(sorted(versions))} ({sha256(payload).hexdigest()[:16]})"
        if request not in self._bringing and len(self._bringing) >= _MAX_LISTS:
            return done(now, Refusal(Reason.BUSY, f"{_MAX_LISTS} pivots wait for the cluster already"))
        self._bringing.setdefault(request, []).append(done)

        def answered(answer: Message | Refusal, later: Instant) -> Actions:
            waiting = self._bringing.pop(request)
            outcome: Catalogue | Refusal
            actions: Actions = []
            try:
                if isinstance(answer, Refusal):
                    outcome = answer
                else:
                    outcome = Catalogue.from_dict(orjson.loads(answer.payload))
                    actions += self._take_catalogue(outcome, later)
            except (orjson.JSONDecodeError, ConfigError) as error:
                outcome = Refusal(Reason.BAD_ARGUMENT, f"pivots of the cluster are not readable: {error}")
            return actions + [action for done in waiting for action in done(later, outcome)]

        return self._requests.ask(request, Kind.CONFIG, "PUT_ABSENT", payload, answered, now, refusable=True)

    # ---- SendCommandList

    def register(self, caller: Caller, args: Mapping[str, Any], now: Instant) -> Actions:
        """A worker names its version and commands; valid when none of its configuration is missing.

        Raises:
            Refusal: BAD_ARGUMENT; BUSY while the cluster has too many lists to make pivots of.
        """
        worker, major, minor = args.get("worker", ""), args.get("major", 0), args.get("minor", 0)
        names = args.get("commands", [])
        if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
            raise Refusal(Reason.BAD_ARGUMENT, "commands must be a list of names")
        if len(names) > _MAX_NAMES or any(len(n.encode()) > 256 for n in names):
            raise Refusal(Reason.BAD_ARGUMENT, f"at most {_MAX_NAMES} commands, each of at most 256 bytes")
        for value in (major, minor):
            if type(value) is not int or not -128 <= value <= 127:
                raise Refusal(
                    Reason.BAD_ARGUMENT, f"a version's numbers are from -128 to 127 (got {value!r})"
                )
        if not self._settings.strict and self._undeclared(major, minor, names):
            return self._put_implicit(caller, args, now)
        return self._registered(caller, str(worker), major, minor, names, now)

    def _registered(
        self, caller: Caller, worker: str, major: int, minor: int, names: list[str], now: Instant
    ) -> Actions:
        try:
            missing = self._incoming.catalogue.missing(major, minor, names)
        except Refusal as refusal:
            told = Respond(caller, {"valid": False, "missing": [], "detail": refusal.detail})
            return [*self.on_registered(worker, Version(major, minor), refusal.detail, now), told]
        if missing:
            detail = f"version {major}.{minor} lacks {', '.join(missing)}"
            fields = {"worker": worker, "missing": missing}
            return [
                Note("warning", "worker refused", fields),
                *self.on_registered(worker, Version(major, minor), detail, now),
                Respond(caller, {"valid": False, "missing": missing, "detail": detail}),
            ]
        told = Respond(caller, {"valid": True, "missing": [], "boot": self._identity.boot})
        routed = self._versions.register(worker, major, minor, names, now)
        return [told, *routed, *self.on_registered(worker, Version(major, minor), "", now)]

    def _undeclared(self, major: int, minor: int, names: list[str]) -> bool:
        """Whether a pivot must be made, or an implicit one extended, for this list."""
        pivots = [
            p for p in self._incoming.catalogue.pivots if (p.version.major, p.version.minor) == (major, minor)
        ]
        if not pivots:
            return True
        declared = {command.name for pivot in pivots for command in pivot.commandtypes}
        return all(pivot.implicit for pivot in pivots) and not set(names) <= declared

    def _put_implicit(self, caller: Caller, args: Mapping[str, Any], now: Instant) -> Actions:
        """Not strict: the list becomes the type's pivot, in the cluster too; the call is held until it is."""
        major, minor, names = args.get("major", 0), args.get("minor", 0), list(args["commands"])
        listed = orjson.dumps({"major": major, "minor": minor, "commands": names})
        request = f"implicit pivot {major}.{minor} (list {sha256(listed).hexdigest()[:16]})"
        if request not in self._listed and len(self._listed) >= _MAX_LISTS:
            raise Refusal(Reason.BUSY, f"{_MAX_LISTS} command lists wait for the cluster already")
        self._listed.setdefault(request, {})[caller] = str(args.get("worker", ""))

        def answered(answer: Message | Refusal, later: Instant) -> Actions:
            waiting = self._listed.pop(request)
            if isinstance(answer, Refusal):
                refused = {"valid": False, "missing": [], "detail": answer.detail}
                return [Respond(caller, refused) for caller in waiting]
            actions = self._apply_config(answer, later)
            for caller, worker in waiting.items():
                actions += self._registered(caller, worker, major, minor, names, later)
            return actions

        return self._requests.ask(request, Kind.CONFIG, "PUT_IMPLICIT", listed, answered, now, refusable=True)

    def cancel(self, caller: Caller) -> None:
        """Whose list waits for the cluster has gone; the list goes on, for the worker comes back with it."""
        for waiting in self._listed.values():
            waiting.pop(caller, None)
