"""What makes the partitions of a run: the kernel, between machines of their own, or the proxies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tests.chaos.namespaces import Network
from tests.chaos.proxy import HERE, UP, Address, Place, Proxy, owner_of
from zconnector.errors import ConfigError

AUTO, NAMESPACES, PROXY = WAYS = ("auto", "namespaces", "proxy")


class Partitions(Protocol):
    """Where everybody is, and how links fail. A link is that of `peer` to the endpoint behind a proxy."""

    how: str
    """For the report."""

    def place(self, name: str) -> Place:
        """Where the proxy of this endpoint has its sockets."""

    def launcher(self, name: str) -> Sequence[str]:
        """A command line that execs what follows it on this one's machine."""

    def dialler(self, source: Address, port: int) -> str:
        """Who dials a proxy's port from there; "": nobody known."""

    async def hold(self, proxy: Proxy, peer: str, ways: frozenset[str]) -> None:
        """From now on nothing arrives in these directions."""

    async def heal(self, proxy: Proxy, peer: str, ways: frozenset[str]) -> None:
        """It does again."""

    def close(self) -> None: ...


class ByProxy:
    """All are on this machine; the proxies hold back what they were given."""

    def __init__(self, pids: Callable[[], dict[int, str]], why: str = "") -> None:
        self.how = "fault-injecting TCP proxy" + (f" (no network namespaces: {why})" if why else "")
        self._pids = pids

    def place(self, name: str) -> Place:
        return HERE

    def launcher(self, name: str) -> Sequence[str]:
        return ()

    def dialler(self, source: Address, port: int) -> str:
        return owner_of(source[1], port, self._pids())

    async def hold(self, proxy: Proxy, peer: str, ways: frozenset[str]) -> None:
        proxy.hold(peer, ways)

    async def heal(self, proxy: Proxy, peer: str, ways: frozenset[str]) -> None:
        proxy.heal(peer, ways)

    def close(self) -> None:
        return


class ByNamespaces:
    """Each is on a machine of its own, with the proxy of its endpoint; links lose packets between them."""

    how = "network namespaces"

    def __init__(self, network: Network) -> None:
        self._network = network

    def place(self, name: str) -> Place:
        return self._network.machines[name]

    def launcher(self, name: str) -> Sequence[str]:
        return self._network.machines[name].launcher

    def dialler(self, source: Address, port: int) -> str:
        return self._network.named(source[0])

    async def hold(self, proxy: Proxy, peer: str, ways: frozenset[str]) -> None:
        for sender, receiver in _directions(proxy, peer, ways):
            await self._network.lose(sender, receiver)

    async def heal(self, proxy: Proxy, peer: str, ways: frozenset[str]) -> None:
        for sender, receiver in _directions(proxy, peer, ways):
            await self._network.heal(sender, receiver)

    def close(self) -> None:
        self._network.close()


def _directions(proxy: Proxy, peer: str, ways: frozenset[str]) -> list[tuple[str, str]]:
    return [(peer, proxy.name) if way == UP else (proxy.name, peer) for way in sorted(ways)]


def partitions(wanted: str, names: Sequence[str], pids: Callable[[], dict[int, str]]) -> Partitions:
    """One of WAYS, for machines of these names.

    Raises ConfigError: namespaces were wanted, and are not to be had.
    """
    if wanted == PROXY:
        return ByProxy(pids)
    try:
        return ByNamespaces(Network(names))
    except OSError as error:
        if wanted == NAMESPACES:
            raise ConfigError(f"no network namespaces here: {error}") from error
        return ByProxy(pids, str(error))
