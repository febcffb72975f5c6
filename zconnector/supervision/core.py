"""Many supervised workers, purely: inputs are routed to the life they concern (docs/supervision.md).

Inputs about a process or from the connector that name an unknown worker change nothing: it was removed. What
an operator says about an unknown worker is refused.
"""

from __future__ import annotations

from collections.abc import Callable

from zconnector.clock import Instant, earliest
from zconnector.errors import Reason, Refusal
from zconnector.supervision.life import Life
from zconnector.supervision.states import AT_REST, Actions, Policy, State, View

MAX_WORKERS = 256
MAX_NAME = 200


class Supervisor:
    """The core. Every input takes the time and returns what to do, in order.

    `random`: a number in [0, 1) a call, for the pauses after a crash.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._lives: dict[str, Life] = {}

    def add(self, name: str, policy: Policy, now: Instant) -> Actions:
        """Know a worker; it is STOPPED.

        Raises:
            Refusal: BAD_ARGUMENT (the name is taken, or none), BUSY (there are too many).
        """
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise Refusal(
                Reason.BAD_ARGUMENT,
                f"a worker's name must have 1 to {MAX_NAME} printable characters (got {name!r:.80})",
            )
        if name in self._lives:
            raise Refusal(Reason.BAD_ARGUMENT, f"worker {name!r} is supervised already")
        if len(self._lives) >= MAX_WORKERS:
            raise Refusal(Reason.BUSY, f"{MAX_WORKERS} workers are supervised already")
        self._lives[name] = Life(name, policy, self._random, now.mono)
        return []

    def set_policy(self, name: str, policy: Policy) -> None:
        """Be as patient as this from the next limit on. Raises Refusal: NOT_FOUND."""
        self._life(name).policy = policy

    def remove(self, name: str) -> None:
        """Forget a worker.

        Raises:
            Refusal: NOT_FOUND; BUSY (it is neither STOPPED nor FAILED).
        """
        life = self._life(name)
        if life.state not in AT_REST:
            raise Refusal(Reason.BUSY, f"worker {name!r} is {life.state}: stop it first")
        del self._lives[name]

    def start(self, name: str, now: Instant) -> Actions:
        """It should run. Raises Refusal: NOT_FOUND."""
        return self._life(name).start(now.mono)

    def stop(self, name: str, now: Instant, drain: bool = True) -> Actions:
        """It should not run; without `drain` what it runs is cut off. Raises Refusal: NOT_FOUND."""
        return self._life(name).stop(now.mono, drain)

    def started(self, name: str, run: int, pid: int, now: Instant) -> Actions:
        life = self._lives.get(name)
        return life.started(run, pid, now.mono) if life else []

    def spawn_failed(self, name: str, run: int, reason: str, permanent: bool, now: Instant) -> Actions:
        life = self._lives.get(name)
        return life.spawn_failed(run, reason, permanent, now.mono) if life else []

    def exited(self, name: str, run: int, status: int | None, now: Instant) -> Actions:
        """`status`: exit status, or minus the number of the signal; None: unknown, its guard was killed."""
        life = self._lives.get(name)
        return life.exited(run, status, now.mono) if life else []

    def registered(self, name: str, run: int, now: Instant) -> Actions:
        """The connector: it has declared all its commands."""
        life = self._lives.get(name)
        return life.registered(run, now.mono) if life else []

    def beat(self, name: str, run: int, now: Instant) -> Actions:
        """The connector: it was heard."""
        life = self._lives.get(name)
        return life.beat(run, now.mono) if life else []

    def drained(self, name: str, run: int, now: Instant) -> Actions:
        """The connector: it runs nothing any more, and its answers are stored."""
        life = self._lives.get(name)
        return life.drained(run, now.mono) if life else []

    def tick(self, now: Instant) -> Actions:
        """Do all that is due."""
        return [action for life in self._lives.values() for action in life.tick(now.mono)]

    def deadline(self) -> float | None:
        """Monotonic time of the next thing due; None: nothing waits for time."""
        return earliest(*(life.due for life in self._lives.values()))

    def serves(self, name: str, run: int) -> bool:
        """Whether this run may be handed commands, and its SendStop is answered true."""
        life = self._lives.get(name)
        return life is not None and life.run == run and life.state is State.RUNNING

    def view(self, name: str) -> View:
        """Raises Refusal: NOT_FOUND."""
        return self._life(name).view

    def views(self) -> list[View]:
        """All workers, by name."""
        return [self._lives[name].view for name in sorted(self._lives)]

    def _life(self, name: str) -> Life:
        life = self._lives.get(name)
        if life is None:
            raise Refusal(Reason.NOT_FOUND, f"no worker {name!r:.80} is supervised")
        return life
