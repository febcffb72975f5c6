"""The names of a worker repository: workers, paths, addresses. Pure.

Every path below an address is made or taken apart here, so that a name that passed its rule is the only
thing that ever becomes part of one.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError

MANIFEST = "manifest.json"
MAX_VERSION = 127
"""Highest major and minor: the Gandalf client's are one signed byte."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
_MAX_ADDRESS = 1024


class Kind(StrEnum):
    """What a file of a repository is."""

    VERSIONS = "versions"
    ARCHIVE = "archive"
    PIVOT = "pivot"
    PRODUCT = "product"


@dataclass(frozen=True, slots=True, order=True)
class WorkerName:
    """Which worker: its connector type and product, both in lower case.

    Raises:
        ConfigError: a name that breaks the rule.
    """

    type: str
    product: str

    def __post_init__(self) -> None:
        check_name(self.type, "type of a worker")
        check_name(self.product, "product of a worker")

    def __str__(self) -> str:
        return f"{self.type}/{self.product}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a path of the layout stands for."""

    kind: Kind
    type: str
    product: str = ""
    """Empty for a pivot, which all products of its type share."""
    version: Version | None = None
    """None for a list of versions."""


def check_name(name: str, what: str) -> str:
    """The name, if it can be part of a path. Raises ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} must be 1 to 64 of a-z, 0-9, '.', '_' and '-', "
            f"the first a letter or digit (got {name!r:.100})"
        )
    return name


def check_version(version: Version) -> Version:
    """The version, if a worker can have it. Raises ConfigError."""
    for number in version:
        if type(number) is not int or not 0 <= number <= MAX_VERSION:
            raise ConfigError(f"major and minor must be from 0 to {MAX_VERSION} (got {version!s:.60})")
    return version


def read_version(text: str) -> Version:
    """A version from `MAJOR.MINOR`. Raises ConfigError."""
    major, dot, minor = text.partition(".")
    if not (dot and _NUMBER.fullmatch(major) and _NUMBER.fullmatch(minor)):
        raise ConfigError(f"a version must be MAJOR.MINOR (got {text!r:.60})")
    return check_version(Version(int(major), int(minor)))


def versions_path(worker: WorkerName) -> str:
    return f"workers/{worker.type}/{worker.product}/versions.yaml"


def archive_path(worker: WorkerName, version: Version) -> str:
    return f"workers/{worker.type}/{worker.product}/{version.major}/{version.minor}/worker.zip"


def pivot_path(type_: str, version: Version) -> str:
    return f"configurations/{type_}/{version.major}_{version.minor}_pivot.yaml"


def product_path(worker: WorkerName, version: Version) -> str:
    file = f"{version.major}_{version.minor}_connector_product.yaml"
    return f"configurations/{worker.type}/{worker.product}/{file}"


def place_of(path: str) -> Place | None:
    """What a path stands for; None: it is not of the layout. `path_of` gives the same path back."""
    match path.split("/"):
        case ["workers", type_, product, "versions.yaml"]:
            place = Place(Kind.VERSIONS, type_, product)
        case ["workers", type_, product, major, minor, "worker.zip"]:
            place = Place(Kind.ARCHIVE, type_, product, _version(major, minor))
        case ["configurations", type_, file]:
            place = Place(Kind.PIVOT, type_, "", _version_of(file, "_pivot.yaml"))
        case ["configurations", type_, product, file]:
            place = Place(Kind.PRODUCT, type_, product, _version_of(file, "_connector_product.yaml"))
        case _:
            return None
    named = _NAME.fullmatch(place.type) and (place.kind is Kind.PIVOT or _NAME.fullmatch(place.product))
    return place if named and (place.kind is Kind.VERSIONS or place.version is not None) else None


def path_of(place: Place) -> str:
    """The path of a place."""
    version = place.version or Version(0, 0)
    match place.kind:
        case Kind.VERSIONS:
            return versions_path(WorkerName(place.type, place.product))
        case Kind.ARCHIVE:
            return archive_path(WorkerName(place.type, place.product), version)
        case Kind.PIVOT:
            return pivot_path(place.type, version)
        case Kind.PRODUCT:
            return product_path(WorkerName(place.type, place.product), version)


def _version(major: str, minor: str) -> Version | None:
    if not (_NUMBER.fullmatch(major) and _NUMBER.fullmatch(minor)):
        return None
    version = Version(int(major), int(minor))
    return version if max(version) <= MAX_VERSION else None


def _version_of(file: str, end: str) -> Version | None:
    major, _, minor = file.removesuffix(end).partition("_")
    return _version(major, minor) if file.endswith(end) else None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a repository is. Made by `read_address` only; without a slash at the end."""

    scheme: str
    """https, http (then the host is this machine) or file."""
    text: str

    def __str__(self) -> str:
        return self.text

    def of(self, path: str) -> str:
        """The address of a file of the repository."""
        return f"{self.text}/{quote(path)}"

    @property
    def folder(self) -> str:
        """The folder of a file:// address."""
        return unquote(urlsplit(self.text).path)


def read_address(text: str) -> Address:
    """An address from what an operator wrote.

    Raises:
        ConfigError: another scheme, http to another machine, a user, a query, a path that is not plain.
    """

    def broken(rule: str) -> ConfigError:
        return ConfigError(f"address of a repository {rule} (got {_without_user(text)!r:.200})")

    if (
        len(text) > _MAX_ADDRESS
        or not text.isascii()
        or not text.isprintable()
        or " " in text
        or "\\" in text
    ):
        raise broken(f"must be at most {_MAX_ADDRESS} printable ASCII characters without blanks or '\\'")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise broken("must be a URL") from None
    if parts.scheme not in ("https", "http", "file"):
        raise broken("must begin with https://, http:// (loopback) or file://")
    if "@" in parts.netloc:
        raise broken("must have no user or password: addresses are logged")
    if "?" in text or "#" in text:
        raise broken("must have no query or fragment")
    path = unquote(parts.path).rstrip("/")
    if not path.isprintable() or any(part in (".", "..") for part in path.split("/")):
        raise broken("must have a plain path, without '.' or '..'")
    if parts.scheme == "file":
        if parts.netloc or not path.startswith("/"):
            raise broken("must be file:// and an absolute path, three slashes in all")
    elif not host or port == 0:
        raise broken("must name a host")
    elif parts.scheme == "http" and not is_loopback(host):
        raise broken("must be https: http is for loopback only")
    return Address(parts.scheme, f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}")


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine, without asking anybody."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_user(text: str) -> str:
    """What can be said of an address that was refused: a password in it is not repeated."""
    return re.sub(r"//[^/]*@", "//***@", text)
