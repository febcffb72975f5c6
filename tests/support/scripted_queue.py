"""The v1 half of the scripted door: a small honest model of the leases that WIRE.md section 14 describes.

It keeps: one holder for each lease, a token for each lease, attempts, what is given back seen or unseen, who
is gone when its tidings are, subscriptions that compete inside and broadcast between.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zconnector.errors import Reason, Refusal

Answer = tuple[dict[str, Any], bytes]
OPS = frozenset(
    (
        "take",
        "settle",
        "give_back",
        "adopt",
        "tidings",
        "await_reply",
        "subscribe",
        "take_events",
        "acknowledge",
        "unsubscribe",
    )
)


@dataclass
class Work:
    """A command and its state: READY, LEASED, DELAYED, DONE or DEAD."""

    header: dict[str, Any]
    payload: bytes
    state: str = "READY"
    attempt: int = 0
    holder: str = ""
    token: str = ""


@dataclass
class Subscription:
    """Position of a name: what was handed out, and is not acknowledged, by whom."""

    topics: list[dict[str, str]]
    floor: int
    most: int
    out: dict[int, str] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    missed: int = 0


class ScriptedQueue:
    """Pure: every operation answers at once, or None when it is to be held."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.replies: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.progress: list[tuple[str, str, bytes]] = []
        self.subscriptions: dict[str, Subscription] = {}
        self.stored: list[tuple[dict[str, Any], bytes]] = []
        """Broadcast events, in order; an id is a place here, from 1."""
        self.news: dict[str, list[dict[str, Any]]] = {}
        self.holders: set[str] = set()
        """Those with tidings pending."""
        self.draining = False
        self.leaving = False
        """A drain is for this version of the worker, not for the router's own end."""
        self.told_drain: set[str] = set()
        self.attempts = 5
        self._tokens = itertools.count(1)

    def add(self, header: dict[str, Any], payload: bytes) -> Work:
        work = Work(header, payload)
        self.works.append(work)
        return work

    def find(self, uuid: str) -> Work | None:
        return next((work for work in self.works if work.header["uuid"] == uuid), None)

    def leased(self, holder: str | None = None) -> list[Work]:
        """Commands that are leased, of one holder or of any."""
        return [w for w in self.works if w.state == "LEASED" and holder in (None, w.holder)]

    def cancel(self, uuid: str, reason: str) -> None:
        """As an operator does: dead, and its worker is told."""
        work = self.find(uuid)
        assert work is not None
        if work.state == "LEASED":
            self.news.setdefault(work.holder, []).append(
                {"uuid": uuid, "token": work.token, "reason": reason}
            )
        work.state = "DEAD"

    def due(self) -> None:
        """What was delayed is due."""
        for work in self.works:
            if work.state == "DELAYED":
                work.state = "READY"

    def gone(self, holder: str) -> None:
        """A holder's tidings are no more: what it holds is for others."""
        self.holders.discard(holder)
        for work in self.leased(holder):
            self._again(work)
        for subscription in self.subscriptions.values():
            for number, by in list(subscription.out.items()):
                if by == holder:
                    del subscription.out[number]

    def restarted(self) -> None:
        """The router died and is back: leases are kept, nobody is connected."""
        self.holders.clear()

    def answer(self, op: str, args: Mapping[str, Any], payload: bytes) -> Answer | None:
        method = getattr(self, f"_{op}")
        answer: Answer | None = method(args, payload)
        return answer

    def _take(self, args: Mapping[str, Any], payload: bytes) -> Answer | None:
        if args["holder"] and args["holder"] not in self.holders:
            raise Refusal(Reason.BAD_ARGUMENT, "a holder without tidings takes nothing")
        ready = [work for work in self.works if work.state == "READY"]
        found = [work for work in ready if work.header["command"] in args["commands"]][: args["limit"]]
        if not found:
            return ({"commands": []}, b"") if args["wait_ms"] < 0 else None
        listed: list[Any] = []
        for work in found:
            work.state, work.holder, work.token = "LEASED", args["holder"], f"t-{next(self._tokens)}"
            work.attempt += 1
            length = args["lease"] or work.header.get("lease") or 300_000
            listed.append(
                {
                    **work.header,
                    "token": work.token,
                    "attempt": work.attempt,
                    "lease": length,
                    "size": len(work.payload),
                }
            )
        return {"commands": listed}, b"".join(work.payload for work in found)

    def _settle(self, args: Mapping[str, Any], payload: bytes) -> Answer:
        results: list[dict[str, Any]] = []
        begin = 0
        for outcome in args["outcomes"]:
            part = payload[begin : begin + outcome["size"]]
            begin += outcome["size"]
            work = self.find(outcome["uuid"])
            if work is None:
                results.append(_fenced(outcome, "unknown here"))
            elif work.state != "LEASED" or work.token != outcome["token"]:
                what = f"leased again, attempt {work.attempt}" if work.state == "LEASED" else work.state
                results.append(_fenced(outcome, what))
            else:
                self._outcome(work, outcome, part)
                results.append({"uuid": outcome["uuid"]})
        assert begin == len(payload)
        return {"results": results}, b""

    def _outcome(self, work: Work, outcome: Mapping[str, Any], payload: bytes) -> None:
        uuid = work.header["uuid"]
        kind = outcome["outcome"]
        if kind == "progress":
            if outcome.get("event"):
                self.progress.append((uuid, outcome["event"], payload))
        elif kind == "ack":
            work.state = "DONE"
            self.replies[uuid] = ({"event": "SUCCES", "reference": uuid}, payload)
        elif kind == "fail":
            work.state = "DEAD"
            detail = outcome.get("error", "")
            said = {"event": "FAIL", "reference": uuid, "reason": "FAILED", "detail": detail}
            self.replies[uuid] = (said, payload)
        elif work.attempt >= self.attempts:
            work.state = "DEAD"
            detail = outcome.get("error", "")
            said = {"event": "FAIL", "reference": uuid, "reason": "ATTEMPTS_EXHAUSTED", "detail": detail}
            self.replies[uuid] = (said, b"")
        else:
            work.state = "READY" if outcome.get("delay") == 0 else "DELAYED"

    def _again(self, work: Work) -> None:
        work.state, work.holder = "READY", ""

    def _give_back(self, args: Mapping[str, Any], payload: bytes) -> Answer:
        wanted = args.get("leases")
        released = 0
        for work in self.leased(args["holder"]):
            if wanted is None or {"uuid": work.header["uuid"], "token": work.token} in wanted:
                self._again(work)
                work.attempt -= 1 if args.get("unseen") else 0
                released += 1
        return {"released": released}, b""

    def _adopt(self, args: Mapping[str, Any], payload: bytes) -> Answer:
        valid = []
        for lease in args["leases"]:
            work = self.find(lease["uuid"])
            if work is not None and work.state == "LEASED" and work.token == lease["token"]:
                work.holder = args["holder"]
                valid.append(lease["uuid"])
        return {"valid": valid}, b""

    def _tidings(self, args: Mapping[str, Any], payload: bytes) -> Answer | None:
        holder = args["holder"]
        self.holders.add(holder)
        news = self.news.pop(holder, [])
        drain = self.draining and holder not in self.told_drain
        if not news and not drain:
            return None
        if drain:
            self.told_drain.add(holder)
        return {"cancelled": news, "drain": drain, "leave": drain and self.leaving}, b""

    def _await_reply(self, args: Mapping[str, Any], payload: bytes) -> Answer | None:
        return self.replies.get(args["uuid"])

    def _subscribe(self, args: Mapping[str, Any], payload: bytes) -> Answer:
        name = args["subscription"]
        created = name not in self.subscriptions
        if created:
            floor = 0 if args["from"] == "oldest" else len(self.stored)
            self.subscriptions[name] = Subscription(args["topics"], floor, args["max_unacked"])
        return {"created": created, "missed": 0}, b""

    def _take_events(self, args: Mapping[str, Any], payload: bytes) -> Answer | None:
        subscription = self._known(args)
        listed: list[Any] = []
        payloads = []
        for number, (header, body) in enumerate(self.stored, 1):
            if len(listed) >= args["limit"] or len(subscription.out) >= subscription.most:
                break
            if number <= subscription.floor or number in subscription.out:
                continue
            if number in subscription.acknowledged or not _wanted(subscription.topics, header):
                continue
            subscription.out[number] = args["holder"]
            subscription.attempts[number] = subscription.attempts.get(number, 0) + 1
            attempt = subscription.attempts[number]
            listed.append({**header, "id": number, "attempt": attempt, "size": len(body)})
            payloads.append(body)
        if not listed:
            return None
        missed, subscription.missed = subscription.missed, 0
        return {"events": listed, "missed": missed}, b"".join(payloads)

    def _acknowledge(self, args: Mapping[str, Any], payload: bytes) -> Answer:
        subscription = self._known(args)
        results: list[dict[str, Any]] = []
        for each in args["events"]:
            if subscription.out.get(each["id"]) != args["holder"]:
                results.append({"id": each["id"], "error": {"code": "FENCED", "detail": "not yours"}})
                continue
            del subscription.out[each["id"]]
            if each["ok"]:
                subscription.acknowledged.add(each["id"])
            results.append({"id": each["id"]})
        return {"results": results}, b""

    def _unsubscribe(self, args: Mapping[str, Any], payload: bytes) -> Answer:
        return {"existed": self.subscriptions.pop(args["subscription"], None) is not None}, b""

    def _known(self, args: Mapping[str, Any]) -> Subscription:
        found = self.subscriptions.get(args["subscription"])
        if found is None:
            raise Refusal(Reason.NOT_FOUND, f"no subscription {args['subscription']}")
        return found


def _fenced(outcome: Mapping[str, Any], what: str) -> dict[str, Any]:
    return {"uuid": outcome["uuid"], "error": {"code": "FENCED", "detail": what}}


def _wanted(topics: list[dict[str, str]], header: Mapping[str, Any]) -> bool:
    topic, event = header["topic"], header["event"]
    return any(t["topic"] == topic and t.get("event", event) == event for t in topics)
