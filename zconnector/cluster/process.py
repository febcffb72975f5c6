"""One cluster member as a process: wiring only."""

from __future__ import annotations

import random
import secrets

from zconnector.cluster.router import ClusterRouter
from zconnector.cluster.sqlite import SqliteStore
from zconnector.errors import ConfigError
from zconnector.messages.fields import is_name
from zconnector.runtime.driver import Driver
from zconnector.runtime.process import serve_component
from zconnector.settings import ClusterSettings
from zconnector.shoset.identity import Identity, boot_id

_NAME = "cluster"
"""The logical name that all members share; each has its own instance."""
_SECRET_BYTES = 32


def run(settings: ClusterSettings) -> int:
    """Run a cluster member in the foreground; returns the exit status."""
    return serve_component(settings, lambda driver: _build(driver, settings))


def _build(driver: Driver, settings: ClusterSettings) -> ClusterRouter:
    if not is_name(settings.member):
        raise ConfigError(f"member must be 1 to 128 of A-Z a-z 0-9 _ . -, not {settings.member!r}")
    rng = random.Random(secrets.randbits(256))
    store = SqliteStore(settings.state_dir / "cluster.db")
    driver.use_store(store)
    bound = driver.bind(settings.bind)
    identity = Identity(
        kind="member",
        tenant="",
        name=_NAME,
        instance=settings.member,
        boot=boot_id(driver.now(), rng),
        endpoint=settings.advertise or bound,
        server_key=driver.keys.public,
    )
    return ClusterRouter(identity, settings, store, rng, lambda: secrets.token_urlsafe(_SECRET_BYTES))
