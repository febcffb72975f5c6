"""A folder with one version of a worker, as its author keeps it, to be put into a repository.

`worker.yaml` says what it is; `pivot.yaml` and `connector_product.yaml` are its configuration, where it has
its own; everything else goes into the archive, an executable `worker` among it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zconnector.configuration.pivot import Version
from zconnector.configuration.yaml_text import read_text
from zconnector.errors import ConfigError
from zconnector.repository.archive import WORKER
from zconnector.repository.checking import check_configuration
from zconnector.repository.disk import read_plain
from zconnector.repository.layout import (
    Kind,
    Place,
    WorkerName,
    archive_path,
    check_version,
    pivot_path,
    product_path,
)
from zconnector.repository.pack import pack
from zconnector.repository.source import MAX_CONFIGURATION

DESCRIPTION, PIVOT, PRODUCT = "worker.yaml", "pivot.yaml", "connector_product.yaml"
_FIELDS = {"type": str, "product": str, "major": int, "minor": int}


@dataclass(frozen=True, slots=True)
class WorkerFolder:
    """The folder, and what its description says."""

    folder: Path
    name: WorkerName
    version: Version

    @classmethod
    def read(cls, folder: Path) -> WorkerFolder:
        """The folder of a worker. Raises ConfigError."""
        path = folder / DESCRIPTION
        content = _content(path)
        if content is None:
            raise ConfigError(
                f"{path} is missing: it says what the worker is, with type, product, major and minor"
            )
        document = read_text(content.decode("utf-8", "replace"), str(path))
        found: dict[str, Any] = document if isinstance(document, dict) else {}
        if found.keys() != _FIELDS.keys() or any(
            type(found[field]) is not kind for field, kind in _FIELDS.items()
        ):
            raise ConfigError(
                f"{path} must have type, product (texts), major, minor (numbers), and no other field"
            )
        name = WorkerName(found["type"].lower(), found["product"].lower())
        return cls(folder, name, check_version(Version(found["major"], found["minor"])))

    def files(self) -> dict[str, bytes]:
        """Path in the repository -> content.

        Raises:
            ConfigError: a file cannot be read, or there is no `worker` to execute.
            RepositoryError: a file breaks its rule (ArchiveError: the archive).
        """
        worker = self.folder / WORKER
        if not worker.is_file() or not worker.stat().st_mode & 0o111:
            raise ConfigError(f"{worker} must be a file that can be executed: it is what is started")
        found = {archive_path(self.name, self.version): pack(self.folder, (DESCRIPTION, PIVOT, PRODUCT))}
        for file, kind, path in (
            (PIVOT, Kind.PIVOT, pivot_path(self.name.type, self.version)),
            (PRODUCT, Kind.PRODUCT, product_path(self.name, self.version)),
        ):
            content = _content(self.folder / file)
            if content is not None:
                place = Place(kind, self.name.type, self.name.product, self.version)
                check_configuration(place, content, str(self.folder / file))
                found[path] = content
        return found


def _content(path: Path) -> bytes | None:
    try:
        content, _ = read_plain(path, MAX_CONFIGURATION)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > MAX_CONFIGURATION:
        raise ConfigError(f"{path} has more than {MAX_CONFIGURATION} bytes, which is the limit")
    return content
