"""The file of a secret key: PKCS8 PEM, of this user, read and written by nobody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from zconnector.errors import ConfigError
from zconnector.repository.disk import read_plain, sync_folder, write_new
from zconnector.repository.signing import SecretKey

_MAX = 1 << 14


def create_key(path: Path) -> SecretKey:
    """A new key in a new file of mode 0600. Raises ConfigError: the file is there, or the disk refuses."""
    key = SecretKey(Ed25519PrivateKey.generate())
    pem = key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        write_new(path, pem, 0o600)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write secret key {path}: {error.strerror}") from None
    return key


def read_key(path: Path) -> SecretKey:
    """The key of a file.

    Raises:
        ConfigError: it cannot be read, others may read or change it, or it is no Ed25519 key.
    """
    try:
        content, found = read_plain(path, _MAX)
    except OSError as error:
        raise ConfigError(f"cannot read secret key {path}: {error.strerror}") from None
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o177:
        raise ConfigError(f"secret key {path} has mode {mode:04o}, must have 0600: chmod 600 it")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"secret key {path} belongs to user {found.st_uid}, must belong to {os.geteuid()}")
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"secret key {path} must be PKCS8 PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"secret key {path} must be an Ed25519 key (got {type(key).__name__})")
    return SecretKey(key)
