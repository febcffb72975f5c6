"""The enrolment of a process: given at its first start, kept in the state directory from then on."""

from __future__ import annotations

from pathlib import Path

from zconnector.errors import ConfigError
from zconnector.settings import ProcessSettings
from zconnector.shoset.enrolment import Enrolment
from zconnector.shoset.keys import write_private

_FILE = "enrolment"


def load(settings: ProcessSettings) -> Enrolment:
    """The enrolment given in the settings, else the one kept.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    if settings.enrolment:
        return Enrolment.decode(settings.enrolment)
    kept = _kept(settings.state_dir)
    if kept is None:
        raise ConfigError(
            f"no enrolment: none was given and none is kept in {settings.state_dir}; "
            "get one with `zconnector secret create`"
        )
    try:
        return Enrolment.decode(kept)
    except ConfigError as error:
        raise ConfigError(f"{settings.state_dir / _FILE}: {error}") from None


def keep(state_dir: Path, enrolment: Enrolment) -> None:
    """Keep an enrolment that the cluster has validated, for later starts (0600, atomic).

    Raises:
        ConfigError: the disk refuses.
    """
    text = enrolment.encode()
    if _kept(state_dir) != text:
        write_private(state_dir / _FILE, text.encode("ascii"))


def _kept(state_dir: Path) -> str | None:
    try:
        return (state_dir / _FILE).read_text("ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {state_dir / _FILE}: {error}") from None
