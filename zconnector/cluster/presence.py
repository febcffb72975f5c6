"""Which connectors have a session with which aggregator instance, as the instances report it.

A full set (number 0) begins anew; deltas must come in their order. A gap means that a report was
lost: the session is dropped, and its next one begins with a full set.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from zconnector.messages.fields import is_name
from zconnector.messages.message import Message
from zconnector.shoset.peers import Peer


@dataclass(slots=True)
class _Report:
    number: int = -1
    names: set[str] = field(default_factory=set)


class Presence:
    """The reports of all live aggregator instances.

    Invariant: `_by_name` is the inverse of `_reports`, without connectors that nobody reports.
    """

    def __init__(self) -> None:
        self._reports: dict[Peer, _Report] = {}
        self._by_name: dict[tuple[str, str], dict[Peer, None]] = {}

    def up(self, peer: Peer) -> None:
        """An instance has a live session; nothing is reported yet."""
        self._reports[peer] = _Report()

    def down(self, peer: Peer) -> None:
        """An instance is gone, and with it everything it reported."""
        report = self._reports.pop(peer, None)
        for name in report.names if report else ():
            self._remove(peer, name)

    def hear(self, peer: Peer, message: Message) -> list[str] | None:
        """A PRESENCE of an instance. Returns who became present in the tenant; None: there is a gap."""
        report = self._reports[peer]
        number = message.number("number")
        entries = _names(message.header["entries"])
        if number == 0:
            wanted = set(entries)
            for name in sorted(report.names - wanted):
                self._remove(peer, name)
            added = [name for name in dict.fromkeys(entries) if name not in report.names]
            report.names = wanted
        elif number == report.number + 1:
            for name in _names(message.header.get("down", ())):
                if name in report.names and name not in entries:
                    report.names.discard(name)
                    self._remove(peer, name)
            added = [name for name in dict.fromkeys(entries) if name not in report.names]
            report.names.update(added)
        else:
            return None
        report.number = number
        return [name for name in added if self._add(peer, name)]

    def expected(self, peer: Peer) -> int:
        """Number of the next delta of an instance."""
        return self._reports[peer].number + 1

    def routes(self, tenant: str, name: str) -> list[Peer]:
        """The live instances that report a session with a connector."""
        return list(self._by_name.get((tenant, name), ()))

    def has(self, tenant: str, name: str) -> bool:
        """Whether any live instance reports a session with a connector."""
        return (tenant, name) in self._by_name

    def route(self, tenant: str, name: str, rng: random.Random, first: Peer | None = None) -> Peer | None:
        """One instance with a session with a connector: `first` if it has one."""
        if first is not None and first.tenant == tenant:
            report = self._reports.get(first)
            if report is not None and name in report.names:
                return first
        routes = self.routes(tenant, name)
        return rng.choice(routes) if routes else None

    def names(self, tenant: str) -> list[str]:
        """All connectors of a tenant that are present."""
        return sorted(name for of, name in self._by_name if of == tenant)

    def _add(self, peer: Peer, name: str) -> bool:
        """Returns whether the connector was nowhere before."""
        holders = self._by_name.setdefault((peer.tenant, name), {})
        holders[peer] = None
        return len(holders) == 1

    def _remove(self, peer: Peer, name: str) -> None:
        holders = self._by_name.get((peer.tenant, name))
        if holders is not None:
            holders.pop(peer, None)
            if not holders:
                del self._by_name[peer.tenant, name]


def _names(values: Iterable[object]) -> list[str]:
    return [value for value in values if isinstance(value, str) and is_name(value)]
