"""Worker versions for tests over real processes: good and bad ones of every kind, in a signed repository."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.repositories import KEY, OTHER_KEY, publish
from zconnector.repository.manifest import File, read_manifest, sign
from zconnector.repository.publish import sign_again

SOURCE = """#!/usr/bin/env python3
import os
import signal
import sys
import threading

from zconnector.worker import Context, Worker

HOW, API, VERSION = "{how}", "{api}", "1.{minor}"
if HOW == "crash":
    print("cannot start: " + str(sys.argv[1]), flush=True)
    sys.exit(3)
worker = Worker(1, {minor}, concurrency=4, api=API)
settings = worker.configuration()
print("hello from", VERSION, settings.get("token", ""), flush=True)
if settings.get("token") == "wrong-token":
    sys.exit(5)
ledger = os.open(settings["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@worker.command("BUILD")
async def build(ctx: Context, payload: str) -> str:
    os.write(ledger, f"{{ctx.uuid}} {{VERSION}}\\n".encode())
    return VERSION


if HOW != "lacks":

    @worker.command("CLEAN")
    async def clean(ctx: Context, payload: str) -> str:
        return VERSION


def later() -> None:
    if HOW != "hang":
        os._exit(4)
    os.kill(os.getpid(), signal.SIGSTOP)


if HOW in ("crash_later", "hang", "crash_late"):
    threading.Timer(2.8 if HOW == "crash_late" else 0.7, later).start()
worker.run()
"""
PIVOT = """name: Ci
major: 1
minor: {minor}
commandtypes:
  - name: BUILD
    schema: '{{"type": "object"}}'
  - name: CLEAN
keys:
  - {{name: ledger, type: string, mandatory: true}}
  - {{name: token, type: string, defaultValue: none}}
"""

ROLLOUT = [
    f"rollout.{step}_{side}_commit"
    for step in ("fetching", "starting", "gating", "draining", "back", "over")
    for side in ("before", "after")
]
"""Crash points of a rollout (WIRE.md section 13)."""


class Releases:
    """A repository of the worker ci/jenkins, and the ledger in which its versions write what they execute."""

    def __init__(self, folder: Path, ago: int = 0) -> None:
        """`ago`: so many seconds before now it is signed."""
        self.ago = ago
        self.folder = folder / "repository"
        self._sources = folder / "sources"
        self.ledger = folder / "ledger"
        self.ledger.touch()

    def add(
        self,
        minor: int,
        how: str = "good",
        api: str = "auto",
        content: str = "",
        product: str = "Jenkins",
    ) -> None:
        """Publish 1.`minor`; `how`: good, crash, crash_later, crash_late, hang, lacks, tampered.

        With another `content` than before it is published again.
        """
        source = self._sources / f"{product}-1.{minor}-{how}"
        source.mkdir(parents=True, exist_ok=bool(content))
        worker = source / "worker"
        worker.write_text(SOURCE.format(how=how, minor=minor, api=api) + f"# {content}\n" * bool(content))
        worker.chmod(0o755)
        (source / "worker.yaml").write_text(f"type: Ci\nproduct: {product}\nmajor: 1\nminor: {minor}\n")
        (source / "pivot.yaml").write_text(PIVOT.format(minor=minor))
        publish(self.folder, source, wall=self._wall(), again=bool(content))
        if how == "tampered":
            archive = self.folder / "workers" / "ci" / product.lower() / "1" / str(minor) / "worker.zip"
            changed = bytearray(archive.read_bytes())
            changed[len(changed) // 2] ^= 1
            archive.write_bytes(changed)

    def _wall(self) -> int:
        return int(time.time() - self.ago) * 1000

    def sign(self, lifetime: int) -> None:
        """Once more, to expire so many seconds after that."""
        sign_again(self.folder, KEY, self._wall(), lifetime=lifetime)

    def add_archive(self, minor: int, archive: bytes, *, kept: int | None = None) -> None:
        """An archive that `repo add` would refuse, signed all the same; `kept`: so many bytes are there."""
        path = f"workers/ci/jenkins/1/{minor}/worker.zip"
        before = read_manifest((self.folder / "manifest.json").read_bytes(), "manifest")
        file = File.of(path, archive)
        manifest = replace(before, serial=before.serial + 1, files=(*before.files, file))
        (self.folder / path).parent.mkdir(parents=True)
        (self.folder / path).write_bytes(archive[:kept])
        (self.folder / "manifest.json").write_bytes(sign(manifest, KEY).render())
        self._evil = (path, before.serial + 1)

    def withdraw(self) -> None:
        """Take the last such archive out again."""
        path, _ = self._evil
        (self.folder / path).unlink()
        sign_again(self.folder, KEY, int(time.time() * 1000))

    def sign_with_another_key(self) -> None:
        """As somebody does who got at the files, and not at the key."""
        sign_again(self.folder, OTHER_KEY, int(time.time() * 1000), new_key=True)

    def sign_with_the_pinned_key(self) -> None:
        sign_again(self.folder, KEY, int(time.time() * 1000), new_key=True)

    def values(self, *versions: str, **more: Any) -> dict[str, Any]:
        """The logical configuration of a connector that runs these."""
        return {
            "product": "Jenkins",
            "repository": f"file://{self.folder}",
            "repository_keys": [str(KEY.public)],
            "versions": list(versions),
            "keys": {"ledger": str(self.ledger), "token": "sesame-open-4711"},
            "gate": {"seconds": 1.5},
            "worker": {"hang": 3},
            **more,
        }

    def executed(self) -> dict[str, Counter[str]]:
        """By version: how often it executed each command."""
        found: dict[str, Counter[str]] = {}
        for line in self.ledger.read_text().splitlines():
            uuid, version = line.split()
            found.setdefault(version, Counter())[uuid] += 1
        return found


def assignments(values: dict[str, Any]) -> list[str]:
    """As `zconnector config set` takes them."""
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]
