"""Commands: stored, handed to one worker at a time, completed once.

The life of a command is the table in `states.py`; every change of state goes through `Register.step`. In
memory is what decides. Each part of that life has a file of its own: `offers.py`, `handing.py` (with
`picking.py` and `taking.py`), `returns.py`, `timing.py`, `endings.py`, `burials.py`,
`settling.py`.
"""

from __future__ import annotations

import random

from zconnector.actions import Actions
from zconnector.clock import Deadlines, Instant
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.bodies import Messages
from zconnector.queue.burials import Burials
from zconnector.queue.commits import Commits
from zconnector.queue.dead import DeadLetters
from zconnector.queue.endings import Endings
from zconnector.queue.finish import Finish
from zconnector.queue.handing import Handing
from zconnector.queue.iterators import Iterators
from zconnector.queue.offers import Offers
from zconnector.queue.outbox import Outbox
from zconnector.queue.overflow import Overflow
from zconnector.queue.picking import Picking
from zconnector.queue.register import Register
from zconnector.queue.returns import Returns
from zconnector.queue.settling import Settling
from zconnector.queue.timing import Timing
from zconnector.settings import QueueSettings


class Commands:
    """The command side of the queue, assembled."""

    def __init__(
        self,
        settings: QueueSettings,
        commits: Commits,
        messages: Messages,
        iterators: Iterators,
        outbox: Outbox,
        dead: DeadLetters,
        rng: random.Random,
    ) -> None:
        self.register = register = Register(settings, commits, messages)
        finish = Finish(commits, messages, iterators, register, outbox)
        self.endings = Endings(commits, messages, register, outbox, finish)
        self.burials = Burials(commits, messages, register, finish, dead)
        self.policy = policy = RetryPolicy(
            settings.retry_attempts,
            round(settings.retry_first * 1000),
            settings.retry_factor,
            round(settings.retry_limit * 1000),
        )
        self.returns = Returns(commits, iterators, register, self.burials, policy)
        self.timing = Timing(commits, register, self.returns, self.burials)
        self.picking = Picking(
            settings.lease_limit, commits, messages, register, self.burials, self.returns, rng
        )
        self.handing = Handing(commits, iterators, register, self.returns, self.picking)
        self.settling = Settling(
            commits, register, finish, self.endings, self.burials, self.returns, policy, rng
        )
        self.overflow = Overflow(settings.overflow, register, self.burials)
        self.offers = Offers(commits, messages, register, self.endings, self.overflow)

    def tick(self, now: Instant) -> Actions:
        actions = self.timing.tick(now)
        self.register.forget_ended(now)
        actions += self.handing.tick(now)
        return actions + self.burials.tick(now)

    @property
    def deadlines(self) -> Deadlines:
        return (*self.register.deadlines, *self.handing.deadlines, self.burials.deadline)
