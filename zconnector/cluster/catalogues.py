"""The catalogues of all tenants and connector types, as committed."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from zconnector.configuration.catalogue import Catalogue
from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.errors import ConfigError

MAX_CATALOGUE = 3_500_000
"""Bytes of one type's pivots and products as JSON: they travel in one message."""

_EMPTY = Catalogue()


class Catalogues:
    """One catalogue for each (tenant, connector type)."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], Catalogue] = {}

    def load(
        self, pivots: Iterable[tuple[str, Pivot]], products: Iterable[tuple[str, ProductConnector]]
    ) -> None:
        """Take what the store has."""
        lists: dict[tuple[str, str], tuple[list[Pivot], list[ProductConnector]]] = {}
        for tenant, pivot in pivots:
            lists.setdefault((tenant, pivot.name), ([], []))[0].append(pivot)
        for tenant, product in products:
            lists.setdefault((tenant, product.name), ([], []))[1].append(product)
        self._all = {place: Catalogue(*both) for place, both in lists.items()}

    def of(self, tenant: str, connector_type: str) -> Catalogue:
        """What a connector type is declared to do."""
        return self._all.get((tenant, connector_type), _EMPTY)

    def types(self, tenant: str) -> list[str]:
        """The connector types that have a pivot or product connector."""
        return sorted(name for of, name in self._all if of == tenant)

    def put(self, tenant: str, item: Pivot | ProductConnector) -> None:
        """A pivot or product connector was committed."""
        self._all[tenant, item.name] = _with(self.of(tenant, item.name), item)

    def check_room(self, tenant: str, connector_type: str, items: Iterable[Pivot | ProductConnector]) -> None:
        """Raises ConfigError when a type's catalogue would not fit in a message with these of it."""
        catalogue = self.of(tenant, connector_type)
        for item in items:
            catalogue = _with(catalogue, item)
        size = len(orjson.dumps(catalogue.to_dict()))
        if size > MAX_CATALOGUE:
            raise ConfigError(
                f"all versions of {connector_type} together come to {size} bytes, "
                f"must be at most {MAX_CATALOGUE}"
            )

    def absent(self, tenant: str, item: Pivot | ProductConnector) -> bool:
        """Whether there is none of its version (and product), or an implicit one."""
        known = self.of(tenant, item.name)
        if isinstance(item, Pivot):
            return all(pivot.implicit for pivot in known.pivots if pivot.version == item.version)
        same = (item.product, item.version)
        return all((product.product, product.version) != same for product in known.products)


def _with(catalogue: Catalogue, item: Pivot | ProductConnector) -> Catalogue:
    if isinstance(item, Pivot):
        others = [pivot for pivot in catalogue.pivots if pivot.version != item.version]
        return Catalogue([*others, item], catalogue.products)
    same = (item.product, item.version)
    products = [product for product in catalogue.products if (product.product, product.version) != same]
    return Catalogue(catalogue.pivots, [*products, item])
