"""Dead letters over every store: what was told is there after a SIGKILL, and each change is one commit."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_queue_restart import NOW, Shell, command
from zconnector.actions import Actions, Caller
from zconnector.clock import Instant
from zconnector.queue.letters import LetterFilter
from zconnector.queue.local import LocalQueue
from zconnector.queue.memory import MemoryQueueStore
from zconnector.queue.sqlite import SqliteQueueStore
from zconnector.queue.store import QueueStore, scan_all
from zconnector.settings import QueueSettings

Open = Callable[[], QueueStore]


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "memory":
        rows = MemoryQueueStore().rows
        return lambda: MemoryQueueStore(rows)
    return lambda: SqliteQueueStore(tmp_path / "queue.db")


def dead(opener: Open, *uuids: str) -> Shell:
    """A queue in which these are dead letters."""
    shell = Shell(opener())
    assert shell.wait_command(shell.iterator("command"), 1) is None
    for uuid in uuids:
        shell.do(shell.queue.offer(command(uuid, b"\xff" + uuid.encode()), NOW, shell.hear))
    shell.do(shell.queue.cancel(Caller(b"c", 1), NOW))
    assert listed(shell) == list(uuids)
    return shell


def reopened(shell: Shell, opener: Open) -> Shell:
    """As after a SIGKILL, without what was not committed."""
    shell.store.close()
    return Shell(opener())


def listed(shell: Shell) -> list[str]:
    return [letter.uuid for letter in shell.queue.operators.letters(LetterFilter(), 100).letters]


def letter(shell: Shell, uuid: str) -> Any:
    found = shell.queue.operators.letter(uuid)
    assert found is not None
    return found


def test_letters_come_back_with_all_that_is_known_of_them(opener: Open) -> None:
    shell = dead(opener, "a", "b")
    rows = [found.row() for found in shell.queue.operators.letters(LetterFilter(), 9).letters]
    again = reopened(shell, opener)
    assert [found.row() for found in again.queue.operators.letters(LetterFilter(), 9).letters] == rows
    assert again.queue.operators.read(letter(again, "b")).payload == b"\xffb"
    again.store.close()


def test_edit_purge_and_replay_are_there_after_reopening(opener: Open) -> None:
    shell = dead(opener, "edited", "purged", "replayed", "left")
    operators = shell.queue.operators
    shell.do(operators.edit(letter(shell, "edited"), b"{}", NOW, shell.hear))
    shell.do(operators.purge_letters([letter(shell, "purged")], NOW, shell.hear))
    shell.do(operators.edit(letter(shell, "replayed"), b'{"n":1}', NOW, shell.hear))
    assert shell.heard[-3:] == [None, None, None]
    shell.do(operators.replay([letter(shell, "replayed")], lambda _: None, lambda _: None, NOW, shell.hear))
    ((_, new),) = shell.heard[-1].uuids
    shell = reopened(shell, opener)
    assert listed(shell) == ["edited", "left"]
    assert shell.queue.operators.read(letter(shell, "edited")).payload == b"{}"
    handed = shell.wait_command(shell.iterator("command"), 2)
    assert handed is not None
    assert (handed.args["uuid"], handed.args["replay_of"], handed.payload) == (new, "replayed", b'{"n":1}')
    shell.store.close()


def test_a_kill_before_the_commit_leaves_the_letter_and_after_it_the_command(opener: Open) -> None:
    """Never both, never neither, wherever it is killed."""
    for committed in (False, True):
        shell = dead(opener, "old") if not committed else Shell(opener())
        if not committed:
            shell.do(shell.queue.operators.edit(letter(shell, "old"), b"{}", NOW, shell.hear))
        (commit,) = shell.queue.operators.replay(
            [letter(shell, "old")], lambda _: None, lambda _: None, NOW, shell.hear
        )[1:]
        if committed:
            shell.store.commit(commit.writes)  # type: ignore[union-attr]
        shell = reopened(shell, opener)
        ready = shell.queue.depths()["commands"]["states"]["READY"]
        assert (listed(shell), ready) == (([], 1) if committed else (["old"], 0))
        shell.store.close()


def test_the_bounds_hold_over_every_store(opener: Open) -> None:
    store = opener()
    queue = LocalQueue(QueueSettings(max_dead=2), store, random.Random(1))
    queue.restore(scan_all(store), NOW)
    shell = Shell(store)
    shell.queue = queue
    shell.wait_command(shell.iterator("command"), 1)
    for uuid in ("a", "b", "c", "d"):
        shell.do(queue.offer(command(uuid, b"\xff"), NOW, shell.hear))
    for _ in range(3):
        shell.do(_tick(queue))
    assert listed(shell) == ["c", "d"]
    assert queue.depths()["dead"]["dropped"] == 2
    again = reopened(shell, opener)
    assert listed(again) == ["c", "d"]
    again.store.close()


def _tick(queue: LocalQueue) -> Actions:
    due = queue.deadline()
    return queue.tick(Instant(NOW.mono, NOW.wall)) if due is not None and due <= NOW.mono else []


def test_a_pause_is_there_after_reopening(opener: Open) -> None:
    shell = Shell(opener())
    shell.do(shell.queue.operators.pause("BUILD", NOW, shell.hear))
    shell.do(shell.queue.operators.pause("*", NOW, shell.hear))
    shell = reopened(shell, opener)
    assert shell.queue.operators.pauses.names() == ["*", "BUILD"]
    shell.do(shell.queue.offer(command("c1"), NOW, shell.hear))
    assert shell.wait_command(shell.iterator("command"), 1) is None
    shell.do(shell.queue.operators.resume("*", NOW, shell.hear))
    shell = reopened(shell, opener)
    assert shell.queue.operators.pauses.names() == []
    shell.store.close()


@pytest.mark.parametrize("name", ["a\0b", "\0", "pause/x", "üñ🎉", "'; DROP TABLE documents; --"])
def test_a_name_is_a_name_whatever_its_letters(opener: Open, name: str) -> None:
    shell = Shell(opener())
    shell.do(shell.queue.operators.pause(name, NOW, shell.hear))
    assert shell.heard == [None]
    shell = reopened(shell, opener)
    assert shell.queue.operators.pauses.names() == [name]
    shell.do(shell.queue.operators.resume(name, NOW, shell.hear))
    shell = reopened(shell, opener)
    assert shell.queue.operators.pauses.names() == []
    shell.store.close()
