"""The signed repository of the chaos: versions of every quality; away now and then, or half written."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.repositories import KEY, publish

ROOT = Path(__file__).parents[2]
TYPE, PRODUCT = "Vcs", "Chaos"
QUALITIES = {
    "good": "serves",
    "crash": "ends at its start",
    "early": "ends within its gate",
    "hang": "stands still within its gate",
    "lacks": "does not declare a command of its configuration",
    "refuses": "fails its canary",
    "tampered": "its archive is not the one that was signed",
    "tired": "passes its gate, and then crashes over and over",
}
"""Of a version. All but good and tired never get ordinary traffic."""
SERVE = frozenset({"good", "tired"})
BASE = "1.0"
"""Good, and there from the start."""
STUB = """#!/usr/bin/env python3
import sys

sys.path.insert(0, {root!r})
from tests.chaos.version_worker import run

run({how!r}, {api!r}, {major}, {minor})
"""
PIVOT = """name: {type}
major: {major}
minor: {minor}
commandtypes:
  - name: PULL
    schema: '{{"type": "object"}}'
  - name: MIRROR
keys:
  - {{name: ledger, type: string, mandatory: true}}
  - {{name: token, type: string, defaultValue: none}}
"""
CANARY = {"command": "PULL", "payload": {"body": "canary", "takes": 0, "canary": True}, "timeout": 5}


class Releases:
    """A repository and the ledger of what its versions do. One change at a time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._authored = folder / "authored"
        """What the author has; `repository` is a copy of it that is served."""
        self._there = folder / "repository"
        self._away = folder / "repository-away"
        self._sources = folder / "sources"
        self._ledger = folder / "ledger"
        self._ledger.touch(mode=0o600)
        self._changing = asyncio.Lock()
        self._halves: list[str] | None = None
        """Archives that are there by half; None: no copy is under way."""
        self.qualities: dict[str, str] = {}

    @property
    def _home(self) -> Path:
        return self._away if self._away.exists() else self._there

    def values(self, *versions: str) -> dict[str, Any]:
        """The logical configuration of a connector that runs these."""
        return {
            "product": PRODUCT,
            "repository": f"file://{self._there}",
            "repository_keys": [str(KEY.public)],
            "versions": list(versions),
            "keys": {"ledger": str(self._ledger), "token": "none"},
            "gate": {"seconds": 1.5, "canary": CANARY},
            "worker": {"hang": 3, "drain": 10},
        }

    async def add(self, version: str, quality: str) -> None:
        """Publish it, as `repo add` does, if it is not there; by half while a copy is under way."""
        async with self._changing:
            if version not in self.qualities:
                await asyncio.to_thread(self._add, version, quality)
                self.qualities[version] = quality
                self._halve(version)

    def _add(self, version: str, quality: str) -> None:
        major, _, minor = version.partition(".")
        source = self._sources / version
        source.mkdir(parents=True)
        api = "v1" if int(minor) % 2 else "gandalf"
        worker = source / "worker"
        worker.write_text(STUB.format(root=str(ROOT), how=quality, api=api, major=major, minor=minor))
        worker.chmod(0o755)
        names = {"type": TYPE, "major": major, "minor": minor}
        text = "type: {type}\nproduct: {product}\nmajor: {major}\nminor: {minor}\n"
        (source / "worker.yaml").write_text(text.format(product=PRODUCT, **names))
        (source / "pivot.yaml").write_text(PIVOT.format(**names))
        done = publish(self._authored, source, wall=int(time.time() * 1000))
        for path in (*done.changed, "manifest.json"):
            self._serve(path, (self._authored / path).read_bytes())
        if quality == "tampered":
            path = _archive(version)
            content = bytearray((self._authored / path).read_bytes())
            content[len(content) // 2] ^= 1
            self._serve(path, bytes(content))

    def _serve(self, path: str, content: bytes) -> None:
        """Its readers see the file of before or this one."""
        file = self._home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}")
        partial.write_bytes(content)
        partial.replace(file)

    def _halve(self, version: str) -> None:
        path = _archive(version)
        if self._halves is not None and self.qualities[version] != "tampered":
            content = (self._authored / path).read_bytes()
            self._halves.append(path)
            self._serve(path, content[: len(content) // 2])

    # ---- faults

    async def hide(self) -> None:
        """The repository is away."""
        async with self._changing:
            self._there.rename(self._away)

    async def show(self) -> None:
        async with self._changing:
            self._away.rename(self._there)

    async def begin_copy(self) -> str:
        """Archives arrive slowly: the newest, and what is published until `end_copy`, are there by half."""
        async with self._changing:
            self._halves = []
            newest = list(self.qualities)[-1]
            self._halve(newest)
            return newest

    async def end_copy(self) -> None:
        async with self._changing:
            for path in self._halves or []:
                self._serve(path, (self._authored / path).read_bytes())
            self._halves = None

    # ---- what they did

    def did(self) -> Iterator[dict[str, Any]]:
        """The lines of the ledger."""
        for line in self._ledger.read_text().splitlines():
            yield json.loads(line)


def _archive(version: str) -> str:
    major, _, minor = version.partition(".")
    return f"workers/{TYPE.lower()}/{PRODUCT.lower()}/{major}/{minor}/worker.zip"
