"""What two ends say of themselves as a session begins, and of faults of the other (WIRE.md section 4)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal
from zconnector.messages.codec import ACCEPTED_VERSIONS
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message, clipped
from zconnector.settings import SessionSettings
from zconnector.shoset.identity import Identity, fresh_uuid
from zconnector.shoset.peers import Peer
from zconnector.shoset.uplinks import Target


def peer_above(me: Identity, link: int, target: Target, session: str, now: Instant) -> Peer:
    """Who is meant to answer at a target; its WELCOME says who that is (`take_welcome`)."""
    return Peer(
        link=link,
        upward=True,
        kind="aggregator" if me.kind == "connector" else "member",
        tenant=me.tenant,
        name="",
        instance=target.instance,
        session=session,
        key=target.server_key,
        endpoint=target.endpoint,
        server_key=target.server_key,
        heard=now.mono,
    )


def peer_below(link: bytes, key: str, hello: Message, now: Instant) -> Peer:
    """Who says HELLO, by what it says of itself; `key` is the one of its connection."""
    return Peer(
        link=link,
        upward=False,
        kind=hello.text("kind"),
        tenant=hello.text("tenant"),
        name=hello.text("name"),
        instance=hello.text("instance"),
        boot=hello.text("boot"),
        session=hello.text("session"),
        key=key,
        type=hello.text("type"),
        endpoint=hello.text("endpoint"),
        server_key=hello.text("server_key"),
        hello=hello.header,
        packs=bool(hello.header.get("packs")),
        credit=hello.number("credit"),
        heard=now.mono,
    )


def hello(me: Identity, session: str, settings: SessionSettings, more: Mapping[str, Any]) -> Message:
    """The first message of an end that connects. `more`: fields of its role."""
    header: dict[str, Any] = {
        "versions": list(ACCEPTED_VERSIONS),
        "kind": me.kind,
        "tenant": me.tenant,
        "name": me.name,
        "instance": me.instance,
        "boot": me.boot,
        "session": session,
        "credit": settings.credit,
        "packs": True,
    }
    told = {"type": me.type, "endpoint": me.endpoint, "server_key": me.server_key}
    header.update({name: value for name, value in told.items() if value})
    header.update(more)
    return Message(Kind.HELLO, header)


def secret(me: Identity, rng: random.Random, now: Instant) -> Message:
    """What goes with HELLO, to be validated."""
    header = {"uuid": fresh_uuid(rng), "command": "VALIDATE", "timestamp": now.wall}
    return Message(Kind.SECRET, header, me.secret)


def secret_refused(reason: Reason, detail: str, reference: str) -> Message:
    """The answer to a SECRET that is wrong."""
    header = {"reference": reference, "valid": False, "reason": reason, "detail": clipped(detail)}
    return Message(Kind.SECRET, header, flags=Flag.ANSWER)


def welcome(me: Identity, peer: Peer, settings: SessionSettings, more: Mapping[str, Any]) -> Message:
    """The answer to a HELLO, and anew when the peer is validated or what it carries has changed."""
    header: dict[str, Any] = {
        "boot": me.boot,
        "name": me.name,
        "instance": me.instance,
        "session": peer.session,
        "validated": peer.validated,
        "credit": settings.credit,
        "heartbeat": int(settings.heartbeat * 1000),
        "packs": True,
        **more,
    }
    return Message(Kind.WELCOME, header)


def take_welcome(peer: Peer, welcome: Message) -> None:
    """A peer above has said who it is."""
    peer.name = welcome.text("name")
    peer.instance = welcome.text("instance")
    peer.boot = welcome.text("boot")
    peer.credit = welcome.number("credit")
    peer.packs = bool(welcome.header.get("packs"))


def speaks_our_version(hello: Message) -> Refusal | None:
    """Why a HELLO is of no version that this end speaks; None: one is."""
    theirs = hello.header["versions"]
    if set(ACCEPTED_VERSIONS) & {version for version in theirs if type(version) is int}:
        return None
    ours = list(ACCEPTED_VERSIONS)
    return Refusal(Reason.UNSUPPORTED_VERSION, f"peer speaks versions {theirs}, this end speaks {ours}")


def error(reason: Reason, detail: str, reference: str = "") -> Message:
    """What the other end did wrong; `reference`: uuid of the message, if it is about one."""
    header: dict[str, Any] = {"reason": reason, "detail": clipped(detail)}
    if reference:
        header["reference"] = reference
    return Message(Kind.ERROR, header)


def refusal_of(message: Message) -> Refusal:
    """What an ERROR, or an answer to a SECRET, says. A reason that is not known: NOT_VALIDATED."""
    try:
        reason = Reason(message.text("reason"))
    except ValueError:
        reason = Reason.NOT_VALIDATED
    return Refusal(reason, message.text("detail"))
