"""Streams of workers: alive as long as they ask for tidings, told what concerns their leases. Pure.

A front end keeps one `tidings` call pending for each stream. Its CANCEL, or the death of its client, ends the
stream; so does an answer after which it does not ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from zconnector.actions import Actions, Caller, Note, Respond
from zconnector.alarms import Alarms
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.connector import arguments
from zconnector.connector.arguments import Args
from zconnector.connector.workers import Workers
from zconnector.errors import Reason, Refusal
from zconnector.queue.leases import Command, Lease
from zconnector.queue.local import LocalQueue

ASK_WITHIN = 10.0
"""Seconds within which a stream asks again after an answer, or for the first time."""
UNREAD = 1.0
"""An alarm that is seen later than this shows that the process stood still; and so long is what streams said
meanwhile given to be read."""
_MAX_NEWS = 200
"""Lost leases told in one answer; the rest comes with the next."""
OnGone = Callable[[str, Instant], Actions]


@dataclass(slots=True)
class Stream:
    """One worker's stream. Invariant: it has a caller, or an alarm."""

    holder: str
    worker: str
    version: Version
    caller: Caller | None = None
    """Its pending call."""
    asked: bool = False
    """It has asked at least once: since then its worker is attended."""
    lost: list[dict[str, str]] = field(default_factory=list)
    leaving: bool = False
    """It is to drain, whatever becomes of the connector."""
    drained: bool = False
    """It was told to drain."""


class Tidings:
    """The streams, by the id that their front end chose for each."""

    def __init__(self, queue: LocalQueue, workers: Workers) -> None:
        self._queue = queue
        self._workers = workers
        self._streams: dict[str, Stream] = {}
        self._asking: dict[Caller, Stream] = {}
        self._absent: Alarms[str] = Alarms(queue.agenda)
        self._draining = False
        self.on_gone: list[OnGone] = []
        """Told of each stream that has ended, after its leases were given back."""
        queue.on_lost(self._lost)

    def __len__(self) -> int:
        return len(self._streams)

    def ask(self, caller: Caller, args: Args, now: Instant) -> Actions:
        """Answer when there is something to tell. Raises Refusal: BAD_ARGUMENT."""
        holder = arguments.text(args, "holder", limit=64)
        if not holder:
            raise Refusal(Reason.BAD_ARGUMENT, "holder is missing")
        worker = arguments.text(args, "worker", limit=256)
        version = Version(arguments.small(args, "major"), arguments.small(args, "minor"))
        stream = self._stream(holder, worker, version)
        self._queue.subscriptions.holder_lives(holder, now)
        actions: Actions = []
        if stream.caller is not None:
            refusal = Refusal(Reason.REPLACED, "a newer call of this stream took its place")
            actions.append(Respond(stream.caller, error=refusal))
            del self._asking[stream.caller]
        stream.caller = caller
        self._asking[caller] = stream
        self._absent.cancel(holder)
        if not stream.asked:
            stream.asked = True
            self._workers.attend(stream.worker, *stream.version, now)
        return actions + self._tell(stream, now)

    def seen(self, holder: str, worker: str, version: Version, now: Instant) -> None:
        """A stream takes, or adopts, leases: it has to ask for tidings soon, if it does not already."""
        if self._stream(holder, worker, version).caller is None:
            self._absent.set(holder, now.mono + ASK_WITHIN)

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        """The caller is gone; if it was a stream's call, so is the stream."""
        stream = self._asking.get(caller)
        return [] if stream is None else self._gone(stream, "its stream ended", now)

    def drain(self, now: Instant) -> Actions:
        """Every stream is to finish what it has, and to take nothing more."""
        self._draining = True
        actions: Actions = []
        for stream in list(self._streams.values()):
            actions += self._tell(stream, now)
        return actions

    def drain_workers(self, workers: Collection[str], now: Instant) -> Actions:
        """The streams of these are to finish what they have; later ones of the same name are not."""
        actions: Actions = []
        for stream in list(self._streams.values()):
            if stream.worker in workers and not stream.leaving:
                stream.leaving = True
                actions += self._tell(stream, now)
        return actions

    def tick(self, now: Instant) -> Actions:
        """End the streams that do not ask. Where this process itself stood still, they may have asked."""
        first = self._absent.deadline()
        if first is not None and now.mono - first > UNREAD:
            for holder in self._absent.due(now.mono):
                self._absent.set(holder, now.mono + UNREAD)
            return []
        actions: Actions = []
        for holder in self._absent.due(now.mono):
            actions += self._gone(self._streams[holder], "its stream fell silent", now)
        return actions

    def deadline(self) -> float | None:
        return self._absent.deadline()

    def streams(self) -> Iterable[Stream]:
        """Those that live; to be read only."""
        return self._streams.values()

    def _stream(self, holder: str, worker: str, version: Version) -> Stream:
        stream = self._streams.get(holder)
        if stream is None:
            stream = self._streams[holder] = Stream(holder, worker, version)
        return stream

    def _lost(self, command: Command, lease: Lease, why: str, now: Instant) -> Actions:
        stream = self._streams.get(lease.holder)
        if stream is None:
            return []
        stream.lost.append({"uuid": command.uuid, "token": lease.token, "reason": why})
        return self._tell(stream, now)

    def _tell(self, stream: Stream, now: Instant) -> Actions:
        leave = self._draining or stream.leaving
        drain = leave and not stream.drained
        if stream.caller is None or not (stream.lost or drain):
            return []
        lost, stream.lost = stream.lost[:_MAX_NEWS], stream.lost[_MAX_NEWS:]
        stream.drained = leave
        news: dict[str, Any] = {"cancelled": lost, "drain": leave}
        caller, stream.caller = stream.caller, None
        del self._asking[caller]
        self._absent.set(stream.holder, now.mono + ASK_WITHIN)
        return [Respond(caller, news)]

    def _gone(self, stream: Stream, why: str, now: Instant) -> Actions:
        del self._streams[stream.holder]
        self._absent.cancel(stream.holder)
        if stream.caller is not None:
            del self._asking[stream.caller]
        if stream.asked:
            self._workers.leave(stream.worker, *stream.version, now)
        refusal = Refusal(Reason.SHUTTING_DOWN, why)
        actions = self._queue.end_takes(refusal, now, stream.holder)
        released, more = self._queue.give_back_all(stream.holder, why, now, unseen=False)
        actions += more
        for told in self.on_gone:
            actions += told(stream.holder, now)
        fields = {"worker": stream.worker, "why": why, "released": released}
        return [Note("info", "stream gone", fields), *actions]
