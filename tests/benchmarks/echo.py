"""What pyzmq itself does on this machine: a bare ROUTER/DEALER echo between two processes.

Blocking sockets over TCP, no encryption, no durability: the ceiling that the whole path is compared with.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection

import zmq

PAYLOAD = b"x" * 256
WAIT_MS = 10_000


def serve(ready: Connection) -> None:
    """Echo everything until an empty message comes."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    ready.send(port)
    while True:
        frames = socket.recv_multipart()
        socket.send_multipart(frames)
        if not frames[-1]:
            break
    socket.close(linger=1000)
    context.term()


def measure(seconds: float, in_flight: int) -> tuple[float, list[float]]:
    """Echoes a second, and the round trip of each in seconds."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.RCVTIMEO, WAIT_MS)
    socket.connect(f"tcp://127.0.0.1:{here.recv()}")
    sent: list[float] = []
    times: list[float] = []
    begun = time.perf_counter()
    end = begun + seconds
    for _ in range(in_flight):
        sent.append(time.perf_counter())
        socket.send(PAYLOAD)
    done = 0
    while (now := time.perf_counter()) < end:
        socket.recv()
        now = time.perf_counter()
        times.append(now - sent[done])
        done += 1
        sent.append(now)
        socket.send(PAYLOAD)
    took = time.perf_counter() - begun
    for _ in range(in_flight):
        socket.recv()
    socket.send(b"")
    socket.recv()
    socket.close(linger=0)
    context.term()
    server.join(5)
    return len(times) / took, times
