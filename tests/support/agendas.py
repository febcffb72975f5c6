"""What every bench asks after every step: whether a part of a core is due earlier than it has announced.

The driver asks all parts once a second, whatever they announced, so what one forgets to announce is late by a
second at most, and nobody notices. Here nothing hides it: each step begins with an agenda that knows exactly
when the parts are due, and has to announce whatever it makes due earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zconnector.agenda import Agenda
from zconnector.aggregator.machine import AggregatorMachine
from zconnector.cluster.router import ClusterRouter
from zconnector.connector.machine import ConnectorMachine
from zconnector.queue.local import LocalQueue
from zconnector.shoset.shoset import Shoset

Deadline = Callable[[], float | None]


def hold(agenda: Agenda, deadline: Deadline, overdue: Deadline = lambda: None) -> None:
    """Hold an agenda to what its parts say now, then tell it.

    `overdue` says what is due at once without an announcement (`LocalQueue.overdue`): while there is such a
    thing, nothing else can be told from it, and the next time will tell.

    Raises:
        AssertionError: a part is due earlier than was announced.
    """
    if overdue() is not None:
        return
    due = deadline()
    if agenda.at > 0.0:  # else the parts are asked in any case
        assert due is None or agenda.at <= due, f"due at {due}, and announced is {agenda.at}"
    agenda.learn(due)


def hold_queue(queue: LocalQueue) -> None:
    """The same of a queue without a router."""
    hold(queue.agenda, queue.deadline, queue.overdue)


def hold_core(core: Any) -> None:
    """The same of every agenda of a core; of something else: of none."""
    match core:
        case Shoset():
            hold(core.agenda, core.deadline)
        case ConnectorMachine():
            router = core.router
            hold(router.shoset.agenda, router.shoset.deadline)
            hold(router.workers.agenda, router.workers.deadline)
            hold(router.queue.agenda, router._others_deadline, router.queue.overdue)
        case AggregatorMachine():
            hold(core.router.shoset.agenda, core.router.shoset.deadline)
            hold(core.router._agenda, core.router.deadline)
        case ClusterRouter():
            hold(core._shoset.agenda, core._shoset.deadline)
