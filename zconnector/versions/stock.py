"""What of the installed versions has to stay on the disk. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from zconnector.configuration.pivot import Version
from zconnector.versions.editions import Edition, Editions, ordered
from zconnector.versions.states import Memory, Versions


class Kept(NamedTuple):
    """An edition whose content stays."""

    product: str
    """As its folder is called; "": that is not known, it may be any."""
    edition: Edition
    sha256: str
    """Of its archive; "": that is not settled, it may be any of the version."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What runs, what is on its way, and what may run again by itself or by a rollback."""

    kept: frozenset[Kept] = frozenset()
    rejected: Versions = ()
    configured: str = ""
    """The product that the configuration names, as its folder is called."""

    @classmethod
    def of(cls, *memories: Memory, configured: str = "") -> Stock:
        """What any of these names; rejected is what all of them do."""
        kept = frozenset(_kept(memory, edition) for memory in memories for edition in _named(memory))
        first, *others = (set(memory.rejected) for memory in memories)
        return cls(kept, tuple(sorted(first.intersection(*others))), configured.lower())

    @property
    def editions(self) -> Editions:
        return ordered(kept.edition for kept in self.kept)

    def unwanted(self, product: str, version: Version, sha256: str) -> bool:
        """Whether an installed content of a version may go; "": one that cannot be told from others.

        Of a version that stays each other content; of the rest what is older than all of the product that
        stays, or was rolled back: newer ones may have been fetched to be started later. Not so those of a
        product of which nothing stays and that is configured no more: all of that goes.
        """
        if not self.kept:
            return False
        mine = [kept for kept in self.kept if kept.product in ("", product)]
        own = {kept.sha256 for kept in mine if kept.edition.version == version}
        if own:
            return bool(sha256) and "" not in own and sha256 not in own
        if not mine:
            return product != self.configured or version in self.rejected
        return version in self.rejected or all(version < kept.edition.version for kept in mine)


def _kept(memory: Memory, edition: Edition) -> Kept:
    values = memory.values.get(edition.number)
    return Kept(values.product.lower() if values else "", edition, memory.contents.get(edition, ""))


def _named(memory: Memory) -> Iterable[Edition]:
    yield from memory.running
    yield from memory.previous or ()
    if memory.trial is not None:
        yield from memory.trial.plan.old
    if memory.plan is not None:
        yield from (*memory.plan.old, *memory.plan.new)
