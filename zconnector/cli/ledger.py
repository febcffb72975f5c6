"""A ledger of what senders were told and what workers did, kept outside the system that is judged. Pure.

Senders write what they sent and heard, workers what they were handed. Whatever the system says of
itself is not asked: the verdict comes from these entries alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class CommandEntry:
    """One command, by its uuid."""

    target: str
    """Connector whose worker should run it."""
    receipted: bool = False
    answered: bool = False
    """The sender was given a final reply."""
    finals: set[str] = field(default_factory=set)
    """uuids of the final replies that were seen to reach the sender's connector."""
    refused: str = ""
    """Why it was definitely not taken."""
    executions: int = 0


@dataclass(slots=True)
class EventEntry:
    """One broadcast event, by its uuid."""

    expected: frozenset[str]
    """Connectors whose worker should see it."""
    seen: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ledger shows."""

    commands: int
    receipts: int
    replies: int
    events: int
    arrivals: int
    lost_commands: tuple[str, ...]
    """Receipted, and no reply."""
    lost_events: tuple[str, ...]
    """Stored at the sender, and not seen by a worker that should have."""
    extra_replies: tuple[str, ...]
    """Commands with more than one final reply: a second completion was accepted."""
    executed_unsent: tuple[str, ...]
    """Run although the sender was told definitely that they were not taken."""
    executed_again: int
    """Executions beyond the first (allowed where a worker or a lease died: at least once)."""
    events_again: int
    """Sights of an event beyond the first by one connector's worker."""

    @property
    def lost(self) -> int:
        return len(self.lost_commands) + len(self.lost_events)

    @property
    def flagged(self) -> int:
        """Duplicates of any sort."""
        return self.executed_again + self.events_again + len(self.extra_replies)

    @property
    def good(self) -> bool:
        """Every receipted command has its one reply, every event arrived, nothing refused was run."""
        return not (self.lost or self.extra_replies or self.executed_unsent)


class Ledger:
    """Entries by uuid. A worker's entry may come before the sender's: nothing depends on their order."""

    def __init__(self) -> None:
        self.commands: dict[str, CommandEntry] = {}
        self.events: dict[str, EventEntry] = {}
        self._executed: Counter[str] = Counter()
        self._seen: dict[str, Counter[str]] = {}

    def sent(self, uuid: str, target: str) -> None:
        """A command is about to be handed over."""
        self.commands[uuid] = CommandEntry(target, executions=self._executed[uuid])

    def receipted(self, uuid: str) -> None:
        """The sender heard the receipt."""
        self.commands[uuid].receipted = True

    def answered(self, uuid: str) -> None:
        """The sender was given a final reply (SUCCES or FAIL)."""
        self.commands[uuid].answered = True

    def final(self, uuid: str, reply: str) -> None:
        """A final reply with the uuid `reply` reached the connector of the sender of `uuid`."""
        if uuid in self.commands:
            self.commands[uuid].finals.add(reply)

    def refused(self, uuid: str, reason: str) -> None:
        """The sender heard that it was definitely not taken."""
        self.commands[uuid].refused = reason

    def executed(self, uuid: str) -> bool:
        """A worker was handed this command. Returns whether that is the first time."""
        self._executed[uuid] += 1
        if uuid in self.commands:
            self.commands[uuid].executions += 1
        return self._executed[uuid] == 1

    def published(self, uuid: str, expected: frozenset[str]) -> None:
        """The sender heard that its event is stored."""
        self.events[uuid] = EventEntry(expected, self._seen.setdefault(uuid, Counter()))

    def saw(self, uuid: str, connector: str) -> bool:
        """A worker of that connector was handed this event. Returns whether that is the first time."""
        seen = self._seen.setdefault(uuid, Counter())
        seen[connector] += 1
        return seen[connector] == 1

    @property
    def open_commands(self) -> int:
        """Receipted commands without a reply so far."""
        return sum(entry.receipted and not entry.answered for entry in self.commands.values())

    @property
    def open_events(self) -> int:
        """Stored events that somebody has not seen so far."""
        return sum(any(not entry.seen[name] for name in entry.expected) for entry in self.events.values())

    def verdict(self) -> Verdict:
        """What the entries show now."""
        commands, events = self.commands, self.events
        return Verdict(
            commands=len(commands),
            receipts=sum(entry.receipted for entry in commands.values()),
            replies=sum(entry.answered for entry in commands.values()),
            events=len(events),
            arrivals=sum(bool(entry.seen[name]) for entry in events.values() for name in entry.expected),
            lost_commands=tuple(u for u, entry in commands.items() if entry.receipted and not entry.answered),
            lost_events=tuple(
                uuid for uuid, entry in events.items() if any(not entry.seen[name] for name in entry.expected)
            ),
            extra_replies=tuple(u for u, entry in commands.items() if len(entry.finals) > 1),
            executed_unsent=tuple(u for u, entry in commands.items() if entry.refused and entry.executions),
            executed_again=sum(max(0, entry.executions - 1) for entry in commands.values()),
            events_again=sum(max(0, count - 1) for entry in events.values() for count in entry.seen.values()),
        )
