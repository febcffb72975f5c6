"""Every ZeroMQ option of WIRE.md section 15, in one place, set explicitly: the defaults bite."""

from __future__ import annotations

import zmq

from zconnector.messages.kinds import MAX_FRAME
from zconnector.shoset.keys import KeyPair

DOMAIN = b"zconnector"
MAX_SOCKETS = 8_192
IO_THREADS = 1
HIGH_WATER = 2_048
HANDSHAKE_MS = 2_000
BACKLOG = 512


def new_context() -> zmq.Context[zmq.Socket[bytes]]:
    """A context of its own for each process: the ZAP handler is one a context."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
    context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
    return context


def set_common(socket: zmq.Socket[bytes]) -> None:
    """What both ends of a TCP connection need."""
    # A peer cannot make us allocate more than this for one frame; ZeroMQ closes its connection.
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
    # A stranger that connects and says nothing goes away.
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    # Twice the credit: the credit of the session bounds first, ZeroMQ's never silently.
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    # What a closed session had not sent is not sent later.
    socket.setsockopt(zmq.LINGER, 0)
    # Ours carry credit; ZeroMQ's are answered by its io thread even when the process is frozen.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 0)


def set_router(socket: zmq.Socket[bytes], keys: KeyPair) -> None:
    """The end that binds."""
    set_common(socket)
    # Without it a message for a peer that is gone vanishes in silence.
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.BACKLOG, BACKLOG)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode("ascii"))
    socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    # No ZAP handler: nobody is admitted (the default admits everybody).
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def set_dealer(socket: zmq.Socket[bytes], keys: KeyPair, server_key: str) -> None:
    """The end that connects.

    Raises:
        zmq.ZMQError, UnicodeEncodeError: the server key is no Z85 key.
    """
    set_common(socket)
    # Nothing is queued to a connection that does not stand: a send says EAGAIN.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    # A session is never resumed by ZeroMQ: loss is final, a new session is a new socket.
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode("ascii"))
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode("ascii"))
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode("ascii"))
