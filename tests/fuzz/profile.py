"""How many examples: few and the same ones in the suite, many and new ones with ZCONNECTOR_SOAK=1."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONG = os.environ.get("ZCONNECTOR_SOAK") == "1"
TIMES = int(os.environ.get("ZCONNECTOR_FUZZ_TIMES", "50"))
"""How many times as many examples a long run has."""


def examples(count: int) -> settings:
    """Settings of a test with so many examples in the suite."""
    return settings(
        max_examples=count * TIMES if LONG else count,
        derandomize=not LONG,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def seeds(count: int) -> list[int]:
    """Seeds of a test that makes its own examples: the first ones in the suite, further ones after them."""
    first = int(os.environ.get("ZCONNECTOR_FUZZ_SEED", "0"))
    return list(range(first, first + (count * TIMES if LONG else count)))
