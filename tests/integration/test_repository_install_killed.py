"""SIGKILL at each step of an install, of a removal: a folder is whole or not there; the next one ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repositories import JENKINS, publish, source, worker_folder
from zconnector.configuration.pivot import Version
from zconnector.repository.cleaning import CleanStep, clean, installed_workers
from zconnector.repository.install import Installed, Step, install, installed_versions
from zconnector.repository.layout import WorkerName

VICTIM = """
import os, signal, sys
from pathlib import Path
from tests.support.repositories import JENKINS, source
from zconnector.configuration.pivot import Version
from zconnector.repository.install import Step, install

def reached(step):
    if step == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

install(source(Path(sys.argv[1])), Path(sys.argv[2]), JENKINS, Version(1, 1), reached=reached)
"""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("step", Step)
def test_killed_after(step: Step, tmp_path: Path) -> None:
    repository, root = tmp_path / "repository", tmp_path / "root"
    publish(repository, worker_folder(tmp_path / "w10"), worker_folder(tmp_path / "w11", 1, 1, says="1.1"))
    before = install(source(repository), root, JENKINS, Version(1, 0))
    done = subprocess.run(
        [sys.executable, "-c", VICTIM, str(repository), str(root), step],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr

    there = installed_versions(root, JENKINS)
    assert [one.version for one in there] == [Version(1, 1)] * (step is Step.RENAMED) + [Version(1, 0)]
    assert there[-1] == before
    assert bool(os.listdir(root / "fresh")) == (step in (Step.MADE, Step.UNPACKED, Step.SYNCED))

    after = install(source(repository), root, JENKINS, Version(1, 1))
    assert subprocess.run([after.executable], capture_output=True, check=True).stdout == b"1.1\n"
    assert os.listdir(root / "fresh") == []
    assert installed_versions(root, JENKINS) == [after, before]


REMOVER = """
import os, signal, sys
from pathlib import Path
from tests.support.repositories import JENKINS
from zconnector.repository.cleaning import clean
from zconnector.repository.layout import WorkerName

def reached(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

worker = WorkerName("ci", sys.argv[4])
clean(Path(sys.argv[1]), worker, lambda version, sha256: sha256 == sys.argv[3], reached)
"""


def remove_and_be_killed(root: Path, step: CleanStep, old: Installed) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REMOVER, str(root), step, old.sha256, old.worker.product],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("step", CleanStep)
def test_killed_while_a_content_is_removed(step: CleanStep, tmp_path: Path) -> None:
    """The content of before, of a version that stays."""
    repository, root = tmp_path / "repository", tmp_path / "root"
    publish(repository, worker_folder(tmp_path / "w10"))
    old = install(source(repository), root, JENKINS, Version(1, 0))
    publish(repository, worker_folder(tmp_path / "w10", says="new"), again=True)
    new = install(source(repository), root, JENKINS, Version(1, 0))
    remove_and_be_killed(root, step, old)

    assert installed_versions(root, JENKINS) == [new] + [old] * (step is CleanStep.CHOSEN)
    assert bool(os.listdir(root / "fresh")) == (step is CleanStep.AWAY)
    for one in installed_versions(root, JENKINS):
        says = subprocess.run([one.executable], capture_output=True, check=True).stdout
        assert says == (b"new\n" if one == new else b"1.0\n")

    clean(root, JENKINS, lambda _, sha256: sha256 == old.sha256)
    assert os.listdir(root / "fresh") == []
    assert installed_versions(root, JENKINS) == [new]


@pytest.mark.parametrize("step", CleanStep)
def test_killed_while_a_former_product_is_removed(step: CleanStep, tmp_path: Path) -> None:
    """Its last content: the folder of the product goes with it, then or the next time."""
    repository, root = tmp_path / "repository", tmp_path / "root"
    gitlab = worker_folder(tmp_path / "gitlab", configured=False)
    (gitlab / "worker.yaml").write_text("type: Ci\nproduct: GitLab\nmajor: 1\nminor: 0\n")
    publish(repository, worker_folder(tmp_path / "w10"), gitlab)
    former = WorkerName("ci", "gitlab")
    runs = install(source(repository), root, JENKINS, Version(1, 0))
    old = install(source(repository), root, former, Version(1, 0))
    remove_and_be_killed(root, step, old)

    assert installed_workers(root, "ci") == [former, JENKINS]
    assert installed_versions(root, former) == [old] * (step is CleanStep.CHOSEN)

    for worker in installed_workers(root, "ci"):
        clean(root, worker, lambda *_, worker=worker: worker == former)
    assert os.listdir(root / "fresh") == []
    assert installed_workers(root, "ci") == [JENKINS]
    assert installed_versions(root, JENKINS) == [runs]
