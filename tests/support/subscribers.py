"""Subscribers on a queue's bench: calls in, answers out."""

from __future__ import annotations

from typing import Any

from zconnector.actions import Actions, Caller
from zconnector.queue.lanes import LaneKey
from zconnector.queue.subscription import Terms, disjoint
from zconnector.queue.subscriptions import Acknowledgement


class Subscribers:
    """Calls the subscriptions of a bench (`tests/unit/queue/conftest.py`)."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench

    def subscribe(
        self,
        name: str = "s",
        *topics: str,
        oldest: bool = False,
        max_unacked: int = 256,
        lease: int = 60_000,
    ) -> Caller:
        """Topics are `TOPIC` or `TOPIC/EVENT`; none: BUILDS."""
        keys = [LaneKey(t.partition("/")[0], t.partition("/")[2] or None, "") for t in topics or ("BUILDS",)]
        terms = Terms(disjoint(keys), max_unacked, lease)
        caller: Caller = self.bench.caller()
        self._do(lambda q: q.subscribe(caller, name, terms, oldest=oldest, now=self.bench.now))
        return caller

    def take(self, name: str = "s", holder: str = "h", limit: int = 10, wait: float | None = None) -> Caller:
        caller: Caller = self.bench.caller()
        self._do(lambda q: q.take(caller, name, holder, limit, wait, self.bench.now))
        return caller

    def acknowledge(
        self, *ids: int, name: str = "s", holder: str = "h", ok: bool = True, attempt: int = 0
    ) -> Caller:
        caller: Caller = self.bench.caller()
        said = [Acknowledgement(each, ok, attempt) for each in ids]
        self._do(lambda q: q.acknowledge(caller, name, holder, said, self.bench.now))
        return caller

    def unsubscribe(self, name: str = "s") -> Caller:
        caller: Caller = self.bench.caller()
        self._do(lambda q: q.unsubscribe(caller, name, self.bench.now))
        return caller

    def release(self, holder: str) -> None:
        self._do(lambda q: q.release_holder(holder, self.bench.now))

    def took(self, caller: Caller) -> list[tuple[str, int]] | None:
        """(uuid, attempt) of what a take was answered with; None: not answered."""
        respond = self.bench.responses.get(caller)
        if respond is None:
            return None
        assert respond.error is None, respond.error
        return [(item["uuid"], item["attempt"]) for item in respond.args["events"]]

    def ids(self, caller: Caller) -> list[int]:
        return [item["id"] for item in self.bench.responses[caller].args["events"]]

    def missed(self, caller: Caller) -> int:
        return int(self.bench.responses[caller].args["missed"])

    def results(self, caller: Caller) -> list[str]:
        """Of an acknowledge: "" or the code, in order."""
        respond = self.bench.responses[caller]
        assert respond.error is None, respond.error
        return [str(item.get("error", {}).get("code", "")) for item in respond.args["results"]]

    def _do(self, call: Any) -> None:
        actions: Actions = call(self.bench.queue.subscriptions)
        self.bench.do(actions)
