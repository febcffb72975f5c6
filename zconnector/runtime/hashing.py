"""The argon2id pool: hashing costs tens of milliseconds and is kept off the loop, two at a time.

The cost is the least that OWASP advises for passwords, which people think up. What is hashed here is 256
random bits, which nobody finds by trying, at whatever cost: more would only delay every start of every
component, and a member that comes back to a thousand of them. A stored hash has its parameters with it and
is checked by these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

_THREADS = 2
_MEMORY_KIB, _PASSES, _LANES = 19_456, 2, 1
"""https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id"""

Result = TypeVar("Result")


class HashPool:
    """Callbacks come on the loop and get a function that returns the result, or raises what went wrong."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._hasher = PasswordHasher(_PASSES, _MEMORY_KIB, _LANES)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")

    def verify(self, secret: bytes, hashed: str, done: Callable[[Callable[[], bool]], None]) -> None:
        """Whether the secret is the one of which this is the hash."""
        self._submit(lambda: self._verify(secret, hashed), done)

    def hash(self, secret: bytes, done: Callable[[Callable[[], str]], None]) -> None:
        """An argon2id hash of the secret, with parameters and salt in it."""
        self._submit(lambda: self._hasher.hash(secret), done)

    def close(self) -> None:
        """Start nothing more; what is under way ends by itself, unheard."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, secret: bytes, hashed: str) -> bool:
        try:
            return self._hasher.verify(hashed, secret)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError):
            structlog.get_logger().error("the stored hash is damaged: nobody can be validated by it")
            return False

    def _submit(self, work: Callable[[], Result], done: Callable[[Callable[[], Result]], None]) -> None:
        future: asyncio.Future[Result] = self._loop.run_in_executor(self._pool, work)
        future.add_done_callback(lambda ended: None if ended.cancelled() else done(ended.result))
