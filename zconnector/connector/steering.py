"""The admin worker's calls at the door, and what the router tells it (WIRE.md section 14). Pure.

The admin worker decides which versions run (zconnector/versions/); the router alone knows who registered, who
was heard, who has nothing left to do, what the cluster says. One `admin_watch` is pending while it listens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from zconnector.actions import Actions, Caller, Reach, Respond
from zconnector.clock import Instant
from zconnector.configuration.catalogue import Catalogue
from zconnector.configuration.pivot import Pivot, ProductConnector, Version
from zconnector.connector import arguments
from zconnector.connector.arguments import Args
from zconnector.connector.operating import Answer, Done, Verb
from zconnector.connector.setup import Setup
from zconnector.connector.tidings import Tidings
from zconnector.connector.versions import Versions
from zconnector.connector.workers import Workers
from zconnector.errors import ConfigError, Reason, Refusal, StorageError
from zconnector.queue.local import LocalQueue
from zconnector.versions.traffic import CANARY

BEAT = 1.0
"""Seconds between two looks at who was heard."""
MAX_ASKS = 100
"""What operators have asked, and wait for."""
DOCUMENT, ACCEPTED = "versions", "accepted"
"""Under which the admin worker's memory lies in the queue, and the configuration that it last acted on."""
NAMED = frozenset({"register", "beat", "wait_command", "take", "adopt", "tidings"})
"""Calls by which one takes part as a worker."""
VERBS = ("ls", "start", "stop", "latest", "update", "rollback", "get", "logs", "changes")


CRASH_POINTS = {
    "FETCHING": (Reach("rollout.fetching_before_commit"), Reach("rollout.fetching_after_commit")),
    "STARTING": (Reach("rollout.starting_before_commit"), Reach("rollout.starting_after_commit")),
    "GATING": (Reach("rollout.gating_before_commit"), Reach("rollout.gating_after_commit")),
    "DRAINING": (Reach("rollout.draining_before_commit"), Reach("rollout.draining_after_commit")),
    "ROLLING_BACK": (Reach("rollout.back_before_commit"), Reach("rollout.back_after_commit")),
    "OVER": (Reach("rollout.over_before_commit"), Reach("rollout.over_after_commit")),
}
"""By the step of a rollout that is committed."""

Ended = Callable[[str, Instant], Actions]
"""Told that the process of a worker is gone: its registration and its leases end."""


class Steering:
    """News for the admin worker, and its orders. Invariant: nothing is told twice; news wait for a watch."""

    def __init__(
        self,
        queue: LocalQueue,
        workers: Workers,
        versions: Versions,
        tidings: Tidings,
        setup: Setup,
        ended: Ended,
    ) -> None:
        self._queue = queue
        self._workers = workers
        self._tidings = tidings
        self._setup = setup
        self._versions = versions
        self._ended = ended
        self._caller: Caller | None = None
        self._news: list[list[Any]] = []
        self.watched: frozenset[str] = frozenset()
        """Names of supervised workers."""
        self._busy: frozenset[str] = frozenset()
        """Drained workers that have something left, as far as was told."""
        self._freed = False
        """One of them may have finished."""
        self._look: float | None = None
        self._looked = 0.0
        self._asks: dict[str, Done] = {}
        self._asked = 0
        self.verbs: dict[str, Verb] = {f"worker.{name}": self._verb(name) for name in VERBS}
        setup.on_configuration = self._configured
        setup.on_registered = self._registered

    # ---- what the router tells

    def _registered(self, worker: str, version: Version, refusal: str, now: Instant) -> Actions:
        if worker not in self.watched:
            return []
        if refusal:
            return self._tell(["refused", worker, refusal])
        return self._tell(["registered", worker, str(version)])

    def _configured(self, now: Instant) -> Actions:
        self._news = [news for news in self._news if news[0] != "configuration"]
        return self._tell(self._configuration())

    def drain(self) -> Actions:
        """The connector is stopping."""
        return self._tell(["draining"])

    def _finished(self) -> Actions:
        """Tell which drained workers have nothing left."""
        self._freed = False
        holders = {command.lease.worker for command in self._queue.operators.leased() if command.lease}
        idle = self._busy - holders
        self._busy -= idle
        self._queue.watch_leases(self._lease_ended if self._busy else None)
        return [action for worker in sorted(idle) for action in self._tell(["idle", worker])]

    def _lease_ended(self, worker: str) -> None:
        if worker in self._busy:
            self._freed = True
            self._queue.agenda.doubt()

    def tick(self, now: Instant) -> Actions:
        actions = self._finished() if self._freed else []
        return actions + self._beats(now)

    def _beats(self, now: Instant) -> Actions:
        if self._look is None or now.mono < self._look:
            return []
        heard = [w for w in sorted(self.watched) if self._workers.heard_since(w, self._looked)]
        self._looked, self._look = now.mono, now.mono + BEAT
        return self._tell(["beats", heard]) if heard else []

    def status(self) -> dict[str, Any]:
        """Of worker versions, as far as it was committed: the step of a rollout, and what is tried again."""
        document = self._queue.recall(DOCUMENT) or {}
        return {"step": document.get("step"), "waits": document.get("waits")}

    def deadline(self) -> float | None:
        """At once where a drained worker may have finished."""
        return 0.0 if self._freed else self._look

    def _tell(self, news: list[Any]) -> Actions:
        self._news.append(news)
        return self._answer()

    def _answer(self) -> Actions:
        if self._caller is None or not self._news:
            return []
        caller, self._caller = self._caller, None
        news, self._news = self._news, []
        return [Respond(caller, {}, orjson.dumps(news))]

    def _configuration(self) -> list[Any]:
        configuration = self._setup.configuration
        if configuration is None:
            return ["configuration", 0, {}]
        return ["configuration", configuration.version, dict(configuration.values)]

    # ---- its calls

    def call(self, caller: Caller, op: str, args: Args, payload: bytes, now: Instant) -> Actions | None:
        """One of the calls below; None: it is none. Raises Refusal."""
        if op == "admin_watch":
            return self._watch(caller, args)
        if op == "admin_steer":
            return self._steer(caller, payload, now)
        if op == "admin_ended":
            return [*self._ended(arguments.text(args, "worker"), now), Respond(caller, {})]
        if op == "admin_keep":
            return self._keep(caller, args, payload)
        if op == "admin_recall":
            kept = [self._queue.recall(name) for name in (DOCUMENT, ACCEPTED)]
            return [*self._end_canaries(now), Respond(caller, {}, orjson.dumps(kept))]
        if op == "admin_describe":
            return self._describe(caller, args)
        if op == "admin_bring":
            return self._bring(caller, payload, now)
        if op == "admin_answer":
            return self._answer_ask(caller, args, payload, now)
        return None

    def check_name(self, op: str, args: Args) -> None:
        """A supervised worker's name is for who comes by its own socket. Raises Refusal: BAD_ARGUMENT."""
        worker = args.get("worker")
        if op in NAMED and isinstance(worker, str) and worker in self.watched and args.get("own") is not True:
            detail = f"worker must not be {worker!r}: a supervised worker has that name, on its own socket"
            raise Refusal(Reason.BAD_ARGUMENT, detail)

    def cancel(self, caller: Caller) -> None:
        if caller == self._caller:
            self._caller = None

    def _watch(self, caller: Caller, args: Args) -> Actions:
        if self._caller is not None:
            raise Refusal(Reason.BAD_ARGUMENT, "somebody watches already")
        self._caller = caller
        if arguments.flag(args, "first"):
            self._news.insert(0, self._configuration())
        return self._answer()

    def _steer(self, caller: Caller, payload: bytes, now: Instant) -> Actions:
        told = orjson.loads(payload)
        watched, drained = frozenset(told["watched"]), frozenset(told["drained"])
        if watched and not self.watched:
            self._look, self._looked = now.mono + BEAT, now.mono
            self._queue.agenda.by(self._look)
        elif not watched:
            self._look = None
        self.watched = watched
        self._busy = drained
        shares = {_version(text): share for text, share in told["shares"].items()}
        pins = {context: _version(text) for context, text in told["pins"].items()}
        held, aims = frozenset(told["held"]), told.get("aims", {})
        beside = frozenset(told.get("beside", ()))
        actions = self._versions.steer(shares, pins, held, drained, now, aims, beside)
        actions += self._tidings.drain_workers(drained, now)
        return [*actions, *self._finished(), Respond(caller, {})]

    def _keep(self, caller: Caller, args: Args, payload: bytes) -> Actions:
        document = orjson.loads(payload)
        if arguments.text(args, "name") == ACCEPTED:
            return self._queue.keep(ACCEPTED, document, lambda now, error: [_stored(caller, error)])
        before, after = CRASH_POINTS[document["step"] or "OVER"]

        def done(now: Instant, error: StorageError | None) -> Actions:
            return [after, _stored(caller, error)] if error is None else [_stored(caller, error)]

        return [
            before,
            *self._queue.keep(DOCUMENT, document, done),
        ]

    def _end_canaries(self, now: Instant) -> Actions:
        """Of a gate that went on when the router ended: no other version is to run them.

        Told as the admin worker begins: it has not started any worker yet.
        """
        left = [c for c in self._queue.live_commands() if c.context.startswith(CANARY)]
        detail = "the router ended while the gate of its version went on"
        return [
            action
            for command in left
            if self._queue.own.holds(command.uuid)
            for action in self._queue.cancel_command(
                command.uuid, Reason.CANCELLED, detail, now, lambda later, refusal: []
            )
        ]

    def _describe(self, caller: Caller, args: Args) -> Actions:
        """The configuration of a version, as the cluster has it."""
        version = Version(arguments.small(args, "major"), arguments.small(args, "minor"))
        found = describe(self._setup.catalogue, version, arguments.text(args, "product"))
        return [Respond(caller, {}, orjson.dumps(found))]

    def _bring(self, caller: Caller, payload: bytes, now: Instant) -> Actions:
        told = orjson.loads(payload)
        try:
            pivot = told["pivot"] and Pivot.from_dict(told["pivot"])
            product = told["product"] and ProductConnector.from_dict(told["product"])
        except ConfigError as error:
            raise Refusal(Reason.BAD_ARGUMENT, str(error)) from None

        def done(later: Instant, outcome: Catalogue | Refusal) -> Actions:
            if isinstance(outcome, Refusal):
                return [Respond(caller, error=outcome)]
            return [Respond(caller, {})]

        return self._setup.bring(pivot, product, done, now)

    # ---- operators

    def _verb(self, name: str) -> Verb:
        def perform(args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
            if len(self._asks) >= MAX_ASKS:
                raise Refusal(Reason.BUSY, f"{MAX_ASKS} questions to the admin worker wait for their answer")
            self._asked += 1
            ask = f"operator/{self._asked}"
            self._asks[ask] = done
            return self._tell(["ask", ask, name, {k: v for k, v in args.items() if k != "verb"}])

        return perform

    def _answer_ask(self, caller: Caller, args: Args, payload: bytes, now: Instant) -> Actions:
        done = self._asks.pop(arguments.text(args, "ask"), None)
        if done is None:
            return [Respond(caller, {})]
        code = arguments.text(args, "code")
        if code:
            return [*done(now, Refusal(Reason(code), arguments.text(args, "detail"))), Respond(caller, {})]
        return [*done(now, Answer(orjson.loads(payload))), Respond(caller, {})]


def _stored(caller: Caller, error: StorageError | None) -> Respond:
    if error is None:
        return Respond(caller, {})
    return Respond(caller, error=Refusal(Reason.STORAGE_FAILED, str(error)))


def describe(catalogue: Catalogue, version: Version, product: str) -> dict[str, Any]:
    """Pivot and product connector of a version; None for what there is not."""
    pivot = next((p for p in catalogue.pivots if p.version == version and not p.implicit), None)
    connector = next((p for p in catalogue.products if p.version == version and p.product == product), None)
    return {"pivot": pivot and pivot.to_dict(), "product": connector and connector.to_dict()}


def _version(text: str) -> Version:
    major, minor = text.split(".")
    return Version(int(major), int(minor))
