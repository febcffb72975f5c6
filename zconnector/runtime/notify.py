"""Telling a supervisor that this component serves: systemd's notification protocol (sd_notify)."""

from __future__ import annotations

import socket


def say_ready(address: str) -> None:
    """Send `READY=1` to the datagram socket at `address` ("": nobody asked; "@name": an abstract one).

    Nothing happens where nobody listens any more: who asked has gone.
    """
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(b"READY=1\n", "\0" + address[1:] if address.startswith("@") else address)
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            return
