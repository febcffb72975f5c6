"""What the logical configuration of a connector asks for (its table in docs/versions.md). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError
from zconnector.repository.layout import check_name, read_address, read_version
from zconnector.repository.manifest import WARNING
from zconnector.repository.signing import PublicKey
from zconnector.supervision.launch import check_limits
from zconnector.supervision.states import Policy
from zconnector.versions.update import Mode, Update, next_due
from zconnector.versions.values import broken, check_spelling, mapping, number, short, text, whole

__all__ = [
    "Canary",
    "Gate",
    "Mode",
    "Update",
    "Wanted",
    "WorkerSettings",
    "next_due",
    "parse_version",
]

MAX_VERSIONS = 32
"""Versions that may run side by side."""
MAX_PINS = 100
MAX_CONTEXT = 128
MAX_GATE = 600
MAX_WARNING = 3650
"""Days."""
MAX_TIMEOUT_MS = 86_400_000
_DAY = 86_400
_LEAST = 0.001
"""Seconds, of what may not be 0."""
_PATIENCE = Policy()
_NAMES = (
    "product",
    "repository",
    "repository_keys",
    "repository_warning",
    "versions",
    "shares",
    "pins",
    "keys",
    "update",
    "gate",
    "worker",
)


def parse_version(value: str) -> Version:
    """A version from `MAJOR.MINOR`, both 0 to 127. Raises ConfigError."""
    return read_version(value)


@dataclass(frozen=True, slots=True)
class Canary:
    """A command that a new version has to answer SUCCES."""

    command: str
    payload: Any = None
    """A JSON value; None: no payload."""
    timeout: float = 5.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a new version has to show before it gets traffic."""

    seconds: float = 3.0
    """So long it beats without a crash."""
    canary: Canary | None = None
    start: float | None = None
    """Seconds from the start of new versions until each has registered; None: twice `worker.start` and 60."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How the processes of workers are treated."""

    timeout_ms: int = 10_000
    """Their second argument."""
    drain: float = _PATIENCE.drain
    """Seconds for what runs to finish."""
    start: float = _PATIENCE.start
    """Seconds from the spawn until every command is registered."""
    hang: float | None = _PATIENCE.hang
    """Longest silence in seconds; None: it need not beat."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """By the names of `supervision.launch.RESOURCES`."""

    def policy(self) -> Policy:
        return Policy(start=self.start, hang=self.hang, drain=self.drain)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a logical configuration."""
        return {
            "timeout": self.timeout_ms,
            "drain": self.drain,
            "start": self.start,
            "hang": self.hang,
            "limits": dict(self.limits),
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should run, and how. Every value keeps its rule: made by `from_values`."""

    product: str = ""
    repository: str = ""
    """Address of the repository; "": none."""
    repository_keys: tuple[str, ...] = ()
    """Pinned; never empty where there is a repository."""
    repository_warning: float = WARNING
    """Days before its manifest expires in which that is warned of."""
    versions: tuple[Version, ...] = ()
    """Ascending, each once."""
    shares: Mapping[Version, int] = field(default_factory=dict)
    """Percent."""
    pins: Mapping[str, Version] = field(default_factory=dict)
    """By application context."""
    keys: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Values of the keys that pivot and product connector declare; secrets among them."""
    update: Update = field(default_factory=Update)
    gate: Gate = field(default_factory=Gate)
    worker: WorkerSettings = field(default_factory=WorkerSettings)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Wanted:
        """What the values of a logical configuration ask for; names that mean nothing here are ignored.

        A name whose value is null stands for its default.

        Raises:
            ConfigError: naming name, value (never that of a key) and rule.
        """
        given = mapping(values, "configuration")
        check_spelling(given, _NAMES, "configuration: ", others=True)
        given = {name: value for name, value in given.items() if value is not None}
        address, pinned = _address(given), _pinned(given)
        if address and not pinned:
            raise ConfigError(
                "repository_keys must be given with repository: "
                'a list of the keys that may sign it, such as ["ed25519:..."]'
            )
        return cls(
            product=product_of(given),
            repository=address,
            repository_keys=pinned,
            repository_warning=number(
                given.get("repository_warning", WARNING), "repository_warning", 0, MAX_WARNING, "days"
            ),
            versions=_versions(given),
            shares=_shares(given),
            pins=_pins(given),
            keys=keys_of(given),
            update=Update.from_value(given["update"]) if "update" in given else Update(),
            gate=_gate(given),
            worker=worker_of(given),
        )


def product_of(given: Mapping[str, Any]) -> str:
    """The product that a logical configuration names. Raises ConfigError."""
    product = given.get("product", "")
    if not isinstance(product, str):
        raise broken("product", "a text", product)
    if product:
        check_name(product.lower(), "product")  # its folder in a repository is in lower case
    return product


def _address(given: Mapping[str, Any]) -> str:
    address = given.get("repository", "")
    if not isinstance(address, str):
        raise broken("repository", "an address", address)
    try:
        return str(read_address(address)) if address else ""
    except ConfigError as error:
        raise ConfigError(f"repository: {error}") from None


def _pinned(given: Mapping[str, Any]) -> tuple[str, ...]:
    keys = given.get("repository_keys", [])
    keys = keys.split() if isinstance(keys, str) else _list(given, "repository_keys", "ed25519:...")
    for index, key in enumerate(keys):
        if not isinstance(key, str):
            raise broken(f"repository_keys[{index}]", "a text, ed25519:...", key)
        try:
            PublicKey.from_text(key)
        except ConfigError as error:
            raise ConfigError(f"repository_keys[{index}]: {error}") from None
    return tuple(dict.fromkeys(keys))


def _versions(given: Mapping[str, Any]) -> tuple[Version, ...]:
    items = _list(given, "versions", "1.0")
    if len(items) > MAX_VERSIONS:
        raise ConfigError(f"versions must be at most {MAX_VERSIONS} (got {len(items)})")
    return tuple(sorted({_version(item, f"versions[{index}]") for index, item in enumerate(items)}))


def _shares(given: Mapping[str, Any]) -> dict[Version, int]:
    shares = {
        _version(name, "shares: a name"): whole(share, f"shares.{name}", 0, 100, " of percent")
        for name, share in mapping(given.get("shares", {}), "shares").items()
    }
    return dict(sorted(shares.items()))


def _pins(given: Mapping[str, Any]) -> dict[str, Version]:
    pins = mapping(given.get("pins", {}), "pins")
    if len(pins) > MAX_PINS:
        raise ConfigError(f"pins must be at most {MAX_PINS} (got {len(pins)})")
    return {
        text(context, "pins: a context", MAX_CONTEXT): _version(version, f"pins.{context}")
        for context, version in sorted(pins.items())
    }


def keys_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of keys that a logical configuration has. Raises ConfigError."""
    keys = given.get("keys", {})
    if not isinstance(keys, Mapping):  # and not what it is: it may be a secret
        raise ConfigError(f"keys must be an object of names and values (got a {type(keys).__name__})")
    return {text(name, "keys: a name", 256): value for name, value in mapping(keys, "keys").items()}


def _gate(given: Mapping[str, Any]) -> Gate:
    gate = mapping(given.get("gate", {}), "gate", ("seconds", "canary", "start"))
    seconds = number(gate.get("seconds", Gate().seconds), "gate.seconds", 0, MAX_GATE)
    start = gate.get("start")
    limit = None if start is None else number(start, "gate.start", _LEAST, _DAY)
    if gate.get("canary") is None:
        return Gate(seconds, None, limit)
    canary = mapping(gate["canary"], "gate.canary", ("command", "payload", "timeout"))
    command = text(canary.get("command"), "gate.canary.command", 256)
    timeout = number(canary.get("timeout", 5.0), "gate.canary.timeout", _LEAST, MAX_GATE)
    return Gate(seconds, Canary(command, canary.get("payload"), timeout), limit)


def worker_of(given: Mapping[str, Any]) -> WorkerSettings:
    """How a logical configuration has workers treated. Raises ConfigError."""
    worker = mapping(given.get("worker", {}), "worker", ("timeout", "drain", "start", "hang", "limits"))
    default = WorkerSettings()
    hang = worker.get("hang", default.hang)
    limits = mapping(worker.get("limits", {}), "worker.limits")
    try:
        check_limits(limits)
    except ConfigError as error:
        raise ConfigError(f"worker.limits: {error}") from None
    return WorkerSettings(
        timeout_ms=whole(
            worker.get("timeout", default.timeout_ms), "worker.timeout", 1, MAX_TIMEOUT_MS, " of milliseconds"
        ),
        drain=number(worker.get("drain", default.drain), "worker.drain", 0, _DAY),
        start=number(worker.get("start", default.start), "worker.start", _LEAST, _DAY),
        hang=None if hang is None else number(hang, "worker.hang", _LEAST, _DAY),
        limits=dict(limits),
    )


def _list(given: Mapping[str, Any], name: str, example: str) -> list[Any]:
    items = given.get(name, [])
    if not isinstance(items, list):
        raise ConfigError(f'{name} must be a list, such as ["{example}"] (got {short(items)})')
    return items


def _version(value: object, where: str) -> Version:
    if not isinstance(value, str):
        raise broken(where, 'a text, "MAJOR.MINOR"', value)
    try:
        return parse_version(value)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
