"""The steps of a connector's start (the seed's Initialization; DESIGN section 5), pure.

| step | done when |
|---|---|
| COMMUNICATION | a connection to an aggregator instance is open |
| SECRET | the cluster, through an aggregator, has validated the secret |
| CONFIGURATION | the logical configuration is saved and the one in force fetched |
| VERSIONS | pivots and product connectors are fetched |
| SERVING | the gRPC service answers |
| ADMIN_WORKER | the admin worker runs |
| READY | - |

A connector that was validated before serves at once from what it kept; it goes through the
same steps in the background. Steps are woken by events; the only times are retries of requests.
"""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    COMMUNICATION = "COMMUNICATION"
    SECRET = "SECRET"
    CONFIGURATION = "CONFIGURATION"
    VERSIONS = "VERSIONS"
    SERVING = "SERVING"
    ADMIN_WORKER = "ADMIN_WORKER"
    READY = "READY"


class Initialisation:
    """Which steps are done.

    Invariant: `serve` is asked for once, either from the cache or after VERSIONS.
    """

    def __init__(self) -> None:
        self._done: set[Step] = set()
        self.from_cache = False

    def done(self, step: Step) -> None:
        self._done.add(step)

    def is_done(self, step: Step) -> bool:
        return step in self._done

    @property
    def step(self) -> Step:
        """The first step that is not done."""
        return next((step for step in Step if step not in self._done), Step.READY)

    @property
    def may_serve(self) -> bool:
        """Whether workers may be served: everything before SERVING is done, or was done once before."""
        return self.from_cache or {Step.SECRET, Step.CONFIGURATION, Step.VERSIONS} <= self._done

    def status(self, waiting_for: str) -> dict[str, object]:
        step = self.step
        return {
            "step": str(step),
            "waiting_for": "" if step is Step.READY else waiting_for,
            "done": [str(s) for s in Step if s in self._done],
            "serving_from_cache": self.from_cache and not self.is_done(Step.VERSIONS),
        }
