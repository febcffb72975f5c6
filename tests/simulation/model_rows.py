"""The model's part on what is on a connector's disk of its commands: order, time, ends, dead letters, pauses.

The disk is a witness: a row says when a command was stored, which state is durable, and what became of it.
What is handed out is held against that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.model_subscriptions import SubscriptionRules
from tests.simulation.rules import tenant_of
from tests.simulation.scheduler import MS, SECOND
from zconnector.errors import Reason
from zconnector.messages.fields import WISHES
from zconnector.messages.kinds import Kind
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.envelope import unpack
from zconnector.queue.states import ENDED, State
from zconnector.queue.store import COMMANDS, DEAD, EVENTS, OUTBOX, Delete, Put, Write

EARLY = LATE = 100 * MS
"""Delays are kept to this."""
COMMIT = 50 * MS
"""What may lie between an arrival and its row, and between an alarm and its row, where the disk is well."""
_WATCHED = frozenset((COMMANDS, EVENTS, OUTBOX, DEAD))
"""Spaces whose rows are judged."""


@dataclass(slots=True, eq=False)
class CommandRow:
    """One command on one disk."""

    key: int
    name: str
    admin: bool
    source: str
    header: Mapping[str, Any]
    stored_at: int
    policy: RetryPolicy
    ttl: int
    """Microseconds; 0: for ever."""
    stored: str = State.READY
    """What its row says."""
    state: str = State.READY
    """The same, unless it was handed out since."""
    ready_at: int = 0
    """Since when it is READY for certain, and nothing was done with it; 0: it is not."""
    earliest: int = 0
    """It may not be handed out before."""
    due: int = 0
    """While DELAYED: when it should be READY; 0: unknown."""
    since: int = 0
    """When `earliest` was set."""
    delay: int = 0
    hand_outs: int = 0
    unseen: int = 0
    unheard: int = 0
    """Leases that a process stored and did not live to tell of: they count, and nobody has them."""
    token: str = ""
    """That of the last lease that became durable."""
    told: bool = False
    """It was handed out since then."""
    untold: bool = False
    """That lease became durable, and no hand-out that it could be was seen before or since."""
    naks: int = 0
    nak: tuple[int, int] | None = None
    """A nak under way: when it was said, and the least pause after it."""
    gone: bool = False
    """DONE or DEAD."""
    wanted: set[str] = field(default_factory=set)
    """Reasons for which it may become a dead letter, by what was done from outside."""
    passed: list[tuple[int, str]] = field(default_factory=list)
    """Hand-outs of others that it should have been before, unless something else happens to it first."""

    @property
    def rank(self) -> tuple[int, int]:
        return (-int(self.header.get("priority", 0)), self.key)

    @property
    def order_key(self) -> str:
        return str(self.header.get("order_key", ""))


class RowRules(SubscriptionRules):
    """What commands go through, as the disk shows it."""

    def __init__(self, *, policy: RetryPolicy, retries: Mapping[str, Mapping[str, Any]], drops: bool) -> None:
        """`policy`: of the settings; `retries`: pivots' wishes, by command; `drops`: full queues drop."""
        super().__init__()
        self._policy = policy
        self._retries = retries
        self._drops = drops
        self._rows: dict[tuple[str, str], CommandRow] = {}
        self._live: dict[tuple[str, str], dict[str, CommandRow]] = {}
        """By connector and name: what has not ended."""
        self._letters: dict[tuple[str, int], str] = {}
        self._buried: dict[tuple[str, str], tuple[int, int]] = {}
        """(connector, uuid) -> keys of its row and its letter, whatever became of that."""
        self._edits: dict[tuple[str, str], set[bytes]] = {}
        self.versioned: set[str] = set()
        """Connectors whose commands go to versions: the first in line may wait for another than the next."""
        self._paused: dict[str, dict[str, int]] = {}
        self._replayed: dict[tuple[str, str], str] = {}
        """(connector, uuid) -> the letter that it was."""

    # ---- the disk

    def wrote(self, at: int, node: str, writes: Sequence[Write]) -> None:
        """A transaction of a connector's queue is durable."""
        for write in writes:
            if write.space in _WATCHED:
                break
        else:
            return  # positions, documents: as mostly
        replies: set[str] = set()
        events: list[Mapping[str, Any]] = []
        ends: list[tuple[str, CommandRow, str]] = []
        letters: dict[str, tuple[str, int]] = {}
        for write in writes:
            if type(write) is Put:
                if write.space == COMMANDS:
                    self._command_put(at, node, write, ends)
                elif write.space == EVENTS:
                    if write.body is not None:
                        events.append(write.meta)
                        replies.add(str(write.meta["uuid"]))  # to a command of its own
                elif write.space == OUTBOX:
                    replies.add(str(write.meta["uuid"]))
                elif write.space == DEAD and _is_new_letter(write.meta):
                    letters[str(write.meta["uuid"])] = str(write.meta["reason"]), int(write.key)
                    self._letters[node, int(write.key)] = str(write.meta["uuid"])
            elif type(write) is Delete and write.space == DEAD:
                self._letters.pop((node, int(write.key)), None)
        for uuid, row, reply in ends:
            if row.state == State.DEAD:
                self.checked["dead letters"] += 1
                if uuid not in letters or reply not in replies:
                    lacks = "no letter" if uuid not in letters else "no FAIL"
                    self._broken(
                        at, "dead letters", uuid, f"{uuid} is DEAD at {node}, with {lacks} in that commit"
                    )
        for uuid, (reason, key) in letters.items():
            self._letter_stored(at, node, uuid, reason, key)
        for event in events:
            self.event_stored(at, node, event)

    def event_stored(self, at: int, node: str, meta: Mapping[str, Any]) -> None:
        """An event is durable at a connector."""
        raise NotImplementedError

    def _command_put(self, at: int, node: str, put: Put, ends: list[tuple[str, CommandRow, str]]) -> None:
        uuid, state = str(put.meta["uuid"]), str(put.meta["state"])
        row = self._rows.get((node, uuid))
        if row is None or row.key != put.key:
            if put.body is None or state in ENDED:
                return
            row = self._command_stored(at, node, uuid, put)
        before, row.state, row.stored = row.state, state, state
        calm = state == State.READY and not self._troubled(node, at, at)
        row.ready_at = at if calm else 0
        row.passed.clear()
        lease = put.meta.get("lease")
        if lease is not None and lease["token"] != row.token:
            row.token, row.untold, row.told = str(lease["token"]), not row.told, False
        self._lease_put(node, uuid, lease)
        if state in ENDED:
            self._ended_put(at, node, uuid, row, str(put.meta.get("reply", "")), ends)
        elif state == State.DELAYED:
            self._delayed_put(at, node, row, int(put.meta.get("delay", 0)) * MS)
        elif before == State.DELAYED:
            self._became_due(at, node, uuid, row)

    def _lease_put(self, node: str, uuid: str, lease: Mapping[str, Any] | None) -> None:
        """The lease that is durable now."""
        raise NotImplementedError

    def _lease_unheard(self, at: int, node: str, uuid: str, token: str) -> None:
        """The lease that a restart found was given to nobody."""
        raise NotImplementedError

    def _done_put(self, at: int, node: str, uuid: str) -> None:
        """It is durably DONE, or DEAD."""
        raise NotImplementedError

    def _command_stored(self, at: int, node: str, uuid: str, put: Put) -> CommandRow:
        header = unpack(put.body or b"").header
        name = str(put.meta["name"])
        wish = {**self._retries.get(name, {}), **header.get("retry", {})}
        row = CommandRow(
            key=int(put.key),
            name=name,
            admin=bool(put.meta.get("admin")),
            source=f"{tenant_of(node)}/{put.meta['source']}",
            header=header,
            stored_at=at,
            policy=self._policy.over(wish),
            ttl=int(header.get("ttl", 0)) * MS,
            state=State.READY,
        )
        self._rows[node, uuid] = row
        self._live.setdefault((node, name), {})[uuid] = row
        self.counts["commands stored"] += 1
        origin = str(header.get("replay_of", ""))
        if origin:
            self._check_replay(at, node, uuid, origin)
        else:
            self._check_wishes(at, node, uuid, {w: header[w] for w in WISHES if w in header})
        return row

    def _check_wishes(self, at: int, node: str, uuid: str, wishes: Mapping[str, Any]) -> None:
        sent = self._wishes_of(node, uuid)
        self.checked["wishes kept"] += 1
        if sent and wishes not in sent:
            self._broken(
                at, "wishes kept", uuid, f"{uuid} was stored at {node} with {wishes}, sent with {sent[0]}"
            )

    def _wishes_of(self, node: str, uuid: str) -> list[Mapping[str, Any]]:
        raise NotImplementedError

    # ---- time

    def _delayed_put(self, at: int, node: str, row: CommandRow, delay: int) -> None:
        row.since, row.delay = at, delay
        if row.nak is not None:
            said, least = row.nak
            row.nak = None
            row.naks += 1
            row.earliest = said + least - EARLY
            row.due = 0 if self._troubled(node, said, at) else at + delay
        elif row.hand_outs == 0 and row.due == 0:
            calm = not self._troubled(node, at - SECOND, at)
            row.earliest = at - COMMIT + delay - EARLY if calm else 0
            row.due = at + delay if calm else 0

    def _became_due(self, at: int, node: str, uuid: str, row: CommandRow) -> None:
        """It was DELAYED, and is so no more: not too late, I hope."""
        due, row.due = row.due, 0
        if not due or self._troubled(node, due - SECOND, at):
            return
        self.checked["delay"] += 1
        if self._restarted(node, row.since, at):
            begun = self._started.get(node, at)
            due = max(due, begun + (row.delay if self._misled(node, row.since, at) else 0))
        if at > due + LATE + COMMIT:
            text = (
                f"{uuid} at {node} was due at {due / 1e6:.3f} s, and is ready {(at - due) / MS:.0f} ms later"
            )
            self._broken(at, "delay", uuid, text)

    def _over(self, node: str, row: CommandRow, at: int) -> int:
        """When its time to live is over for certain."""
        end = row.stored_at + row.ttl
        if self._misled(node, row.stored_at, at):
            end = max(end, self._started.get(node, at) + row.ttl)
        return end

    # ---- ends

    def _ended_put(
        self,
        at: int,
        node: str,
        uuid: str,
        row: CommandRow,
        reply: str,
        ends: list[tuple[str, CommandRow, str]],
    ) -> None:
        if row.gone:
            return
        row.gone = True
        ends.append((uuid, row, reply))
        self._live[node, row.name].pop(uuid, None)
        self._done_put(at, node, uuid)
        self.counts[f"rows {row.state}"] += 1
        if row.state == State.DONE and row.ttl:
            self.checked["time to live"] += 1
            over = self._over(node, row, at) + 2 * EARLY + COMMIT
            if at > over and not self._troubled(node, over - 2 * SECOND, at):
                late = (at - over) / MS
                self._broken(
                    at, "time to live", uuid, f"{uuid} was done at {node} {late:.0f} ms after its time"
                )

    def _letter_stored(self, at: int, node: str, uuid: str, reason: str, key: int) -> None:
        row = self._rows.get((node, uuid))
        self.counts[f"letters {reason}"] += 1
        self.checked["dead letters"] += 1
        if row is None or row.state != State.DEAD:
            state = "unknown" if row is None else row.state
            self._broken(at, "dead letters", uuid, f"{node} has a letter of {uuid}, which is {state} there")
            return
        buried, letter = self._buried.get((node, uuid), (0, 0))
        if buried == row.key and letter != key:
            self._broken(at, "dead letters", uuid, f"{node} has a second letter of {uuid}")
        self._buried[node, uuid] = row.key, key
        why = self._no_reason(at, node, row, reason)
        if why:
            self._broken(at, "dead letters", uuid, f"{uuid} became a dead letter at {node}, {reason}: {why}")

    def _no_reason(self, at: int, node: str, row: CommandRow, reason: str) -> str:
        """Why there is none for this letter; "" where there is one."""
        if reason == Reason.ATTEMPTS_EXHAUSTED:
            if row.hand_outs - row.unseen + row.unheard < row.policy.attempts:
                return f"after {row.hand_outs} hand-outs of {row.policy.attempts}"
        elif reason == Reason.EXPIRED:
            early = row.stored_at - COMMIT + row.ttl - EARLY - at
            if self._troubled(node, row.stored_at - SECOND, row.stored_at):
                early = 0
            if not row.ttl or (early > 0 and not self._misled(node, row.stored_at, at)):
                return f"{early / MS:.0f} ms too early"
        elif reason == Reason.DROPPED:
            return "" if self._drops else "its queue refuses"
        elif reason not in row.wanted:
            return "nobody asked for that"
        return ""

    def wants(self, node: str, uuid: str, reason: Reason) -> None:
        """Somebody is about to ask for this end of a command (fail, cancel)."""
        if reason is Reason.CANCELLED:
            self.cancelled_by_hand.add((node, uuid))
        row = self._rows.get((node, uuid))
        if row is not None:
            row.wanted.add(reason)
            row.ready_at = 0

    def recalling(self, node: str, canary: str) -> None:
        """An admin worker begins: the connector's own canaries (their context begins so) are cancelled."""
        for (of, _), rows in self._live.items():
            for row in rows.values() if of == node else ():
                if row.source == node and str(row.header.get("context", "")).startswith(canary):
                    row.wanted.add(Reason.CANCELLED)
                    row.ready_at = 0

    def purging(self, node: str, name: str) -> None:
        """An operator is about to purge a name ("*": all)."""
        for (of, command), rows in self._live.items():
            if of == node and name in (command, "*"):
                for row in rows.values():
                    row.wanted.add(Reason.PURGED)
                    row.ready_at = 0

    def cancelled(self, at: int, node: str, uuid: str) -> None:
        """An operator is told that a command is cancelled."""
        row = self._rows.get((node, uuid))
        self.checked["dead letters"] += 1
        if row is not None and row.state != State.DEAD:
            self._broken(at, "dead letters", uuid, f"{uuid} was cancelled at {node}, and is {row.state}")

    def touched(self, node: str, uuid: str) -> None:
        """Somebody completes a command by its uuid."""
        row = self._rows.get((node, uuid))
        if row is not None:
            row.ready_at = 0

    # ---- pauses, letters

    def paused(self, at: int, node: str, name: str) -> None:
        """An operator is told that a name ("*": each) is paused."""
        self._paused.setdefault(node, {})[name] = at

    def resuming(self, node: str, name: str) -> None:
        """An operator is about to resume it ("*": all)."""
        if name == "*":
            self._paused.pop(node, None)
        else:
            self._paused.get(node, {}).pop(name, None)

    def letters_of(self, node: str) -> list[str]:
        """Uuids of the letters on that disk, the oldest first."""
        return [uuid for (of, _), uuid in self._letters.items() if of == node]

    def editing(self, node: str, uuid: str, payload: bytes) -> None:
        """An operator is about to replace the payload of a letter."""
        self._edits.setdefault((node, uuid), set()).add(payload)

    def _check_replay(self, at: int, node: str, uuid: str, origin: str) -> None:
        """Called within the commit that stores it: its letter goes with that one."""
        self.counts["letters replayed"] += 1
        self._replayed[node, uuid] = origin
        self.checked["replay"] += 1
        if (node, origin) not in self._buried:
            self._broken(at, "replay", uuid, f"{uuid} replays {origin}, which was no letter at {node}")

    def replayed(self, at: int, node: str, uuid: str, origin: str) -> None:
        """An operator is told that a letter is a command again."""
        self.checked["replay"] += 1
        if uuid == origin or self._replayed.get((node, uuid)) != origin:
            text = f"{node} says that {origin} was replayed as {uuid}, and has no such command"
            self._broken(at, "replay", origin, text)
        if any(letter == origin for (of, _), letter in self._letters.items() if of == node):
            self._broken(at, "replay", origin, f"{origin} was replayed at {node}, and still is a letter")

    # ---- hand-outs

    def _row_handed(self, at: int, node: str, uuid: str, attempt: int) -> None:
        """A command is handed out; `attempt` 0: the worker is not told."""
        row = self._rows.get((node, uuid))
        if row is None:
            return  # a test's; in a world `lost command` would tell
        self.checked["redelivery"] += 1
        if row.gone:
            self._broken(at, "redelivery", uuid, f"{uuid} was handed out at {node}, where it is {row.state}")
        if row.state == State.DELAYED:
            self._became_due(at, node, uuid, row)
        if row.earliest:
            self.checked["delay"] += 1
            if at < row.earliest and not self._misled(node, row.since, at):
                early = (row.earliest + EARLY - at) / MS
                self._broken(at, "delay", uuid, f"{uuid} was handed out at {node} {early:.0f} ms too early")
        if row.ttl:
            self.checked["time to live"] += 1
            over = at - self._over(node, row, at) - EARLY
            if over > 0:
                text = f"{uuid} was handed out at {node} {over / MS:.0f} ms after its time to live"
                self._broken(at, "time to live", uuid, text)
        self._check_pause(at, node, uuid, row)
        self._check_order(at, node, uuid, row)
        self._check_attempt(at, node, uuid, row, attempt)
        self._check_priority(at, node, uuid, row)
        row.state, row.ready_at, row.earliest, row.due, row.nak = State.LEASED, 0, 0, 0, None
        row.hand_outs += 1
        row.told, row.untold = True, False

    def _check_pause(self, at: int, node: str, uuid: str, row: CommandRow) -> None:
        paused = self._paused.get(node)
        if not paused or row.admin:
            return
        self.checked["pause"] += 1
        if row.name in paused or "*" in paused:
            self._broken(at, "pause", uuid, f"{uuid} was handed out at {node}, where {row.name} is paused")

    def _check_order(self, at: int, node: str, uuid: str, row: CommandRow) -> None:
        if not row.order_key:
            return
        self.checked["order key"] += 1
        for other, before in self._live[node, row.name].items():
            if before.key < row.key and before.order_key == row.order_key:
                text = (
                    f"{uuid} was handed out at {node} before {other} had ended, of order key {row.order_key}"
                )
                self._broken(at, "order key", uuid, text)

    def _check_attempt(self, at: int, node: str, uuid: str, row: CommandRow, attempt: int) -> None:
        self.checked["attempts"] += 1
        most = row.policy.attempts
        if row.naks >= most or attempt > most:
            text = f"{uuid} was handed out at {node} for the {max(row.naks + 1, attempt)}. time of {most}"
            self._broken(at, "attempts", uuid, text)
        elif attempt and not row.naks < attempt <= row.hand_outs - row.unseen + row.unheard + 1:
            text = (
                f"{uuid} was handed out at {node} as attempt {attempt}: {row.hand_outs} before,"
                f" {row.unseen} of them unseen, {row.naks} put off, {row.unheard} more unheard"
            )
            self._broken(at, "attempts", uuid, text)

    def _check_priority(self, at: int, node: str, uuid: str, row: CommandRow) -> None:
        if row.passed:
            begin, other = row.passed[0]
            self._broken(
                at, "priority", uuid, f"{other} was handed out at {node} at {begin / 1e6:.3f} s before {uuid}"
            )
            row.passed.clear()
        if node in self.versioned:
            return
        self.checked["priority"] += 1
        rank = row.rank
        for rival in self._live[node, row.name].values():
            ready = 0 < rival.ready_at < at and not rival.order_key and rival.admin == row.admin
            if ready and rival.rank < rank:
                rival.passed.append((at, uuid))

    def _rows_unsure(self, node: str) -> None:
        """A process ended, or is in trouble: what is READY there nobody can say."""
        for (of, _), rows in self._live.items():
            if of == node:
                for row in rows.values():
                    row.passed.clear()
                    row.ready_at = 0

    def _rows_restored(self, at: int, node: str) -> None:
        """A process begins: the disk counts."""
        for (of, _), rows in self._live.items():
            if of == node:
                for uuid, row in rows.items():
                    row.state = row.stored
                    row.ready_at = at if row.stored == State.READY else 0
                    if row.untold and row.stored == State.LEASED:
                        row.untold = False
                        row.unheard += 1
                        self.counts["leases unheard"] += 1
                        self._lease_unheard(at, node, uuid, row.token)

    def _finish_rows(self, at: int) -> None:
        for (node, uuid), row in self._rows.items():
            self.checked["dead letters"] += 1
            if row.state == State.DEAD and row.gone and not self._has_reply(row.source, uuid):
                self._broken(
                    at, "dead letters", uuid, f"{uuid} is DEAD at {node}, and {row.source} was never told"
                )


def _is_new_letter(meta: Mapping[str, Any]) -> bool:
    """Whether a stored letter is one of a command, and was just made."""
    return meta.get("kind") == Kind.COMMAND.name and not meta.get("edited")
