"""The peers below: who has a session at this end's ROUTER, and who has to make room for others. Pure."""

from __future__ import annotations

from zconnector.actions import Link
from zconnector.settings import SessionSettings
from zconnector.shoset.peers import Peer


class Lower:
    """Invariant: a peer of `peers` is there by its own link, and only the validated ones are `live`."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self.peers: dict[Link, Peer] = {}
        """By routing id, in the order in which their sessions began."""
        self._live: list[Peer] | None = []
        """What `live` last said; None: a validated one has come or gone since."""
        self._named: dict[str, Peer] = {}
        """Those of `_live` by name; of several of one name the first."""

    def __len__(self) -> int:
        return len(self.peers)

    def has(self, peer: Peer) -> bool:
        """Whether the session that this Peer stands for is still there."""
        return self.peers.get(peer.link) is peer

    def all(self) -> list[Peer]:
        return list(self.peers.values())

    def live(self) -> list[Peer]:
        """The validated ones. Asked for nearly every message, and changed by few."""
        if self._live is None:
            self._live = [peer for peer in self.peers.values() if peer.validated]
            self._named = {peer.name: peer for peer in reversed(self._live)}
        return self._live

    def named(self, name: str) -> Peer | None:
        """The first of the live ones that has this name."""
        if self._live is None:
            self.live()
        return self._named.get(name)

    def enter(self, peer: Peer) -> None:
        """It has said HELLO."""
        self.peers[peer.link] = peer

    def validate(self, peer: Peer) -> None:
        """Its secret is right."""
        peer.validated = True
        self._live = None

    def leave(self, peer: Peer) -> bool:
        """Its session is over. Returns whether that was live."""
        del self.peers[peer.link]
        was_live, peer.validated = peer.validated, False
        if was_live:
            self._live = None
        return was_live

    def earlier_of(self, peer: Peer) -> list[Peer]:
        """Validated sessions of the same component: of an older process of it, or of the same one."""
        component = _component(peer)
        return [one for one in self.live() if one is not peer and _component(one) == component]

    @property
    def is_full(self) -> bool:
        """Nobody more gets a session, unless somebody makes room."""
        pending = sum(1 for peer in self.peers.values() if not peer.validated)
        return len(self.peers) >= self._settings.max_sessions or pending >= self._settings.max_unvalidated

    def idler(self) -> Peer | None:
        """The oldest peer that has a place and no secret to show for it."""
        return next((peer for peer in self.peers.values() if not peer.validated and not peer.shown), None)


def _component(peer: Peer) -> tuple[str, str, str, str]:
    return peer.kind, peer.tenant, peer.name, peer.instance
