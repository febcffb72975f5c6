"""Commands: stored, handed to one worker at a time, completed once.

The life of a command is the table in `states.py`; every change of state goes through `Register.step`. In
memory is what decides. Each part of that life has a file of its own: `offers.py`, `handing.py`,
`returns.py`, `endings.py`, `burials.py`.
"""

from __future__ import annotations

import random

from zconnector.actions import Actions
from zconnector.clock import Instant, earliest
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
from zconnector.queue.pauses import Pauses
from zconnector.queue.register import Register
from zconnector.queue.returns import Returns
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
        self.register = Register(settings, commits, messages)
        finish = Finish(commits, messages, iterators, self.register, outbox)
        self.endings = Endings(commits, messages, self.register, outbox, finish)
        self.burials = Burials(commits, self.register, finish, dead)
        self.returns = Returns(commits, iterators, self.register)
        self.pauses = Pauses(commits)
        self.handing = Handing(
            commits, messages, iterators, self.register, self.burials, self.returns, self.pauses, rng
        )
        self.offers = Offers(commits, messages, self.register, self.endings)

    def tick(self, now: Instant) -> Actions:
        actions = self.returns.tick(now)
        self.register.forget_ended(now)
        actions += self.handing.tick(now)
        return actions + self.burials.tick(now)

    def deadline(self) -> float | None:
        return earliest(self.register.deadline(), self.handing.deadline(), self.burials.deadline())
