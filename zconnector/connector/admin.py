"""The admin worker: a client of the local queue's door inside the connector. A shell.

It hears what the router knows of the workers (`admin_watch`), and has the core of worker versions
(zconnector/versions/manager.py) decide, whose hands are `hands.py`. Admin commands (`admin_commands.py`) and
operators (`admin_questions.py`) ask it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog

from zconnector.clock import Clock, SystemClock
from zconnector.configuration.pivot import Version
from zconnector.connector.admin_commands import PAUSE, AdminCommands, Told
from zconnector.connector.admin_questions import Changes, Questions
from zconnector.connector.door import Door
from zconnector.connector.hands import Hands
from zconnector.connector.incoming import ADMIN_COMMANDS
from zconnector.connector.ports import Place, Ports, Server
from zconnector.errors import ConfigError, DamagedError, Reason, Refusal
from zconnector.versions.actions import Answer
from zconnector.versions.asks import Verb
from zconnector.versions.editions import versions_of
from zconnector.versions.manager import Manager
from zconnector.versions.states import Memory, Versions
from zconnector.versions.wanted import Wanted

_log = structlog.get_logger("zconnector.admin")
_CLOCK = SystemClock()
_PORTS = Ports()


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
        changes = Changes()
        self._hands = Hands(
            self._manager,
            door,
            place,
            make_server,
            clock,
            answer=self._answered,
            changed=changes.changed,
            wrote=changes.wake,
            ports=ports,
        )
        self._asks: dict[str, asyncio.Future[Told]] = {}
        self._asked = 0
        self._commands = AdminCommands(door, self._ask)
        self._questions = Questions(door, self._manager, self._hands, changes, clock, self._ask)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            for name in ADMIN_COMMANDS:
                group.create_task(self._commands.serve(name, group))

    async def close(self) -> None:
        await self._hands.close()

    def view(self) -> dict[str, Any]:
        """What operators see."""
        return self._questions.view()

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
                await asyncio.sleep(PAUSE)

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
                hands.begin(self._questions.answer(ask, name, args))
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

    async def _ask(self, verb: Verb, version: Version | None, uuid: str) -> Told:
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
