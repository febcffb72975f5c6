"""The Work stream: one worker, its leases and its outcomes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from zconnector.errors import Reason, Refusal
from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as pb
from zconnector.rpc.convert import Args, parse
from zconnector.rpc.port import DoorPort
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1.convert import lease
from zconnector.rpc.v1.feed import Feed, Item
from zconnector.rpc.v1.reading import Reader
from zconnector.rpc.v1.settling import Settled, Settling
from zconnector.rpc.v1.status import item_refusal
from zconnector.rpc.v1.stream import ANSWERS, FRAME, MANY, MUCH, Context, Stream
from zconnector.rpc.v1.tidings import Tidings, ignore
from zconnector.rpc.v1.work_convert import (
    MAX_CREDITS,
    fill_command,
    hold,
    outcome_args,
    pools,
    subscription_args,
    worker_args,
)

LEASES = 256
"""Leases of one call."""


BEAT = 0.9
"""Seconds between two beats that are passed on."""


def _unheeded(answer: asyncio.Future[Any]) -> None:
    """A beat that was refused (the router stops) changes nothing here."""
    if not answer.cancelled():
        answer.exception()


class MissingCommands(Refusal):
    """A worker that lacks what its version's configuration declares."""

    def __init__(self, missing: list[str], detail: str) -> None:
        text = detail or f"commands without a handler: {', '.join(missing)}"
        super().__init__(Reason.BAD_ARGUMENT, f"the registration is refused: {text}")
        self.missing = orjson.dumps(missing).decode()


class WorkStream(Stream):
    """Invariant: a lease taken for this stream is in `_commands` (not yet written), in `_held` (the worker
    has it) or settled; all of the first two are given back when the stream ends."""

    def __init__(self, door: DoorPort, context: Context, settings: ServiceSettings, boot: str) -> None:
        super().__init__(context, settings)
        self._door = door
        self._boot = boot
        self._holder = uuid.uuid4().hex
        self._settling = Settling(door, self._holder, self._told)
        self._tidings: Tidings | None = None
        self._feeds: list[Feed] = []
        self._readers: dict[str, Reader] = {}
        self._held: dict[tuple[str, str], Feed] = {}
        self._commands: list[Item] = []
        self._answers: list[tuple[str, Any, Refusal | None]] = []
        """uuid, kind and refusal of outcomes that the worker is yet to hear of."""
        self._bytes = 0
        self._rest = pb.WorkReply()
        """What is to be written beside commands and events."""
        self._has_rest = False
        self._draining = False
        self._worker: Args = {}
        self._beaten = 0.0

    async def opened(self, raw: bytes) -> None:
        request = parse(pb.WorkRequest, raw)
        if not request.HasField("register"):
            raise Refusal(Reason.BAD_ARGUMENT, "the first frame must have `register`")
        register = request.register
        worker = self._worker = worker_args(register)
        made = pools(register)
        wishes = [subscription_args(wish) for wish in register.subscriptions]
        if not made and not wishes:
            raise Refusal(Reason.BAD_ARGUMENT, "a worker registers at least one command or subscription")
        length = lease(register.lease_ms)
        boot = await self._register(worker, [name for names, _ in made for name in names])
        self._tidings = Tidings(self._door, {"holder": self._holder, **worker}, self._news, self.end)
        self._tidings.ask()
        self._open_feeds(worker, made, length)
        adopted = await self._adopt(worker, register.holding)
        subscribed = [await self._subscribe(args, credits) for args, credits in wishes]
        self._rest.registered.CopyFrom(
            pb.Registered(
                boot=boot,
                adopted=adopted,
                heartbeat_ms=int(self._settings.heartbeat * 1000),
                silence_ms=int(self._settings.silence * 1000),
                subscriptions=subscribed,
            )
        )
        self._put_rest()
        self.start_beats()
        for feed in self._all_feeds():
            feed.pull()
        self._take(request)

    async def _register(self, worker: Args, commands: list[str]) -> str:
        """Register the version with its commands; boot id of the router that took it."""
        result, _ = await self._door.call(
            "register", {**worker, "commands": commands, "holder": self._holder}
        )
        if not result.get("valid"):
            missing = result.get("missing")
            names = [str(name) for name in missing] if isinstance(missing, list) else []
            raise MissingCommands(names, str(result.get("detail") or ""))
        return str(result.get("boot") or self._boot)

    def _open_feeds(self, worker: Args, made: list[tuple[list[str], int]], length: int) -> None:
        for names, credits in made:
            args = {"holder": self._holder, **worker, "commands": names, "lease": length}
            self._feeds.append(Feed(self._door, "take", args, "commands", credits, self._took, self._refused))

    async def _adopt(self, worker: Args, holding: Any) -> list[str]:
        """Make leases from before this stream's: their commands run on."""
        adopted: list[str] = []
        names = {name: feed for feed in self._feeds for name in feed.names}
        of = {(held.uuid, held.token): held.command for held in holding}
        leases = list(of)
        for begin in range(0, len(leases), LEASES):
            some = [{"uuid": uuid, "token": token} for uuid, token in leases[begin : begin + LEASES]]
            for each in some:
                hold("uuid", each["uuid"])
            asked = {"holder": self._holder, **worker, "leases": some}
            result, _ = await self._door.call("adopt", asked)
            adopted += [str(uuid) for uuid in result.get("valid", [])]
        valid = set(adopted)
        for key, command in of.items():
            if key[0] in valid and command in names:
                self._held[key] = names[command]
                names[command].out += 1
        return adopted

    async def _subscribe(self, args: Args, credits: int) -> Any:
        result, _ = await self._door.call("subscribe", args)
        name = str(args["subscription"])
        reader = Reader(self._door, name, self._holder, credits, self.put, self._refused)
        self._readers[name] = reader
        if missed := int(result.get("missed") or 0):
            self._rest.missed.add(subscription=name, events=missed)
        return {"subscription": name, "created": bool(result.get("created"))}

    def _all_feeds(self) -> list[Feed]:
        return self._feeds + [reader.feed for reader in self._readers.values()]

    # ---- what the worker says

    def heard(self, raw: bytes) -> None:
        request = parse(pb.WorkRequest, raw)
        if request.HasField("register"):
            raise Refusal(Reason.BAD_ARGUMENT, "`register` belongs in the first frame, and only there")
        self._beat()
        self._take(request)

    def _beat(self) -> None:
        """On a worker's own socket its supervisor asks whether it lives, not whether its stream is open."""
        now = self._loop.time()
        if not self._settings.worker or now - self._beaten < BEAT:
            return
        self._beaten = now
        self._door.ask("beat", self._worker).add_done_callback(_unheeded)

    def _take(self, request: Any) -> None:
        if request.outcomes:
            self._outcomes(request.outcomes)
        if request.acks:
            self._acks(request.acks)
        for wish in request.credits:
            if wish.pool >= len(self._feeds):
                raise Refusal(Reason.BAD_ARGUMENT, f"no pool {wish.pool}: there are {len(self._feeds)}")
            if wish.credits > MAX_CREDITS:
                raise Refusal(Reason.BAD_ARGUMENT, f"{wish.credits} credits, limit {MAX_CREDITS}")
            self._feeds[wish.pool].set_credits(wish.credits)
        if request.drain:
            self._drain()
        if request.beat:
            self._rest.beat = request.beat
            self._put_rest()

    def _outcomes(self, outcomes: Any) -> None:
        good: list[tuple[Args, bytes]] = []
        freed: set[Feed] = set()
        for outcome in outcomes:
            payload = outcome.payload
            try:
                args = outcome_args(outcome, payload)
            except Refusal as refusal:
                self._answers.append((outcome.uuid, outcome.kind, refusal))
                self.put()
                continue
            good.append((args, payload))
            if args["outcome"] != "progress":
                feed = self._held.pop((args["uuid"], args["token"]), None)
                if feed is not None:
                    feed.done()
                    freed.add(feed)
        if good:
            self._settling.add(good)
        self._measure()
        for feed in freed:
            feed.pull()

    def _measure(self) -> None:
        """No more is read than can be answered, and the client takes the answers."""
        unread = sum(reader.unread for reader in self._readers.values())
        self.hold(len(self._settling) + len(self._answers) + unread > MANY)

    def _told(self, settled: list[Settled]) -> None:
        """The queue has settled outcomes, or refused them."""
        if self.over:
            return
        self._answers += [(args["uuid"], _KINDS[args["outcome"]], refusal) for args, refusal in settled]
        self._measure()
        self.put()
        self.looked()

    def _acks(self, acks: Any) -> None:
        of: dict[str, list[Any]] = {}
        for ack in acks:
            of.setdefault(ack.subscription, []).append(ack)
        for name, some in of.items():
            reader = self._readers.get(name)
            if reader is None:
                raise Refusal(Reason.NOT_FOUND, f"this stream reads no subscription {name[:40]!r}")
            reader.acknowledge(some)
        self._measure()

    def _drain(self) -> None:
        """Nothing more for this worker; what it has not seen yet is for others."""
        self._draining = True
        for feed in self._all_feeds():
            feed.stop()
        unseen, self._commands = self._commands, []
        for item, _ in unseen:
            self._held.pop((item["uuid"], item["token"]), None)
        self._give_back(unseen)

    def ended(self) -> None:
        self._drain()

    def busy(self) -> bool:
        return len(self._settling) > 0 or any(reader.under_way for reader in self._readers.values())

    # ---- what the queue says

    def _took(self, feed: Feed, items: list[Item], result: Mapping[str, Any]) -> None:
        if self.over or self._draining:
            self._give_back(items)
            return
        for item, payload in items:
            self._held[(item["uuid"], item["token"])] = feed
            self._bytes += len(payload)
        self._commands += items
        self._hold_feeds()
        self.put()

    def _refused(self, why: Refusal) -> None:
        """The queue hands out nothing more. While it drains, what runs may still be settled."""
        if why.reason is not Reason.DRAINING:
            self.end(why)

    def _news(self, news: Mapping[str, Any]) -> None:
        for gone in news.get("cancelled") or ():
            self._rest.cancelled.add(
                uuid=str(gone.get("uuid", "")),
                token=str(gone.get("token", "")),
                reason=str(gone.get("reason", "")),
            )
        if news.get("drain"):
            self._rest.drain.leave = bool(news.get("leave"))
            self._drain()
        self._put_rest()

    # ---- what is written

    def _put_rest(self) -> None:
        self._has_rest = True
        self.put()

    def _hold_feeds(self) -> None:
        for feed in self._feeds:
            feed.hold(self._bytes > MUCH)

    def frame(self) -> bytes | None:
        reply = pb.WorkReply()
        if self._has_rest:
            reply, self._rest, self._has_rest = self._rest, pb.WorkReply(), False
        elif not (self.blank or self._commands or self._answers or self._readers):
            return None
        settled = self._fill_settled(reply)
        size, taken = 200 * settled, 0
        for item, payload in self._commands:
            size += len(payload) + 300
            if (taken or settled) and size > FRAME:
                break
            fill_command(reply.commands.add(), item, payload)
            self._bytes -= len(payload)
            taken += 1
        if taken:
            del self._commands[:taken]
            self._hold_feeds()
        for reader in self._readers.values():
            if size > FRAME:
                break  # the next frame
            if (missed := reader.missed()) is not None:
                reply.missed.append(missed)
            size = reader.fill(reply, size)
        self._measure()
        encoded: bytes = reply.SerializeToString()
        if not encoded and not self.blank:
            return None
        self.blank = False
        return encoded

    def _fill_settled(self, reply: Any) -> int:
        """Answers to outcomes, as many as a frame may have; how many."""
        answers = self._answers[:ANSWERS]
        del self._answers[:ANSWERS]
        add = reply.settled.add
        for of, kind, refusal in answers:
            settled = add()
            settled.uuid = of
            if kind in _NAMED:
                settled.kind = kind
            if refusal is not None:
                settled.refusal.CopyFrom(item_refusal(refusal))
        return len(answers)

    # ---- the end

    def released(self, closing: bool) -> None:
        for feed in self._all_feeds():
            feed.stop()
        unseen, self._commands = self._commands, []
        self._give_back(unseen)
        if self._tidings is None:
            return
        if closing:
            # The worker runs on, and comes back with its tokens: to the next router, or front end.
            self._tidings.leave()
        else:
            self._tidings.end()

    def _give_back(self, items: list[Item]) -> None:
        """Leases that the worker never saw: they cost the command no attempt."""
        for begin in range(0, len(items), LEASES):
            leases = [
                {"uuid": item["uuid"], "token": item["token"]} for item, _ in items[begin : begin + LEASES]
            ]
            asked = {"holder": self._holder, "leases": leases, "unseen": True}
            self._door.ask("give_back", asked).add_done_callback(ignore)


_KINDS = {"ack": 1, "fail": 2, "nak": 3, "progress": 4}
_NAMED = frozenset(_KINDS.values())
