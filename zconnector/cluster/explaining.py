"""`explain`: what a member knows of one uuid, from the journal, its memory and who is present. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zconnector.clock import Instant
from zconnector.cluster.commands import Commands
from zconnector.cluster.context import Context
from zconnector.cluster.store import Entry, Trail
from zconnector.errors import Reason, Refusal
from zconnector.messages.message import is_completion

MAX_LINES = 100
"""Lines of the journal that are told of one uuid."""


class Explaining:
    """Asks every part of a member about a uuid."""

    def __init__(self, context: Context, commands: Commands, member: str) -> None:
        self._context = context
        self._commands = commands
        self._member = member

    def explain(self, args: Mapping[str, Any], now: Instant) -> dict[str, Any]:
        """Where it is, what happened to it, and what it waits for.

        Raises:
            Refusal: BAD_ARGUMENT; NOT_FOUND for a uuid that this member never heard of, or has forgotten.
            StorageError: the journal cannot be read.
        """
        uuid = args.get("uuid")
        if not isinstance(uuid, str) or not 0 < len(uuid) <= 64:
            raise Refusal(Reason.BAD_ARGUMENT, f"uuid must be a text of 1 to 64 characters, not {uuid!r:.80}")
        trails = self._context.reads.trails(uuid, MAX_LINES)
        known = {trail.tenant for trail in trails}
        others = {*self._context.traces.tenants(uuid), *self._commands.tenants_with(uuid)} - known
        trails += [Trail(tenant, "", 0, ()) for tenant in sorted(others)]
        if not trails:
            raise Refusal(Reason.NOT_FOUND, f"cluster member {self._member} has no record of {uuid}", uuid)
        told = [self._told(uuid, trail, now) for trail in trails]
        return {**told[0], "others": told[1:]} if len(told) > 1 else told[0]

    def _told(self, uuid: str, trail: Trail, now: Instant) -> dict[str, Any]:
        tenant = trail.tenant
        entries = [line.entry for line in trail.lines if line.entry is not None]
        message = next((entry for entry in entries if entry.uuid == uuid), None)
        ends = [entry for entry in entries if entry.kind == "REPLY" and is_completion(_event(entry))]
        steps = self._context.traces.of(tenant, uuid)
        history: list[dict[str, Any]]
        history = [{"at": entry.timestamp, "what": _line(entry, uuid)} for entry in entries]
        history += [{"at": 0, "what": line.damage} for line in trail.lines if line.entry is None]
        if trail.target:
            what = f"resolved to connector {trail.target}"
            history.append({"at": trail.resolved_at, "what": what})
        history += [{"at": at, "what": what} for at, what in steps]
        history.sort(key=lambda step: step["at"])
        present = [peer.instance for peer in self._context.presence.routes(tenant, trail.target)]
        state, waits_for = self._state(uuid, trail, message, ends, steps)
        return {
            "uuid": uuid,
            "where": f"cluster member {self._member}",
            "tenant": tenant,
            "state": state,
            "about": _about(message),
            "target": trail.target,
            "target_present": present,
            "history": history,
            "waits_for": waits_for,
        }

    def _state(
        self,
        uuid: str,
        trail: Trail,
        message: Entry | None,
        ends: list[Entry],
        steps: list[tuple[int, str]],
    ) -> tuple[str, str]:
        """Its state here, and the one thing that it waits for ("": nothing)."""
        if ends:
            return "REPLIED", ""
        if message is not None and message.kind != "COMMAND":
            return "JOURNALLED", ""
        under_way = self._commands.under_way(trail.tenant, uuid)
        if under_way:
            return "UNDER_WAY", under_way
        if not trail.target:
            return "REFUSED", ""
        target = trail.target
        if not self._context.presence.routes(trail.tenant, target):
            return "RESOLVED", f"connector {target}, which has no session with any aggregator instance"
        if any(what.startswith("receipt ON_GOING") for _, what in steps):
            return "RECEIPTED", f"its reply: connector {target} has it"
        return "RESOLVED", f"a receipt of connector {target} (none was seen since this member started)"


def _event(entry: Entry) -> str:
    return str(entry.header.get("event", ""))


def _line(entry: Entry, uuid: str) -> str:
    header = entry.header
    source = header.get("source", "?")
    if entry.kind == "COMMAND":
        major = header.get("major", 0)
        version = f" (major {major})" if major else ""
        return f"command {header.get('type')} {header.get('command')}{version} of {source} journalled"
    if entry.kind == "REPLY":
        what = "reply" if entry.uuid != uuid else f"reply about {header.get('reference')}"
        reason = f" ({header['reason']})" if header.get("reason") else ""
        return f"{what} {header.get('event')}{reason} of {source} to {header.get('recipient')} journalled"
    return f"event {header.get('topic')} {header.get('event')} of {source} journalled"


def _about(message: Entry | None) -> dict[str, Any]:
    """The fields that say what a message is, as it was journalled."""
    if message is None:
        return {}
    names = ("type", "command", "major", "source", "topic", "event", "reference", "timeout", "accept_until")
    return {name: message.header[name] for name in names if name in message.header}
