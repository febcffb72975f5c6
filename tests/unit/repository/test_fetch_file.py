"""What only a folder can have in the place of a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zconnector.errors import FetchError
from zconnector.repository.fetch import FileFetcher
from zconnector.repository.layout import read_address


@pytest.mark.parametrize("kind", ["pipe", "link", "device link"])
def test_only_plain_files_are_read(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    if kind == "pipe":
        os.mkfifo(file)  # to open it as it is would wait for ever
    else:
        file.symlink_to("/dev/zero" if kind == "device link" else "/etc/passwd")
    with pytest.raises(FetchError, match=rf"cannot read file://{tmp_path}/manifest\.json: "):
        FileFetcher(read_address(f"file://{tmp_path}")).fetch("manifest.json", 100)
