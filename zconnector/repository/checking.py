"""Whether a configuration file of a repository is what its path says. Pure."""

from __future__ import annotations

from typing import Any

from zconnector.configuration.pivot import Pivot, ProductConnector, Version, read_yaml
from zconnector.configuration.yaml_text import read_text
from zconnector.errors import ConfigError, RepositoryError
from zconnector.repository.layout import Kind, Place, check_version


def check_configuration(place: Place, content: bytes, where: str) -> None:
    """A pivot, a product connector or a list of versions, by the place that it has.

    Raises:
        RepositoryError: naming the file, the value and the rule.
    """
    try:
        match place.kind:
            case Kind.PIVOT:
                pivot = Pivot.from_yaml(content, where)
                _same(where, "name", pivot.name.lower(), place.type)
                _same(where, "version", pivot.version, place.version)
            case Kind.PRODUCT:
                product = ProductConnector.from_dict(read_yaml(content, where), where)
                _same(where, "name", product.name.lower(), place.type)
                _same(where, "product", product.product.lower(), place.product)
                _same(where, "version", product.version, place.version)
            case Kind.VERSIONS:
                read_versions(content, where)
            case Kind.ARCHIVE:
                raise RepositoryError(f"{where} is no configuration")
    except ConfigError as error:
        raise RepositoryError(str(error)) from None


def read_versions(content: bytes, where: str) -> list[Version]:
    """The list of versions of `versions.yaml`, oldest first. Raises ConfigError."""
    try:
        document: Any = read_text(content.decode("utf-8"), where)
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: must be UTF-8") from None
    listed = document.get("versions") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ConfigError(f"{where}: must be a list 'versions' of mappings with major and minor")
    return sorted(check_version(Version(item.get("major"), item.get("minor"))) for item in listed)


def _same(where: str, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise RepositoryError(f"{where}: its {what} is {found!s:.100}, must be {wanted} by its path")
