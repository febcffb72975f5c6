"""Ed25519 keys of a repository: their text, signatures and what tells one key from another. Pure.

What is signed begins with a line that says what it is: a signature of one thing is never that of another.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from zconnector.errors import ConfigError

_PREFIX = "ed25519:"
_KEY_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are checked with."""

    raw: bytes

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.raw).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """A key from `ed25519:` and base64. Raises ConfigError."""
        raw = decode(text.removeprefix(_PREFIX), _KEY_BYTES) if text.startswith(_PREFIX) else None
        if raw is None:
            raise ConfigError(
                f"a public key must be '{_PREFIX}' and base64 of {_KEY_BYTES} bytes (got {text!r:.100})"
            )
        return cls(raw)

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether the holder of the secret key signed exactly these bytes."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, signed)
        except (InvalidSignature, ValueError):
            return False
        return True


class SecretKey:
    """A key that signs. Never shown."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    def sign(self, content: bytes) -> bytes:
        return self.key.sign(content)


def encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def decode(text: object, size: int) -> bytes | None:
    """So many bytes from base64; None: that it is not, or not in its one usual form."""
    if not isinstance(text, str) or len(text) > 4 * size:
        return None
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return raw if len(raw) == size and encode(raw) == text else None
