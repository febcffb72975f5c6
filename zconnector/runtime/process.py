"""The wiring that aggregator, cluster member and connector have in common."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import structlog

from zconnector.actions import Machine
from zconnector.errors import ZConnectorError
from zconnector.runtime import logs, loop
from zconnector.runtime.control import ControlServer
from zconnector.runtime.driver import DefectError, Driver
from zconnector.runtime.garbage import Collector
from zconnector.runtime.statedir import StateDir
from zconnector.settings import ProcessSettings
from zconnector.shoset.keys import KeyPair, load_or_create

Build = Callable[[Driver], Machine]
"""Makes the core, and wires what its role has beside it: `driver.bind`, `use_store`, `on_respond`, `serve`,
`at_close`. Runs on the loop, with the state directory locked. Raises ZConnectorError."""


def serve_component(settings: ProcessSettings, build: Build) -> int:
    """Run one component in the foreground until it ends; returns the exit status.

    What ends it badly is told in one line on stderr.
    """
    log = structlog.get_logger()
    try:
        logs.configure(settings.log_level, settings.log_format)
        with StateDir(settings.state_dir) as state:
            keys = load_or_create(state.path)
            error = loop.run(_run(settings, keys, build))
    except ZConnectorError as failure:
        error = failure
    except KeyboardInterrupt:
        return 130
    except Exception:
        log.exception("defect: the process could not run")
        error = DefectError("a defect ended this process; its log has the traceback")
    if error is None:
        return 0
    print(f"zconnector: {error}", file=sys.stderr, flush=True)
    return error.exit_code


async def _run(settings: ProcessSettings, keys: KeyPair, build: Build) -> ZConnectorError | None:
    driver = Driver(settings, keys)
    collector = Collector(asyncio.get_running_loop())
    control = ControlServer(settings.state_dir, driver.control)
    try:
        driver.attach(build(driver))
        await control.start()
        collector.start()
        return await driver.run()
    finally:
        collector.stop()
        await control.close()
        await driver.close()
