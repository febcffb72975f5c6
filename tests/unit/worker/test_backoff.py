from __future__ import annotations

import random

from zconnector.worker.connection import Backoff


def test_it_doubles_to_the_limit_with_jitter_and_begins_anew() -> None:
    backoff = Backoff(random.Random(1), first=0.05, limit=2.0)
    whole = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for full in whole:
        assert full / 2 <= backoff.next() <= full
    backoff.reset()
    assert backoff.next() <= 0.05
