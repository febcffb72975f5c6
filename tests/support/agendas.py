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
from zconnector.clock import Deadlines, first_of
from zconnector.cluster.router import ClusterRouter
from zconnector.connector.machine import ConnectorMachine
from zconnector.queue.local import LocalQueue
from zconnector.shoset.shoset import Shoset


def hold(agenda: Agenda, deadline: Callable[[], float | None]) -> None:
    """Hold an agenda to what its parts say now, then tell it.

    Raises:
        AssertionError: a part is due earlier than was announced.
    """
    due = deadline()
    if agenda.at > 0.0:  # else the parts are asked in any case
        assert due is None or agenda.at <= due, f"due at {due}, and announced is {agenda.at}"
    agenda.learn(due)


def hold_queue(queue: LocalQueue, deadlines: Deadlines = ()) -> None:
    """The same of a queue; `deadlines`: of all parts, where there are others beside its own.

    What is due at once is not announced (`LocalQueue.overdue`).
    """
    announced = tuple(part for part in deadlines or queue.deadlines if part != queue.overdue)
    hold(queue.agenda, lambda: first_of(announced))


def hold_core(core: Any) -> None:
    """The same of every agenda of a core; of something else: of none."""
    match core:
        case Shoset():
            hold(core.agenda, core.deadline)
        case ConnectorMachine():
            router = core.router
            hold(router.shoset.agenda, router.shoset.deadline)
            hold(router.workers.agenda, router.workers.deadline)
            hold_queue(router.queue, router.deadlines)
        case AggregatorMachine():
            hold(core.router.shoset.agenda, core.router.shoset.deadline)
            hold(core.router._agenda, core.router.deadline)
        case ClusterRouter():
            hold(core._shoset.agenda, core._shoset.deadline)
