"""What a world is made of: the real cores, unless a mutant (`mutants.py`) puts its own in their place."""

from __future__ import annotations

import random

from tests.simulation.process import Process
from zconnector.aggregator.machine import AggregatorMachine
from zconnector.cluster.router import ClusterRouter
from zconnector.connector.admin import AdminWorker
from zconnector.connector.machine import ConnectorMachine
from zconnector.queue.local import LocalQueue
from zconnector.queue.store import Bodies
from zconnector.settings import QueueSettings


class Variant:
    """Makes or alters each part as a process is built; this one leaves everything as it is."""

    name = ""
    process: type[Process] = Process

    def queue(self, settings: QueueSettings, bodies: Bodies, rng: random.Random) -> LocalQueue:
        return LocalQueue(settings, bodies, rng)

    def connector(self, machine: ConnectorMachine) -> None:
        """Alter a connector that was just made."""

    def admin(self, admin: AdminWorker) -> None:
        """Alter an admin worker that was just made, where there are worker versions."""

    def aggregator(self, machine: AggregatorMachine) -> None:
        """Alter an aggregator instance that was just made."""

    def member(self, router: ClusterRouter) -> None:
        """Alter a member that was just made."""


REAL = Variant()
