"""What is computed from measured times: percentiles, medians, ratios. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def percentile(times: Sequence[float], percent: float) -> float:
    """The least time that `percent` % of all times are not above (nearest rank; never interpolated).

    Raises ValueError: there are no times, or `percent` is not from 0 to 100.
    """
    if not times:
        raise ValueError("no percentile of no times: nothing was measured")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be from 0 to 100 (got {percent})")
    ordered = sorted(times)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def latency(times: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds, of times in seconds. Raises ValueError: there are none."""
    return {
        "p50_ms": round(percentile(times, 50) * 1000, 3),
        "p99_ms": round(percentile(times, 99) * 1000, 3),
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of ours by the median of theirs.

    Raises ValueError: one of them is empty, or the median of theirs is not above 0.
    """
    if not ours or not theirs:
        raise ValueError("no ratio: one of the two was not measured")
    below = statistics.median(theirs)
    if below <= 0:
        raise ValueError(f"no ratio to a median of {below}")
    return statistics.median(ours) / below
