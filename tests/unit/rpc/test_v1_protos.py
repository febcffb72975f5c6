"""The protos of zconnector.v1 say what every service, call, message, field and value means."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

PROTOS = Path(__file__).parents[3] / "protos"
FILES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("zconnector/v1/*.proto"))


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every name of the protos, and its comment."""
    out = tmp_path_factory.mktemp("protos") / "set.pb"
    options = ["-I.", "--include_source_info", f"--descriptor_set_out={out}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, *FILES], check=True, cwd=PROTOS)
    found: dict[str, str] = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
        comments = {tuple(at.path): at.leading_comments.strip() for at in file.source_code_info.location}
        found |= {name: comments.get(path, "") for name, path in _names(file)}
    return found


def _names(file: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    for index, message in enumerate(file.message_type):
        yield from _message(message, (4, index), message.name)
    for index, service in enumerate(file.service):
        yield service.name, (6, index)
        for place, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (6, index, 2, place)


def _message(message: Any, path: tuple[int, ...], name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield name, path
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, 2, index)
    for index, enum in enumerate(message.enum_type):
        for place, value in enumerate(enum.value):
            yield f"{name}.{enum.name}.{value.name}", (*path, 4, index, 2, place)


def test_everything_has_a_comment(described: dict[str, str]) -> None:
    assert len(described) > 200
    assert [name for name, comment in described.items() if not comment] == []
