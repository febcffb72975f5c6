"""The model's part on leases: who has a command, until when, and which token settles it.

A Gandalf lease has no token: what ends it is its worker's silence, a cancelled wait of its iterator, the
limit, or (since nobody knows whether it was durable) the end of the process. A lease of zconnector.v1 has
one, is durable as soon as its row is, and then outlives the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulation.model_rows import RowRules
from tests.simulation.scheduler import MS, SECOND
from zconnector.errors import Reason
from zconnector.queue.states import State

SURE = 0.99
"""How much of a length has passed for certain: clocks drift."""
ASK_WITHIN = int(10.0 * SURE * SECOND)
"""A stream whose tidings were answered and that does not ask again for so long may be taken for gone."""
_GOES_ON = 1 << 62
"""Until when a lease that lasted lasts while its process is away."""


@dataclass(slots=True, eq=False)
class Held:
    """One hand-out of a command."""

    at: int
    order: int
    node: str
    worker: str
    iterator: str
    """The Gandalf iterator, or what stands for the token."""
    until: int
    """It lasts for certain until then, unless something ends it before."""
    token: str = ""
    length: int = 0
    """Microseconds, for those with a token."""
    holder: str = ""
    attempt: int = 0
    durable: bool = False
    closed: str = ""
    """The outcome that was told to be stored: no other one may be."""
    said: int = 0
    """Outcomes that were said of it."""
    doubtful: bool = False
    """A crash took it back, or perhaps not: nothing is said about its token."""


@dataclass(frozen=True, slots=True)
class Settling:
    """One outcome under way."""

    at: int
    node: str
    uuid: str
    token: str
    outcome: str
    held: Held | None
    """The hand-out of that token, if it was the last one as this was said."""
    closed: str
    """What had been told to be stored of it before."""
    first: bool
    extend: int


class LeaseRules(RowRules):
    """One holder at a time, and only the right token settles."""

    def __init__(self, *, lease_limit: float, adopt_within: float, **more: Any) -> None:
        super().__init__(**more)
        self._lease_limit = int(lease_limit * SURE * SECOND)
        self._adopt_within = int(adopt_within * SURE * SECOND)
        self._order = 0
        self._may_end: dict[tuple[str, str, str], int] = {}
        """(node, worker or holder, iterator) -> order of the last thing by which such leases end."""
        self._held: dict[tuple[str, str], Held] = {}
        """(connector, uuid) -> its last hand-out."""
        self._tokens: dict[str, dict[str, Held]] = {}
        """By connector: hand-outs with a token that may last."""
        self._answered: dict[tuple[str, str], int] = {}
        """(node, holder) -> when its tidings were answered; those that have not asked again since."""

    # ---- hand-outs

    def _lease_handed(self, at: int, node: str, uuid: str, held: Held) -> None:
        self._order += 1
        held.order = self._order
        before = self._held.get((node, uuid))
        if before is not None and at < before.until:
            self.checked["overlapping leases"] += 1
            if not self._is_over(at, before):
                after = f"{(at - before.at) / MS:.0f} ms after {before.worker}"
                text = f"{uuid} was handed out at {node} again, {after}"
                self._broken(at, "overlapping leases", uuid, text)
        if before is not None and before.token:
            self._tokens.get(node, {}).pop(before.token, None)
        self._held[node, uuid] = held
        if held.token:
            self._tokens.setdefault(node, {})[held.token] = held

    def _is_over(self, at: int, held: Held) -> bool:
        """Whether something happened by which it ends."""
        node = held.node
        if held.token and self._is_silent(at, node, held.holder):
            return True
        ends = [(node, held.worker, ""), (node, "", held.iterator)]
        ends.append((node, held.holder or "nobody", "") if held.token else (node, "", ""))
        return any(self._may_end.get(end, -1) > held.order for end in ends)

    def lease_may_end(self, at: int, node: str, worker: str, iterator: str) -> None:
        """A worker died or fell silent, or a wait of its iterator was cancelled; "" and "": all of them."""
        self._order += 1
        self._may_end[node, worker, iterator] = self._order

    def _token_ends(self, held: Held) -> None:
        self.lease_may_end(0, held.node, "", held.iterator)

    def unread(self, node: str, token: str, *, seen: bool = False) -> None:
        """A take was cancelled as its answer was on the way, or its lease is given back."""
        held = self._tokens.get(node, {}).get(token)
        if held is not None:
            self._token_ends(held)
            held.said += 1

    def given_back(self, at: int, node: str, uuid: str, token: str, *, unseen: bool) -> None:
        """A worker is told that this lease is over."""
        held = self._held.get((node, uuid))
        if held is not None and held.token == token and not held.closed:
            held.closed = "give_back"
            row = self._rows.get((node, uuid))
            if row is not None and unseen:
                row.unseen += 1

    def stream_ended(self, at: int, node: str, holder: str) -> None:
        """A stream's tidings were cancelled: its leases end."""
        self._answered.pop((node, holder), None)
        self.lease_may_end(at, node, holder, "")
        self.holder_gone(node, holder)

    def stream_answered(self, at: int, node: str, holder: str) -> None:
        """A stream's tidings were answered: unless it asks again in time, it ends.

        What it is handed until then ends with it, so that this counts from when the time is over.
        """
        self._answered[node, holder] = at

    def stream_asks(self, at: int, node: str, holder: str) -> None:
        """It asks for tidings, again or for the first time; perhaps too late."""
        if self._is_silent(at, node, holder):
            self.stream_ended(at, node, holder)
        self._answered.pop((node, holder), None)

    def _is_silent(self, at: int, node: str, holder: str) -> bool:
        """Whether it has not asked for so long that it may be gone."""
        answered = self._answered.get((node, holder))
        return answered is not None and at - answered >= ASK_WITHIN

    # ---- settling

    def settling(
        self,
        at: int,
        node: str,
        uuid: str,
        token: str,
        outcome: str,
        *,
        delay: int | None = None,
        extend: int = 0,
    ) -> Settling:
        """Somebody says what became of a lease."""
        held = self._held.get((node, uuid))
        if held is not None and held.token != token:
            held = None
        closed, first = (held.closed, held.said == 0) if held is not None else ("", True)
        if held is not None:
            held.said += 1
            row = self._rows.get((node, uuid))
            if outcome == "progress":
                length = extend * MS or held.length
                held.until = min(held.until, at + int(length * SURE))
                held.said -= 1
            else:
                self._token_ends(held)
            if row is not None and outcome == "fail":
                row.wanted.add(Reason.FAILED)
            if row is not None and outcome == "nak" and not closed:
                least = row.policy.first * row.policy.factor ** max(0, held.attempt - 1)
                least = min(least, row.policy.limit) / 2 if delay is None else delay
                row.nak = at, int(least * MS)
        return Settling(at, node, uuid, token, outcome, held, closed, first, extend)

    def settled(self, at: int, said: Settling, error: str) -> None:
        """It is told that this is stored; or why not."""
        self.checked["fencing"] += 1
        self.counts[f"settled {error or said.outcome}"] += 1
        node, uuid, held = said.node, said.uuid, said.held
        if held is not None and held.doubtful:
            return
        if not error:
            if held is None or said.closed:
                why = f"after {said.closed}" if said.closed else "which is not that of its lease"
                text = f"{said.outcome} of {uuid} was taken at {node} with token {said.token}, {why}"
                if not self._is_doubtful(at, node, uuid):
                    self._broken(at, "fencing", uuid, text)
                return
            if said.outcome == "progress":
                length = said.extend * MS or held.length
                held.until = said.at + int(length * SURE)
            else:
                held.closed = said.outcome
        elif error == Reason.FENCED and held is not None and said.first and said.outcome != "progress":
            self._check_refused(at, said, held)

    def _is_doubtful(self, at: int, node: str, uuid: str) -> bool:
        """Whether a crash may have taken the last hand-out back, so that an earlier one counts again."""
        held = self._held.get((node, uuid))
        if held is None or held.doubtful:
            return True
        return not held.durable and self._restarted(node, held.at, at)

    def _check_refused(self, at: int, said: Settling, held: Held) -> None:
        """FENCED although its lease lasts?"""
        row = self._rows.get((said.node, said.uuid))
        if row is None or row.gone or at >= held.until or self._ended_before(at, held):
            return
        if self._held.get((said.node, said.uuid)) is not held:
            return  # handed out again meanwhile, which has been judged
        text = f"{said.outcome} of {said.uuid} by the holder of its lease was FENCED at {said.node}"
        self._broken(at, "fencing", said.uuid, text)

    def _ended_before(self, at: int, held: Held) -> bool:
        """Whether something besides its own outcome ended it."""
        node = held.node
        if self._is_silent(at, node, held.holder):
            return True
        ends = [(node, held.worker, ""), (node, held.holder or "nobody", "")]
        return any(self._may_end.get(end, -1) > held.order for end in ends)

    def lost(self, node: str, token: str) -> None:
        """The router says that a lease is over."""
        held = self._tokens.get(node, {}).get(token)
        if held is not None:
            self._token_ends(held)
            held.said += 1

    # ---- restarts

    def _lease_put(self, node: str, uuid: str, lease: Mapping[str, Any] | None) -> None:
        held = self._held.get((node, uuid))
        if held is not None and lease is not None and held.token == lease["token"]:
            held.durable = True

    def _lease_unheard(self, at: int, node: str, uuid: str, token: str) -> None:
        """Its process ended between the commit and the answer: it fences off whoever had it before."""
        before = self._held.get((node, uuid))
        if before is not None and before.token:
            self._tokens.get(node, {}).pop(before.token, None)
        self._order += 1
        self._held[node, uuid] = Held(
            at, self._order, node, "nobody", f"token {token}", at, token=token, durable=True
        )

    def _leases_ended(self, at: int, node: str) -> None:
        """A process ended: what was not durable is no lease; the others wait for their streams."""
        self.lease_may_end(at, node, "", "")
        for of, holder in list(self._answered):
            if of == node:  # nobody waits for it any more; its leases that last wait to be adopted
                self.stream_asks(at, node, holder)
        for token, held in list(self._tokens.get(node, {}).items()):
            if held.durable:
                if at < held.until:  # else its end may be stored by now, and there is nothing to go on
                    held.until = _GOES_ON
                if held.closed == "give_back":  # which may not have been durable
                    held.closed, held.doubtful = "", True
            else:
                self._token_ends(held)
                held.doubtful = True
                del self._tokens[node][token]

    def _leases_restored(self, at: int, node: str) -> None:
        for held in self._tokens.get(node, {}).values():
            if held.until < _GOES_ON:
                continue
            length = int(held.length * SURE)
            held.until = at + (min(length, self._adopt_within) if held.holder else length)

    def adopted(self, at: int, node: str, holder: str, leases: Mapping[str, str], valid: set[str]) -> None:
        """A stream asked for leases (uuid -> token); it has those that are valid."""
        for uuid, token in leases.items():
            held = self._held.get((node, uuid))
            row = self._rows.get((node, uuid))
            if held is None or held.token != token or held.doubtful or row is None:
                continue
            self.checked["fencing"] += 1
            if uuid in valid:
                if held.closed:
                    text = f"{uuid} was adopted at {node} after {held.closed}"
                    self._broken(at, "fencing", uuid, text)
                self.counts["adopted"] += 1
                held.holder, held.worker = holder, holder
                self._order += 1
                held.order = self._order
                held.until = at + int(held.length * SURE) - MS
            elif not (held.said or row.gone or at >= held.until or self._ended_before(at, held)):
                text = f"{uuid} could not be adopted at {node}, though its lease lasts"
                self._broken(at, "fencing", uuid, text)

    def _done_put(self, at: int, node: str, uuid: str) -> None:
        held = self._held.get((node, uuid))
        if held is not None and held.token:
            self._tokens.get(node, {}).pop(held.token, None)

    def holds(self, node: str, uuid: str, token: str) -> bool:
        """Whether that was the last hand-out, and the command is not known to have ended."""
        held, row = self._held.get((node, uuid)), self._rows.get((node, uuid))
        return held is not None and held.token == token and row is not None and row.state == State.LEASED
