"""One aggregator instance as a process: wiring only."""

from __future__ import annotations

import random

from zconnector.aggregator.machine import AggregatorMachine
from zconnector.errors import ConfigError
from zconnector.runtime import enrol
from zconnector.runtime.driver import Driver
from zconnector.runtime.process import serve_component
from zconnector.settings import AggregatorSettings
from zconnector.shoset.identity import Identity, boot_id
from zconnector.shoset.uplinks import Target


def run(settings: AggregatorSettings) -> int:
    """Run an aggregator instance in the foreground; returns the exit status."""
    return serve_component(settings, lambda driver: _build(driver, settings))


def _build(driver: Driver, settings: AggregatorSettings) -> AggregatorMachine:
    enrolment = enrol.load(settings)
    if enrolment.kind != "aggregator":
        raise ConfigError(f"this enrolment is for a {enrolment.kind}, not for an aggregator")
    rng = random.Random()
    bound = driver.bind(settings.bind)
    identity = Identity(
        kind="aggregator",
        tenant=enrolment.tenant,
        name=enrolment.name,
        instance=enrolment.instance,
        boot=boot_id(driver.now(), rng),
        secret=enrolment.secret.encode(),
        endpoint=settings.advertise or bound,
        server_key=driver.keys.public,
    )

    async def validated() -> None:
        enrol.keep(settings.state_dir, enrolment)

    driver.serve = validated
    targets = [Target(e.instance, e.endpoint, e.key) for e in enrolment.endpoints]
    return AggregatorMachine(identity, targets, settings, rng)
