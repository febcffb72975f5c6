"""A worker's run over the Gandalf API: registration and beats, slots, drain."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from concurrent.futures import Executor
from typing import Any

import structlog

from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.worker.client import Client
from zconnector.worker.connection import SHORT, Backoff, Connection, pause
from zconnector.worker.errors import CallFailed, RegistrationRefused
from zconnector.worker.handlers import Registry
from zconnector.worker.lifecycle import Lifecycle, State, Step
from zconnector.worker.slots import Slots

BEAT = 1.0
"""Seconds between two SendStop."""

_log = structlog.get_logger("zconnector.worker")


class GandalfRun:
    """From registration to the end of the last handler."""

    def __init__(
        self,
        registry: Registry,
        connection: Connection,
        client: Client,
        threads: Executor,
        *,
        worker: str,
        name: str,
        major: int,
        minor: int,
        draining: asyncio.Event,
        beat: float,
        rng: random.Random,
    ) -> None:
        self._registry = registry
        self._connection = connection
        self._worker = worker
        self._major = major
        self._minor = minor
        self._beat = beat
        self._rng = rng
        self._life = Lifecycle()
        self._draining = draining
        self._away = False
        self._slots = Slots(
            connection,
            client,
            threads,
            name=name,
            major=major,
            draining=draining,
            failed=self.stop,
            rng=rng,
        )

    @property
    def state(self) -> State:
        return self._life.state

    async def run(self) -> None:
        """Serve until told to leave.

        Raises:
            RegistrationRefused: the connector does not take this worker.
        """
        try:
            await self._live()
            await self._finish()
        finally:
            self._slots.cancel()
        self._life.idle()
        if self._life.error is not None:
            raise self._life.error

    def stop(self) -> None:
        """Drain: take nothing more, finish what runs, then end."""
        if self._life.signalled() is Step.DRAIN:
            self._drain()

    async def _live(self) -> None:
        """Register and beat until it is time to drain."""
        backoff = Backoff(self._rng)
        step = Step.REGISTER
        while step in (Step.REGISTER, Step.RETRY, Step.SERVE, Step.BEAT):
            if step is Step.RETRY:
                await pause(self._draining, backoff.next())
            elif step is Step.BEAT:
                await pause(self._draining, self._beat)
            if self._draining.is_set():
                return
            if step is Step.SERVE:
                backoff.reset()
                self._slots.open(self._registry.commands.values(), self._registry.events.values())
                step = Step.BEAT
            elif self._life.state is State.REGISTERING:
                step = await self._until_drain(self._register())
            else:
                step = await self._until_drain(self._send_beat())
        if step is Step.DRAIN:
            self._drain()

    async def _finish(self) -> None:
        """Wait for what still runs; beat meanwhile, so that nobody else is given it."""
        finished = asyncio.Event()
        # A slot ends when its wait was cancelled, or with the reply of what it was handling.
        slots = self._slots.ended()
        slots.add_done_callback(lambda _: finished.set())
        while not await pause(finished, self._beat):
            await self._send_beat()
        await slots

    async def _until_drain(self, step: Coroutine[Any, Any, Step]) -> Step:
        """A call to the connector that the drain cuts short."""
        call = asyncio.ensure_future(step)
        drain = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({call, drain}, return_when=asyncio.FIRST_COMPLETED)
            return call.result() if call.done() else Step.NOTHING
        finally:
            call.cancel()
            drain.cancel()

    async def _register(self) -> Step:
        commands = sorted(self._registry.commands)
        request = pb.CommandList(Major=self._major, Minor=self._minor, Commands=commands)
        try:
            reply, trailing = await self._connection.call("SendCommandList", request, seconds=SHORT)
        except CallFailed as failed:
            if not failed.passing:
                return self._life.refused(RegistrationRefused([], str(failed)))
            self._note_away(failed.detail)
            return self._life.away()
        self._away = False
        if not reply.valid:
            missing = metadata.decode_names(metadata.value(trailing, metadata.MISSING))
            detail = metadata.decode_text(metadata.value(trailing, metadata.DETAIL))
            return self._life.refused(RegistrationRefused(missing, detail))
        _log.info("worker.registered", worker=self._worker, commands=commands, api="gandalf")
        return self._life.accepted(metadata.value(trailing, metadata.BOOT))

    async def _send_beat(self) -> Step:
        request = pb.Stop(Major=self._major, Minor=self._minor)
        try:
            reply, trailing = await self._connection.call("SendStop", request, seconds=SHORT / 2)
        except CallFailed as failed:
            self._note_away(failed.detail)
            return self._life.away()
        self._away = False
        step = self._life.beaten(reply.valid, metadata.value(trailing, metadata.BOOT))
        if step is Step.DRAIN:
            _log.info("worker.told_to_leave", worker=self._worker)
        return step

    def _note_away(self, detail: str) -> None:
        """Once for each absence, not at every try."""
        if not self._away:
            addresses = list(self._connection.addresses)
            _log.warning("worker.connector_away", addresses=addresses, detail=detail)
        self._away = True

    def _drain(self) -> None:
        self._draining.set()
        self._connection.cancel_waits()
