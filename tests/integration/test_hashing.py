"""The pool that hashes and checks secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from argon2 import PasswordHasher

from zconnector.runtime.hashing import HashPool

SECRET = b"of 256 random bits"


@pytest.fixture
async def pool() -> AsyncIterator[HashPool]:
    made = HashPool()
    yield made
    made.close()


async def result(submit: Callable[[Callable[[Callable[[], Any]], None]], None]) -> Any:
    """What the pool says of what was submitted."""
    answer = asyncio.get_running_loop().create_future()
    submit(answer.set_result)
    return (await asyncio.wait_for(answer, 20))()


async def check(pool: HashPool, secret: bytes, hashed: str) -> bool:
    return bool(await result(lambda done: pool.verify(secret, hashed, done)))


async def test_a_secret_is_known_by_its_hash_and_another_is_not(pool: HashPool) -> None:
    hashed = await result(lambda done: pool.hash(SECRET, done))
    assert hashed.startswith("$argon2id$")
    assert SECRET.decode() not in hashed
    assert await check(pool, SECRET, hashed)
    assert not await check(pool, b"not " + SECRET, hashed)


async def test_what_was_hashed_at_another_cost_is_checked_at_that_cost(pool: HashPool) -> None:
    """Hashes that are stored already were made with the defaults of argon2-cffi."""
    hashed = PasswordHasher().hash(SECRET)
    assert await check(pool, SECRET, hashed)
    assert not await check(pool, b"not " + SECRET, hashed)


async def test_a_damaged_hash_validates_nobody(pool: HashPool) -> None:
    assert not await check(pool, SECRET, "$argon2id$v=19$damaged")
