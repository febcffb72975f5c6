"""The file of a secret key: made once, private, and refused when it is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from zconnector.errors import ConfigError
from zconnector.repository.keyfile import create_key, read_key


def test_a_key_is_made_private_and_read_back(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = create_key(tmp_path / "k")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert read_key(tmp_path / "k").public == made.public


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    made = create_key(tmp_path / "k")
    with pytest.raises(ConfigError, match="cannot write secret key"):
        create_key(tmp_path / "k")
    assert read_key(tmp_path / "k").public == made.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o700, 0o660])
def test_one_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    create_key(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}, must have 0600"):
        read_key(tmp_path / "k")


def test_a_link_is_refused_and_so_is_none(tmp_path: Path) -> None:
    create_key(tmp_path / "k")
    (tmp_path / "link").symlink_to(tmp_path / "k")
    for name in ("link", "none"):
        with pytest.raises(ConfigError, match=f"cannot read secret key {tmp_path / name}"):
            read_key(tmp_path / name)


def test_what_is_no_ed25519_key(tmp_path: Path) -> None:
    good = create_key(tmp_path / "k")
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = good.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for content, said in (
        (b"", "must be PKCS8"),
        (b"x" * 90, "must be PKCS8"),
        (locked, "without a password"),
        (other, "must be an Ed25519 key"),
    ):
        (tmp_path / "k").write_bytes(content)
        with pytest.raises(ConfigError, match=said) as raised:
            read_key(tmp_path / "k")
        assert "PRIVATE KEY" not in str(raised.value)
