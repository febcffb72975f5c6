"""The generated code is what the script makes of protos/ today, and speaks Gandalf's numbers."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "generate.sh"


def pinned() -> str:
    found = re.search(r"^GRPCIO_TOOLS=(\S+)$", SCRIPT.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_it_is_fresh(tmp_path: Path) -> None:
    installed = importlib.metadata.version("grpcio-tools")
    assert installed == pinned(), "the dev extra must install the pinned generator"
    subprocess.run(
        [SCRIPT, tmp_path],
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        timeout=60,
    )
    committed = ROOT / "zconnector" / "rpc" / "_gen"
    assert _files(tmp_path) == _files(committed)


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*.py*"))
        if "__pycache__" not in path.parts
    }


def test_another_generator_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 1.0.0\n")
    fake.chmod(0o755)
    done = subprocess.run(
        [SCRIPT, tmp_path / "out"],
        env={**os.environ, "PYTHON": str(fake)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"1.0.0 is installed, {pinned()} is wanted" in done.stderr


FIELDS = {
    "CommandList": "Major=1 Minor=2 Commands=3",
    "Validate": "valid=1",
    "Stop": "Major=1 Minor=2",
    "Empty": "",
    "IteratorMessage": "Id=1",
    "CommandMessage": "SourceAggregator=1 SourceConnector=2 SourceWorker=3 DestinationAggregator=4 "
    "DestinationConnector=5 DestinationWorker=6 Tenant=7 Token=8 Context=9 Timeout=10 Timestamp=11 Major=12 "
    "UUID=13 ConnectorType=14 CommandType=15 Command=16 Payload=17 Admin=18",
    "CommandMessageUUID": "UUID=1",
    "CommandMessageWait": "WorkerSource=1 Value=2 IteratorId=3 Major=4",
    "EventMessage": "Tenant=1 Token=2 Topic=3 Timeout=4 Timestamp=5 UUID=6 Event=7 Payload=8 ReferenceUUID=9",
    "EventMessageWait": "WorkerSource=1 Event=2 Topic=3 IteratorId=4 ReferenceUUID=5",
    "TopicMessageWait": "WorkerSource=1 Topic=2 IteratorId=3 ReferenceUUID=4",
}


@pytest.mark.parametrize("name", FIELDS)
def test_names_and_numbers(name: str) -> None:
    fields = pb.DESCRIPTOR.message_types_by_name[name].fields
    assert " ".join(f"{field.name}={field.number}" for field in fields) == FIELDS[name]
    numbers = {"Major", "Minor"}
    for field in fields:
        wanted = (
            field.CPPTYPE_INT64
            if field.name in numbers
            else field.CPPTYPE_BOOL
            if field.name in ("valid", "Admin")
            else field.CPPTYPE_STRING
        )
        assert field.cpp_type == wanted


def test_every_message_and_call_is_there() -> None:
    assert set(pb.DESCRIPTOR.message_types_by_name) == set(FIELDS)
    assert pb.DESCRIPTOR.package == "gogrpc"
    calls = {
        f"{service.name}.{method.name}": f"{method.input_type.name}>{method.output_type.name}"
        for service in pb.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert calls == {
        "Connector.SendCommandList": "CommandList>Validate",
        "Connector.SendStop": "Stop>Validate",
        "ConnectorCommand.SendCommandMessage": "CommandMessage>CommandMessageUUID",
        "ConnectorCommand.WaitCommandMessage": "CommandMessageWait>CommandMessage",
        "ConnectorCommand.CreateIteratorCommand": "Empty>IteratorMessage",
        "ConnectorEvent.SendEventMessage": "EventMessage>Empty",
        "ConnectorEvent.WaitEventMessage": "EventMessageWait>EventMessage",
        "ConnectorEvent.WaitTopicMessage": "TopicMessageWait>EventMessage",
        "ConnectorEvent.CreateIteratorEvent": "Empty>IteratorMessage",
    }
