"""The worker of the NATS peer: a durable pull consumer that answers to the sender's inbox, then acks.

It pulls without pause, as the newer client libraries do (`consume`): nats-py's own `fetch` holds a batch back
until it is full, or asks the server twice for each. Run as: python nats_worker.py URL STREAM CONSUMER
"""

from __future__ import annotations

import asyncio
import json
import sys

import nats
from nats.aio.msg import Msg

BATCH = 256
REPLY_TO = "Bench-Reply-To"
"""The header that names the sender's inbox (JetStream takes the reply field for its own)."""


async def main(url: str, stream: str, consumer: str) -> None:
    client = await nats.connect(url)
    pull = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    inbox = client.new_inbox()
    asked = json.dumps({"batch": BATCH}).encode()  # without an end: until so many have come
    taken = 0

    async def work(message: Msg) -> None:
        nonlocal taken
        if not message.headers or REPLY_TO not in message.headers:
            return  # the server's, about the pull
        await client.publish(message.headers[REPLY_TO], b"ok")
        await message.ack()
        taken += 1
        if taken % BATCH == BATCH // 2:  # never without an open pull
            await client.publish(pull, asked, reply=inbox)

    await client.subscribe(inbox, cb=work)
    await client.publish(pull, asked, reply=inbox)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
