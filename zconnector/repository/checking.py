"""Whether a configuration file of a repository is what its path says. Pure."""

from __future__ import annotations

from zconnector.configuration.pivot import Pivot, ProductConnector, read_yaml
from zconnector.configuration.yaml_text import read_text
from zconnector.errors import ConfigError, RepositoryError
from zconnector.repository.layout import Kind, Place


def check_configuration(place: Place, content: bytes, where: str) -> None:
    """A pivot, a product connector or a list of versions, by the place that it has.

    A list of versions is only read as YAML: it is for Gandalf's readers, the manifest says what there is.

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
                read_text(content.decode("utf-8"), where)
            case Kind.ARCHIVE:
                raise RepositoryError(f"{where} is no configuration")
    except ConfigError as error:
        raise RepositoryError(str(error)) from None
    except UnicodeDecodeError:
        raise RepositoryError(f"{where}: must be UTF-8") from None


def _same(where: str, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise RepositoryError(f"{where}: its {what} is {found!s:.100}, must be {wanted} by its path")
