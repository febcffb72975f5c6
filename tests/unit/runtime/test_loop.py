"""Components run on uvloop where it is installed, and on asyncio's own loop elsewhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from zconnector.runtime import loop

SHOWN = """
import asyncio, sys
{first}
from zconnector.runtime import loop
async def main():
    return type(asyncio.get_running_loop()).__module__
print(loop.run(main()))
"""


def loop_of(first: str) -> str:
    """Module of the loop in a process that did that first."""
    done = subprocess.run(
        [sys.executable, "-c", SHOWN.format(first=first)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_uvloop_where_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    assert loop_of("") == "uvloop"


def test_asyncio_where_it_is_not() -> None:
    assert loop_of("sys.modules['uvloop'] = None").startswith("asyncio.")


def test_what_main_returns_and_raises_comes_out() -> None:
    async def fails() -> None:
        raise ValueError("so")

    async def works() -> int:
        await asyncio.sleep(0)
        return 7

    assert loop.run(works()) == 7
    with pytest.raises(ValueError, match="so"):
        loop.run(fails())
