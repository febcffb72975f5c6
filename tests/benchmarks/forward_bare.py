"""The peer of the forwarding bench: ROUTER to DEALER and back, in as few lines of pyzmq as can be.

Run as: python forward_bare.py END; it prints its endpoint.
"""

from __future__ import annotations

import sys

import zmq


def main(end: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    below, above = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    for socket in (below, above):
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
    above.connect(end)
    port = below.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port}", flush=True)
    poller = zmq.Poller()
    poller.register(below, zmq.POLLIN)
    poller.register(above, zmq.POLLIN)
    while True:
        for readable, _ in poller.poll():
            other = above if readable is below else below
            try:
                while True:
                    other.send_multipart(readable.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                continue


if __name__ == "__main__":
    main(sys.argv[1])
