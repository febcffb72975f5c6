"""The catalogue: what the connectors of one type are declared to do, over all its versions.

A command of major 0 takes any version: the newest that declares it gives the schema. A command
with a major takes the newest minor of that major, which alone decides what the major declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from zconnector.configuration.pivot import Pivot, ProductConnector, Version
from zconnector.configuration.schemas import Schema
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.messages.message import Message

ADMIN_PREFIX = "ADMIN_"


class Declared(NamedTuple):
    """What the version that decides on a command says of it."""

    schema: Schema
    retry: Mapping[str, Any]


class Catalogue:
    """All pivots and product connectors of one connector type in one tenant."""

    def __init__(self, pivots: Iterable[Pivot] = (), products: Iterable[ProductConnector] = ()) -> None:
        self.pivots = tuple(sorted(pivots, key=lambda pivot: pivot.version))
        self.products = tuple(sorted(products, key=lambda p: (p.version, p.product)))
        self._commands: dict[Version, dict[str, Schema]] = {}
        self._retries: dict[Version, dict[str, Mapping[str, Any]]] = {}
        self._implicit = {pivot.version for pivot in self.pivots if pivot.implicit}
        sources: list[Pivot | ProductConnector] = [*self.pivots, *self.products]
        for source in sources:
            commands = self._commands.setdefault(source.version, {})
            for command in source.commandtypes:
                commands.setdefault(command.name, command.schema)
                if command.retry:  # a product connector's keys over those of the pivot
                    retries = self._retries.setdefault(source.version, {})
                    retries[command.name] = {**retries.get(command.name, {}), **command.retry}
        self._newest = sorted(self._commands, reverse=True)
        self._declared = self._decided()
        self.has_retries = bool(self._retries)
        """Whether `retry` says anything of any command."""

    def _decided(self) -> dict[int, dict[str, Declared]]:
        """For each major, and 0, the commands that it declares: looked up for every command that comes."""
        found: dict[int, dict[str, Declared]] = {0: {}}
        for version in self._newest:
            retries = self._retries.get(version, {})
            here = {
                name: Declared(schema, retries.get(name, {}))
                for name, schema in self._commands[version].items()
            }
            if version.major:
                found.setdefault(version.major, here)
            found[0] = here | found[0]
        return found

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every version, oldest first."""
        return tuple(reversed(self._newest))

    def highest(self, major: int) -> Version | None:
        """The newest version of a major; of all for major 0. None: there is none."""
        return next((v for v in self._newest if major in (0, v.major)), None)

    def declares(self, major: int, command: str) -> bool:
        """Whether some version that a command of this major may run on declares it."""
        return command in self._declared.get(major, ())

    def declared(self, command: Message) -> Refusal | None:
        """Why no version declares a command; None when one does, and for admin commands."""
        if self._of(command) is not None or command.header.get("admin") is True:
            return None
        major = command.number("major")
        if self.highest(major) is None:
            of = "any version" if major == 0 else f"major {major}"
            return Refusal(
                Reason.UNKNOWN_VERSION,
                f"{command.text('type')} has no pivot of {of}, and no worker of it has registered commands",
                command.uuid,
            )
        of = "no version" if major == 0 else f"not major {major}"
        detail = f"{of} of {command.text('type')} declares {command.text('command')!r:.80}"
        return Refusal(Reason.UNKNOWN_COMMAND, detail, command.uuid)

    def check(self, command: Message) -> Refusal | None:
        """Why a command must not be stored: UNKNOWN_VERSION, UNKNOWN_COMMAND or INVALID_PAYLOAD."""
        if command.header.get("admin") is True:
            return None
        found = self._of(command)
        if found is None:
            return self.declared(command)
        complaint = found.schema.complaint(command.payload)
        return Refusal(Reason.INVALID_PAYLOAD, complaint, command.uuid) if complaint else None

    def retry(self, command: Message) -> Mapping[str, Any]:
        """What the version that gives a command its schema wishes for its retries; empty: nothing."""
        found = self._of(command)
        return {} if found is None else found.retry

    def _of(self, command: Message) -> Declared | None:
        """What is declared of a command, by the version that decides on it."""
        header = command.header
        of_major = self._declared.get(header.get("major", 0))
        return None if of_major is None else of_major.get(header.get("command", ""))

    def missing(self, major: int, minor: int, names: Iterable[str]) -> list[str]:
        """Commands of a version that a worker's command list lacks; none for an implicit pivot.

        Raises:
            Refusal: UNKNOWN_VERSION, when no pivot or product connector has that version.
        """
        version = Version(major, minor)
        commands = self._commands.get(version)
        if commands is None:
            detail = f"no pivot or product connector of version {version}: `zconnector pivot put` one"
            raise Refusal(Reason.UNKNOWN_VERSION, detail)
        if version in self._implicit:
            return []
        given = set(names)
        return [n for n in commands if n not in given and not n.startswith(ADMIN_PREFIX)]

    def to_dict(self) -> dict[str, list[dict[str, object]]]:
        """The payload of a CONFIG answer (WIRE.md section 9)."""
        return {
            "pivots": [pivot.to_dict() for pivot in self.pivots],
            "products": [product.to_dict() for product in self.products],
        }

    @classmethod
    def from_dict(cls, document: object) -> Catalogue:
        """A catalogue from the payload of a CONFIG answer. Raises ConfigError."""
        if not isinstance(document, Mapping):
            raise ConfigError(f"configuration must be a JSON object, not {type(document).__name__}")
        return cls(
            [Pivot.from_dict(item, where) for where, item in _mappings(document, "pivots")],
            [ProductConnector.from_dict(item, where) for where, item in _mappings(document, "products")],
        )


def _mappings(document: Mapping[str, Any], field: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    items = document.get(field, [])
    if not isinstance(items, list):
        raise ConfigError(f"{field}: must be a list, not {type(items).__name__}")
    for index, item in enumerate(items):
        where = f"{field}[{index}]"
        if not isinstance(item, Mapping):
            raise ConfigError(f"{where}: must be an object, not {type(item).__name__}")
        yield where, item
