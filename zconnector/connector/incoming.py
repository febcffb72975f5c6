"""Messages from the aggregators that end in the local queue (DESIGN section 4, "Receive"), pure.

Persist first, then answer: a receipt, a CONFIRM, a step of the cursor each follow the commit they speak of.
"""

from __future__ import annotations

from collections import Counter

from zconnector.actions import Actions, Note, Reach, Then
from zconnector.clock import Instant
from zconnector.configuration.catalogue import Catalogue
from zconnector.connector.confirming import Confirms
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Kind, Outcome
from zconnector.messages.late import GRACE_MS, Late
from zconnector.messages.message import Message, receipt
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.local import LocalQueue, Offered, Published
from zconnector.shoset.identity import Identity
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset
from zconnector.shoset.traces import Traces

ADMIN_COMMANDS = (
    "ADMIN_GET_WORKER",
    "ADMIN_START_WORKER",
    "ADMIN_STOP_WORKER",
    "ADMIN_GET_LAST_VERSION_WORKER",
    "ADMIN_UPDATE",
)


_EVENTS = {"REFUSED": Outcome.REJECTED, "FAILED": Outcome.NO_ROUTE}
"""What the receipt says, unless the command is taken."""
_COUNTERS = {outcome: f"commands.{outcome}" for outcome in ("STORED", "DUPLICATE", "REFUSED", "FAILED")}
_AFTER_RECEIPT, _AFTER_CONFIRM = Reach("target.after_receipt"), Reach("source.reply_after_confirm")
_CONFIRM, _ON_GOING = Kind.CONFIRM, Outcome.ON_GOING


class Incoming:
    """Commands, events and replies that others sent to this connector."""

    def __init__(
        self,
        identity: Identity,
        shoset: Shoset,
        queue: LocalQueue,
        retry: RetryPolicy,
        flush: Then,
        traces: Traces | None = None,
    ) -> None:
        """`retry` is the policy of the settings; `flush` sends what is due in the outbox."""
        self._traces = traces or Traces()
        self.counters: Counter[str] = Counter()
        self._retry = retry
        self.catalogue = Catalogue()
        self.draining = False
        self._identity = identity
        self._shoset = shoset
        self._queue = queue
        self._flush = flush
        self._too_late = Late()
        self.confirms = Confirms(self._confirm, queue.agenda)

    # ---- commands

    def command(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """Check, commit, then receipt; a known uuid gets its answer again whatever has changed since."""
        command = message.without("budget")
        if not self._queue.knows_command(command.header["uuid"]):
            if self.draining:
                refused = Offered("FAILED", Reason.DRAINING, "the connector is stopping")
                return self._answer(peer, command, refused, now)
            refusal = self.check(command, now)
            if refusal is not None:
                refused = Offered("REFUSED", refusal.reason, refusal.detail)
                return self._answer(peer, command, refused, now)
        return self._queue.offer(
            command,
            now,
            lambda later, offered: self._answer(peer, command, offered, later),
            self.policy(command),
        )

    def policy(self, command: Message) -> RetryPolicy | None:
        """The sender's wish over the pivot's over the settings; None: these alone."""
        theirs = command.header.get("retry")
        if not theirs and not self.catalogue.has_retries:
            return None
        ours = self.catalogue.retry(command)
        return self._retry.over({**ours, **(theirs or {})}) if theirs or ours else None

    def check(self, command: Message, now: Instant) -> Refusal | None:
        """Why a command that is not known here must not be taken."""
        header = command.header
        late = self._too_late.by(header["uuid"], header["accept_until"], now.wall)
        if late:
            detail = f"first seen {late} ms after accept_until + {GRACE_MS} ms"
            return Refusal(Reason.EXPIRED, detail, command.uuid)
        if header.get("admin"):
            name = command.text("command")
            if name in ADMIN_COMMANDS:
                return None
            detail = f"{name!r} is no admin command; there are {', '.join(ADMIN_COMMANDS)}"
            return Refusal(Reason.UNKNOWN_COMMAND, detail, command.uuid)
        return self.catalogue.check(command)

    def _answer(self, peer: Peer, command: Message, offered: Offered, now: Instant) -> Actions:
        """The receipt of a command, over the session it came by, else over any."""
        outcome = offered.outcome
        self.counters[_COUNTERS[outcome]] += 1
        event, reason = _EVENTS.get(outcome, _ON_GOING), str(offered.reason or "")
        message = receipt(command, event, source=self._identity.name, reason=reason, detail=offered.detail)
        fields = {"uuid": command.header["uuid"], "outcome": outcome, "reason": reason}
        actions: Actions = [Note("debug", "command received", fields)]
        actions += self.back(peer, message, now)
        if event is _ON_GOING:
            actions.append(_AFTER_RECEIPT)
        # A completed command that came again has put its reply into the outbox once more.
        return actions + self._flush(now) if outcome == "DUPLICATE" else actions

    # ---- events

    def reply(self, peer: Peer, event: Message, now: Instant) -> Actions:
        """A reply to something we sent: commit it, then CONFIRM, and it leaves the other's outbox."""

        def committed(later: Instant, published: Published) -> Actions:
            if published.outcome not in ("STORED", "DUPLICATE"):
                return []  # not confirmed: its sender keeps it and sends it again
            reference, name, source = event.reference, event.text("event"), event.text("source")
            tenant, what = self._identity.tenant, "reply {} of {} stored"
            self._traces.add(tenant, reference, later.wall, what, name, source)
            forgotten = self._queue.forget_unknown(reference, later)
            if not source:
                return forgotten  # nobody to confirm it to: an aggregator always says whose it is
            return forgotten + self.confirms.add(peer, source, event.uuid, later)

        self.counters["replies"] += 1
        return self._queue.publish(event, now, outbox=False, done=committed)

    def _confirm(self, peer: Peer, source: str, uuids: list[str], now: Instant) -> Actions:
        entries = [[uuid, 0] for uuid in uuids]
        header = {"entries": entries, "source": self._identity.name, "recipient": source}
        sent = self.back(peer, Message(_CONFIRM, header), now)
        return [*sent, _AFTER_CONFIRM]

    def event(self, event: Message, now: Instant) -> Actions:
        """A broadcast event; one that cannot be stored stays missing, and is fetched."""

        def committed(later: Instant, published: Published) -> Actions:
            kept = published.outcome in ("STORED", "DUPLICATE")
            if kept and "seq" in event.header:
                self._queue.sequenced(event.number("seq"), later)
            return []

        self.counters["events"] += 1
        plain = event.without("recipient") if "recipient" in event.header else event
        return self._queue.publish(plain, now, outbox=False, done=committed)

    def back(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """Send over the session that something came by; when it is gone or full, over another."""

        def refused(later: Instant) -> Actions:
            others = [p for p in self._shoset.above() if p is not peer]
            return self._over(others, message, later)

        return self._shoset.send(peer, (message,), now, refused)

    def _over(self, peers: list[Peer], message: Message, now: Instant) -> Actions:
        if not peers:
            self.counters["answers_dropped"] += 1  # the next copy of what it answers brings it again
            return []
        return self._shoset.send(
            peers[0], (message,), now, lambda later: self._over(peers[1:], message, later)
        )
