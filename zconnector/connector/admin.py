"""The admin worker: a client of the local queue's door inside the connector. A shell.

It hears what the router knows of the workers (`admin_watch`), answers admin commands and operators, and has
the core of worker versions (zconnector/versions/manager.py) decide, whose hands are `hands.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog

from zconnector.clock import Clock, SystemClock
from zconnector.configuration.pivot import Version
from zconnector.connector.door import Door
from zconnector.connector.hands import Hands, Place, Ports, Server
from zconnector.connector.incoming import ADMIN_COMMANDS
from zconnector.errors import ConfigError, DamagedError, Reason, Refusal
from zconnector.messages.kinds import Outcome
from zconnector.queue.lines import ADMIN_WORKER
from zconnector.supervision.states import LIVE
from zconnector.versions.asks import Verb
from zconnector.versions.editions import Edition, versions_of
from zconnector.versions.manager import Manager
from zconnector.versions.states import Answer, Memory, Versions
from zconnector.versions.wanted import Wanted, parse_version

VERBS = {
    "ADMIN_GET_WORKER": Verb.GET,
    "ADMIN_START_WORKER": Verb.START,
    "ADMIN_STOP_WORKER": Verb.STOP,
    "ADMIN_GET_LAST_VERSION_WORKER": Verb.LATEST,
    "ADMIN_UPDATE": Verb.UPDATE,
}
_PAUSE = 1.0
_MAX_AT_ONCE = 16
"""Admin commands of one name that are being answered."""
_CHANGES_WAIT = 20.0
"""Seconds that a question for changes is held."""
_log = structlog.get_logger("zconnector.admin")
_CLOCK = SystemClock()
_PORTS = Ports()

Told = tuple[Mapping[str, Any], str, Reason]
"""Result, reason ("": it succeeded), and what kind of reason."""


class AdminWorker:
    """`run` serves until cancelled; `close` then ends the workers."""

    def __init__(
        self,
        door: Door,
        place: Place,
        make_server: Callable[[str], Server],
        clock: Clock = _CLOCK,
        ports: Ports = _PORTS,
    ) -> None:
        self._door = door
        self._clock = clock
        self._manager = Manager()
        self._hands = Hands(
            self._manager,
            door,
            place,
            make_server,
            clock,
            answer=self._answered,
            changed=self._changed,
            wrote=self._wake,
            ports=ports,
        )
        self._asks: dict[str, asyncio.Future[Told]] = {}
        self._asked = 0
        self._revision = 0
        self._change = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            for name in ADMIN_COMMANDS:
                group.create_task(self._serve(name, group))

    async def close(self) -> None:
        await self._hands.close()

    # ---- what the router tells

    async def _begin(self) -> None:
        """What is wanted, then what was going on."""
        news = await self._heard({"first": True})
        _, kept = await self._door.call("admin_recall", {})
        document, accepted = orjson.loads(kept)
        for each in news:
            if each[0] == "configuration":
                await self._first_configured(each[2], accepted, document)
        try:
            actions = self._manager.restore(document, self._clock.now())
        except DamagedError as error:
            _log.error("worker versions begin anew", error=str(error))
            actions = self._manager.restore(None, self._clock.now())
        self._hands.feed(actions)
        for each in news:
            await self._hear(each, begun=False)

    async def _heard(self, args: Mapping[str, Any]) -> list[list[Any]]:
        _, payload = await self._door.call("admin_watch", args)
        news: list[list[Any]] = orjson.loads(payload)
        return news

    async def _watch(self) -> None:
        while True:
            try:
                for each in await self._heard({}):
                    await self._hear(each)
            except Refusal as refusal:
                if refusal.reason is Reason.SHUTTING_DOWN:
                    return
                _log.warning("admin worker hears nothing", reason=str(refusal.reason))
                await asyncio.sleep(_PAUSE)

    async def _hear(self, news: list[Any], begun: bool = True) -> None:
        now, manager, hands = self._clock.now(), self._manager, self._hands
        match news:
            case ["configuration", _, values]:
                if begun:
                    await self._configured(values)
            case ["registered", worker, text]:
                edition = hands.edition(worker)
                if edition is not None and str(edition.version) != text:
                    wrong = f"the worker of version {edition.version} says that it is version {text}"
                    hands.feed(manager.refused(edition, wrong, now))
                else:
                    hands.supervision.registered(worker, self._run(worker))
            case ["refused", worker, detail]:
                edition = hands.edition(worker)
                if edition is not None:
                    hands.feed(manager.refused(edition, detail, now))
            case ["beats", workers]:
                for worker in workers:
                    hands.supervision.beat(worker, self._run(worker))
                    edition = hands.edition(worker)
                    if edition is not None:
                        hands.feed(manager.beat(edition, now))
            case ["idle", worker]:
                hands.supervision.drained(worker, self._run(worker))
            case ["ask", ask, name, args]:
                self._spawn(self._operator(ask, name, args))
            case ["draining"]:
                hands.leave()

    def _run(self, worker: str) -> int:
        """The run that a worker's name stands for now; 0: none."""
        return self._hands.supervision.view(worker).run if self._hands.edition(worker) else 0

    async def _first_configured(
        self,
        values: Mapping[str, Any],
        accepted: Mapping[str, Any] | None,
        document: Mapping[str, Any] | None,
    ) -> None:
        """At the start: where what the cluster says now is wrong, what was acted on before still holds."""
        try:
            running = versions_of(Memory.from_dict(document).running) if document else ()
        except DamagedError:
            running = ()
        wanted = await self._read(values, running)
        if isinstance(wanted, str) and accepted is not None:
            before = await self._read(accepted, ())
            self._hands.feed(self._manager.configured(before, self._clock.now()))
        self._take(wanted, values)

    async def _configured(self, values: Mapping[str, Any]) -> None:
        """A configuration that is wrong changes nothing, and is told."""
        known = self._manager.wanted
        running = () if known is None else versions_of(self._manager.memory.running)
        self._take(await self._read(values, running), values)

    async def _read(self, values: Mapping[str, Any], running: Versions) -> Wanted | str:
        """What a configuration wants, or what is wrong with it: for these versions its keys must do."""
        try:
            wanted = Wanted.from_values(values)
            known = self._manager.wanted
            if known is None or known.keys != wanted.keys:
                for version in running:
                    await self._hands.readying.check(wanted, version)
        except ConfigError as error:
            return str(error)
        return wanted

    def _take(self, wanted: Wanted | str, values: Mapping[str, Any]) -> None:
        self._hands.feed(self._manager.configured(wanted, self._clock.now()))
        if isinstance(wanted, Wanted):
            self._hands.begin(self._keep_accepted(orjson.dumps(values)))

    async def _keep_accepted(self, values: bytes) -> None:
        try:
            await self._door.call("admin_keep", {"name": "accepted"}, values)
        except Refusal as refusal:  # the next one is kept again
            _log.warning("accepted configuration not stored", error=refusal.detail)

    # ---- who asks

    async def _ask(self, verb: Verb, version: Version | None, uuid: str = "") -> Told:
        self._asked += 1
        ask = str(self._asked)
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._asks[ask] = future
        try:
            self._hands.feed(self._manager.ask(ask, verb, version, uuid, self._clock.now()))
            return await future
        finally:
            self._asks.pop(ask, None)
            self._manager.forget_ask(ask)

    def _answered(self, answer: Answer) -> None:
        future = self._asks.get(answer.ask)
        if future is not None and not future.done():
            future.set_result((answer.result, answer.reason, answer.code))

    def _changed(self) -> None:
        self._revision += 1
        self._wake()

    def _wake(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    # ---- admin commands

    async def _serve(self, name: str, group: asyncio.TaskGroup) -> None:
        """Answer one command name; a refused step (a full disk) is begun again after a pause."""
        room = asyncio.Semaphore(_MAX_AT_ONCE)
        while True:
            try:
                await self._answer_each(name, room, group)
            except Refusal as refusal:
                if refusal.reason is Reason.SHUTTING_DOWN:
                    return
                _log.warning("admin worker held up", command=name, reason=str(refusal.reason))
                await asyncio.sleep(_PAUSE)

    async def _answer_each(self, name: str, room: asyncio.Semaphore, group: asyncio.TaskGroup) -> None:
        made, _ = await self._door.call("create_iterator", {"kind": "command"})
        wait = {"iterator": made["iterator"], "command": name, "major": 0, "worker": ADMIN_WORKER}
        while True:
            await room.acquire()
            try:
                command, payload = await self._door.call("wait_command", wait)
            except BaseException:
                room.release()
                raise
            task = group.create_task(self._answer_one(name, str(command["uuid"]), payload))
            task.add_done_callback(lambda _: room.release())

    async def _answer_one(self, name: str, uuid: str, payload: bytes) -> None:
        try:
            result, reason, _ = await self._ask(VERBS[name], read_version(payload), uuid)
        except ConfigError as error:
            result, reason = {}, str(error)
        reply = {
            "topic": name,
            "event": Outcome.FAIL if reason else Outcome.SUCCESS,
            "reference": uuid,
            "worker": ADMIN_WORKER,
        }
        content = {**result, "reason": f"{name}: {reason}"} if reason else result
        await self._reply(reply, orjson.dumps(content))

    async def _reply(self, reply: Mapping[str, Any], payload: bytes) -> None:
        """Give an answer until it is taken: nobody else would before the lease reaches its limit."""
        while True:
            try:
                await self._door.call("send_event", reply, payload)
                return
            except Refusal as refusal:
                if refusal.reason is Reason.SHUTTING_DOWN:
                    return
                _log.warning("admin reply held up", command=reply["topic"], reason=str(refusal.reason))
                await asyncio.sleep(_PAUSE)

    # ---- operators

    def _spawn(self, work: Any) -> None:
        self._hands.begin(work)

    async def _operator(self, ask: str, name: str, args: Mapping[str, Any]) -> None:
        """Answer one question of an operator."""
        answer: dict[str, Any] = {"ask": ask}
        content = b""
        try:
            content = orjson.dumps(await self._perform(name, args))
        except ConfigError as error:
            answer |= {"code": str(Reason.BAD_ARGUMENT), "detail": str(error)}
        except Refusal as refusal:
            answer |= {"code": str(refusal.reason), "detail": refusal.detail}
        await self._door.call("admin_answer", answer, content)

    async def _perform(self, name: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if name == "ls":
            return self.view()
        if name == "logs":
            return await self._logs(args)
        if name == "changes":
            await self._until(lambda: self._revision > _number(args, "after"))
            return self.view()
        text = _version_text(args)
        result, reason, code = await self._ask(Verb(name), parse_version(text) if text else None)
        if reason:
            raise Refusal(code, reason)
        return result

    async def _logs(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        after, limit = _number(args, "after"), _number(args, "limit") or 100
        text = _version_text(args)
        worker = self._hands.name(Edition(*parse_version(text))) if text else ""
        if args.get("follow"):
            await self._until(lambda: bool(self._hands.logs.read(worker, after, 1)))
        lines = self._hands.logs.read(worker, after, limit)
        return {"lines": lines, "last": lines[-1]["n"] if lines else max(after, self._hands.logs.last)}

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait until it is, or for so long that who asks should ask anew."""
        try:
            async with asyncio.timeout(_CHANGES_WAIT):
                while not reached():
                    await self._change.wait()
        except TimeoutError:
            return

    def view(self) -> dict[str, Any]:
        """What operators see."""
        view = self._manager.view()
        for row in view["versions"]:
            name = self._hands.name(Edition(*parse_version(row["version"]), row["edition"]))
            row["worker"] = name
            row.update(self._process(name))
        manifest = self._manager.expiry.view(self._clock.now())
        return {**view, "manifest": manifest, "revision": self._revision}

    def _process(self, name: str) -> dict[str, Any]:
        if self._hands.edition(name) is None:
            return {"pid": None, "runs": 0, "crashes": 0, "since_ms": None}
        view = self._hands.supervision.view(name)
        since = round(1000 * (self._clock.now().mono - view.since))
        return {
            "pid": view.pid if view.state in LIVE else None,
            "runs": view.run,
            "crashes": view.crashes,
            "since_ms": since,
        }


def read_version(payload: bytes) -> Version | None:
    """The version that an admin command names: `{"Major": 1, "Minor": 0}`; None for an empty payload.

    Raises ConfigError.
    """
    if not payload.strip():
        return None
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise ConfigError(f"the payload is no JSON: {payload[:80]!r}") from None
    if document in ({}, None):
        return None
    if not isinstance(document, dict) or not all(
        type(document.get(name)) is int and 0 <= document[name] <= 127 for name in ("Major", "Minor")
    ):
        raise ConfigError(f'the payload must be {{"Major": 0..127, "Minor": 0..127}} (got {payload[:80]!r})')
    return Version(document["Major"], document["Minor"])


def _version_text(args: Mapping[str, Any]) -> str:
    text = args.get("version") or ""
    if not isinstance(text, str):
        raise ConfigError(f"version must be a text such as 1.0 (got {str(text)[:40]})")
    return text


def _number(args: Mapping[str, Any], name: str) -> int:
    value = args.get(name, 0)
    if type(value) is not int or value < 0:
        raise ConfigError(f"{name} must be a whole number from 0 (got {str(value)[:40]})")
    return value
