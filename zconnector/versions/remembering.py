"""What the beginning and the end of a rollout change of what is remembered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from zconnector.versions.editions import Edition, edition_of, ordered, versions_of
from zconnector.versions.states import CONFIGURATION, CRASH_LOOP, UPDATE, Ended, Memory, Outcome, Plan, Waits


def settled(memory: Memory, plan: Plan, before: Mapping[Edition, str]) -> tuple[Memory, Plan]:
    """With the content of what runs for what is added of the same version and product.

    What ran `before`, and may run again, has the content that it had, unless it is an update: that takes what
    the repository has. Then the one of before keeps its content, for a rollback: what is added is another
    edition, with a number of its own.
    """
    values, contents = dict(memory.values), dict(memory.contents)
    given, others = memory.given, dict[int, int]()
    new = []
    for edition in plan.new:
        if edition in plan.added:
            content = _content_of_old(memory, plan, edition)
            if not content and plan.why != UPDATE:
                content = before.get(edition, "")
            if edition in before and before[edition] != content:
                if edition.number not in others:
                    given += 1
                    others[edition.number], values[given] = given, values[edition.number]
                edition = edition._replace(number=others[edition.number])
            if content:
                contents.setdefault(edition, content)
        new.append(edition)
    plan = replace(plan, new=ordered(new))
    return replace(memory, values=values, contents=contents, given=given), plan


def _content_of_old(memory: Memory, plan: Plan, edition: Edition) -> str:
    old = edition_of(edition.version, plan.old)
    if old is None or memory.values[old.number].product != memory.values[edition.number].product:
        return ""
    return memory.contents.get(old, "")


def trial(before: Ended | None, ended: Ended) -> Ended | None:
    """What is on trial after a rollout: what took a place in it, else what did before and still has it."""
    plan = ended.plan
    if ended.outcome is Outcome.ROLLED_BACK:
        return before
    if plan.removed and plan.added and not plan.back:
        return ended
    if before is None or any(edition not in plan.new for edition in before.plan.added):
        return None
    return before


def waiting(before: Waits | None, ended: Ended, passing: bool) -> Waits | None:
    """What is tried again: what a configuration wanted, until somebody has got something else."""
    plan = ended.plan
    if plan.why == CONFIGURATION:
        tries = before.tries + 1 if before else 1
        return Waits(versions_of(plan.new), ended.reason, tries) if passing else None
    by_itself = plan.why == CRASH_LOOP
    return before if by_itself or ended.outcome is Outcome.ROLLED_BACK else None


def pruned(memory: Memory) -> Memory:
    """Without the values and contents of editions that nobody goes back to."""
    tried = memory.trial.plan.old if memory.trial else ()
    named = {*memory.running, *(memory.previous or ()), *tried}
    numbers = {memory.number, *(edition.number for edition in named)}
    return replace(
        memory,
        values={number: values for number, values in memory.values.items() if number in numbers},
        contents={edition: sha256 for edition, sha256 in memory.contents.items() if edition in named},
    )
