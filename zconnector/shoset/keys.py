"""CURVE key pairs: a process's identity towards its peers, kept in its state directory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from zconnector.errors import ConfigError

_FILE = "curve.key"
_Z85_LENGTH = 40


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair in Z85 (40 characters each)."""

    public: str
    secret: str = field(repr=False)

    @classmethod
    def fresh(cls) -> KeyPair:
        """A new random pair."""
        public, secret = zmq.curve_keypair()
        return cls(public.decode("ascii"), secret.decode("ascii"))


def load_or_create(state_dir: Path) -> KeyPair:
    """The key pair of the component whose state directory this is; made at its first start.

    Raises:
        ConfigError: the file cannot be read or written, or is damaged. A damaged one is never
            replaced: peers know the component by this key.
    """
    path = state_dir / _FILE
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        pair = KeyPair.fresh()
        write_private(path, f"{pair.public}\n{pair.secret}\n".encode("ascii"))
        return pair
    except UnicodeDecodeError:
        raise _damaged(path, "it is no ASCII text") from None
    except OSError as error:
        raise ConfigError(f"cannot read key file {path}: {error.strerror}") from None
    lines = text.split("\n")
    if len(lines) != 3 or lines[2] or any(len(line) != _Z85_LENGTH for line in lines[:2]):
        raise _damaged(path, f"it must hold two lines of {_Z85_LENGTH} characters")
    public, secret = lines[0], lines[1]
    try:
        derived = zmq.curve_public(secret.encode("ascii")).decode("ascii")
    except (ValueError, zmq.ZMQError):
        raise _damaged(path, "its second line is no Z85 key") from None
    if derived != public:
        raise _damaged(path, "its two keys do not belong together")
    return KeyPair(public, secret)


def write_private(path: Path, content: bytes) -> None:
    """Put content into a file of mode 0600, durably, all of it or nothing.

    Raises:
        ConfigError: naming the file, when the directory or the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # A leftover of a process of the same number that was killed here is of no use to anybody.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"key file {path} is damaged: {why}; restore it, or remove it and have the key rebound "
        "with `zconnector secret rebind`"
    )
