"""What of the installed versions has to stay on the disk. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zconnector.configuration.pivot import Version
from zconnector.versions.editions import Edition, Editions, ordered, versions_of
from zconnector.versions.states import Memory, Versions


@dataclass(frozen=True, slots=True)
class Stock:
    """What runs, what is on its way, and what may run again by itself or by a rollback."""

    contents: frozenset[tuple[Edition, str]] = frozenset()
    """Editions, with the SHA-256 of their archives; "": that is not settled, it may be any of the version."""
    rejected: Versions = ()

    @classmethod
    def of(cls, *memories: Memory) -> Stock:
        """What any of these names; rejected is what all of them do."""
        contents = frozenset(
            (edition, memory.contents.get(edition, "")) for memory in memories for edition in _named(memory)
        )
        first, *others = (set(memory.rejected) for memory in memories)
        return cls(contents, tuple(sorted(first.intersection(*others))))

    @property
    def editions(self) -> Editions:
        return ordered(edition for edition, _ in self.contents)

    def unwanted(self, version: Version, sha256: str) -> bool:
        """Whether an installed content of a version may go; "": one that cannot be told from others.

        Of a version that stays each other content; of the rest what is older than all that stays, or was
        rolled back: newer ones may have been fetched to be started later.
        """
        if not self.contents:
            return False
        own = {content for edition, content in self.contents if edition.version == version}
        if own:
            return bool(sha256) and "" not in own and sha256 not in own
        return version in self.rejected or version < min(versions_of(self.editions))


def _named(memory: Memory) -> Iterable[Edition]:
    yield from memory.running
    yield from memory.previous or ()
    if memory.trial is not None:
        yield from memory.trial.plan.old
    if memory.plan is not None:
        yield from (*memory.plan.old, *memory.plan.new)
