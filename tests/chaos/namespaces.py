"""Machines of their own on this machine: network namespaces on one bridge, whose links can lose packets.

Each namespace is a thread's and is held by this process alone (and by what it starts in there): nothing has
a name or a place in the file system, and nothing is left when they end, however that is.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from tests.chaos.proxy import tcp_socket

CLONE_NEWNET = 0x40000000
NOBODY = "02:00:00:00:00:01"
"""A hardware address that no machine has: what is sent there arrives nowhere."""
NET = "10.77.0"
PROGRAMS = ("ip", "nsenter")

P = ParamSpec("P")
R = TypeVar("R")


class Namespace:
    """A network namespace, made and held by a thread of its own. Raises OSError: it is not allowed."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        try:
            self.run(_unshare)
            self._handle = self.run(os.open, "/proc/thread-self/ns/net", os.O_RDONLY)
        except BaseException:
            self._thread.shutdown()
            raise
        self.path = f"/proc/{os.getpid()}/fd/{self._handle}"
        """Where other processes find it."""

    def run(self, do: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do it in there: a socket made and a process started belong there for ever."""
        return self._thread.submit(do, *args, **kwargs).result()

    async def arun(self, do: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.wrap_future(self._thread.submit(do, *args, **kwargs))

    def close(self) -> None:
        os.close(self._handle)
        self._thread.shutdown()


class Machine:
    """One namespace with an address, on the bridge of a network."""

    def __init__(self, name: str, ip: str) -> None:
        self.name = name
        self.ip = ip
        self.namespace = Namespace()

    @property
    def launcher(self) -> list[str]:
        """A command line that execs what follows it on this machine."""
        return [shutil.which("nsenter") or "nsenter", f"--net={self.namespace.path}", "--"]

    async def socket(self) -> socket.socket:
        return await self.namespace.arun(tcp_socket)


class Network:
    """Machines that reach each other. Raises OSError: it is not allowed here, with the reason."""

    def __init__(self, names: Sequence[str]) -> None:
        self.machines: dict[str, Machine] = {}
        self._lost: Counter[tuple[str, str]] = Counter()
        for program in PROGRAMS:
            if shutil.which(program) is None:
                raise FileNotFoundError(f"there is no `{program}`")
        self._bridge = Namespace()
        try:
            self._bridge.run(_ip, "link add chaos type bridge", "link set chaos up")
            for number, name in enumerate(names, start=1):
                self._add(number, name)
        except BaseException:
            self.close()
            raise

    def _add(self, number: int, name: str) -> None:
        machine = self.machines[name] = Machine(name, f"{NET}.{number}")
        self._bridge.run(
            _ip,
            f"link add port{number} type veth peer name eth0 netns {machine.namespace.path}",
            f"link set port{number} master chaos up",
        )
        machine.namespace.run(
            _ip,
            "link set lo up",
            f"address add {machine.ip}/24 dev eth0",
            "link set eth0 up",
        )

    def named(self, ip: str) -> str:
        """The machine that has this address; "": none."""
        return next((machine.name for machine in self.machines.values() if machine.ip == ip), "")

    async def lose(self, sender: str, receiver: str) -> None:
        """From now on what `sender` sends to `receiver` is lost, and nobody is told.

        The sender has a hardware address for it that nobody has: its packets leave, of connections that there
        are and of new ones, and TCP goes on resending them. Lost twice, it must be healed twice.
        """
        self._lost[sender, receiver] += 1
        if self._lost[sender, receiver] == 1:
            entry = f"{self.machines[receiver].ip} dev eth0 lladdr {NOBODY} nud permanent"
            await self._neighbour(sender, f"replace {entry}")

    async def heal(self, sender: str, receiver: str) -> None:
        """It arrives again."""
        self._lost[sender, receiver] -= 1
        if not self._lost[sender, receiver]:
            await self._neighbour(sender, f"delete {self.machines[receiver].ip} dev eth0")

    async def _neighbour(self, name: str, what: str) -> None:
        await self.machines[name].namespace.arun(_ip, f"neighbour {what}")

    def close(self) -> None:
        """What still runs in there keeps its namespace until it ends; its links are gone."""
        for machine in self.machines.values():
            machine.namespace.close()
        self._bridge.close()


def _ip(*commands: str) -> None:
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"ip: {' '.join(done.stderr.split())}")


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
