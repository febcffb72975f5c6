"""Who may be here: declared components, their secrets and keys (DESIGN section 6).

Validation, in order: declared, not revoked, not bound to another key, secret right (argon2id, off
the loop, once for each process start), bound to this key (the store decides a race). What a process has
proved is remembered by a salted digest of its secret, so that its further sessions cost nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from zconnector.actions import Actions, Verify
from zconnector.clock import Instant
from zconnector.cluster.health import Commits
from zconnector.cluster.store import Bind, Component, ComponentId
from zconnector.errors import Reason, Refusal

Verdict = Component | Refusal
Then = Callable[[Instant, Verdict], Actions]

MAX_CHECKS = 1_024
"""Secrets being checked at the same time; each waits in the bounded pool."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A process says who it is and shows a secret."""

    component: ComponentId
    type: str
    boot: str
    key: str
    """CURVE public key, as ZAP saw it."""
    digest: bytes
    """Salted digest of the secret that it showed."""


class Components:
    """All declared components of all tenants, as committed.

    Invariants: `_proved` holds at most one claim for each component, and none of a revoked one;
    `_by_type` is made from `_all` on demand and never older than it.
    """

    def __init__(self, commits: Commits, rng: random.Random) -> None:
        self._commits = commits
        self._salt = rng.randbytes(32)
        self._all: dict[tuple[str, str, str, str], Component] = {}
        """By ComponentId."""
        self._by_type: dict[tuple[str, str], list[Component]] = {}
        self._proved: dict[ComponentId, Claim] = {}
        self._checks: dict[Claim, list[Then]] = {}

    def load(self, components: Iterable[Component]) -> None:
        """Take what the store has."""
        self._all = {component.identity: component for component in components}
        self._by_type.clear()

    def put(self, component: Component) -> None:
        """A component was declared or changed (committed)."""
        self._all[component.identity] = component
        self._by_type.clear()
        self._proved.pop(component.identity, None)

    def all(self, tenant: str = "", kind: str = "") -> list[Component]:
        """Components in the order of their names; revoked ones too."""
        found = [c for c in self._all.values() if tenant in ("", c.tenant) and kind in ("", c.kind)]
        return sorted(found, key=lambda c: c.identity)

    def get(self, identity: ComponentId) -> Component | None:
        """A component; revoked ones too."""
        return self._all.get(identity)

    def connector(self, tenant: str, name: str) -> Component | None:
        """A connector that may work."""
        found = self._all.get(
            (tenant, "connector", name, "0")
        )  # a ComponentId; to make one costs more than to find it
        return None if found is None or found.revoked else found

    def connectors(self, tenant: str, connector_type: str) -> list[Component]:
        """All connectors of a type that may work, in the order of their names."""
        place = (tenant, connector_type)
        if place not in self._by_type:
            found = self.all(tenant, "connector")
            self._by_type[place] = [c for c in found if c.type == connector_type and not c.revoked]
        return self._by_type[place]

    def instances(self, tenant: str, name: str) -> list[Component]:
        """The instances of an aggregator whose endpoint is known."""
        found = self.all(tenant, "aggregator")
        return [c for c in found if c.name == name and c.endpoint and not c.revoked]

    def learnt(self, identity: ComponentId, endpoint: str, server_key: str) -> None:
        """Where an aggregator instance is reached (committed)."""
        known = self._all.get(identity)
        if known is not None:
            self._all[identity] = replace(known, endpoint=endpoint, server_key=server_key)

    def refusal(self, identity: ComponentId, key: str) -> Refusal | None:
        """Why a component cannot be validated whatever its secret is; None: it depends on the secret."""
        known = self._all.get(identity)
        if known is None:
            elsewhere = any(c.key == key and c.tenant != identity.tenant for c in self._all.values())
            if elsewhere:
                return Refusal(Reason.WRONG_TENANT, f"this key belongs to another tenant than {identity}")
            return Refusal(Reason.UNDECLARED, f"{identity} is not declared: zconnector secret create")
        if known.revoked:
            return Refusal(Reason.REVOKED, f"the secret of {identity} was revoked")
        if known.key and known.key != key:
            detail = f"{identity} is bound to another key: zconnector secret rebind"
            return Refusal(Reason.WRONG_KEY, detail)
        return None

    def validate(
        self,
        identity: ComponentId,
        connector_type: str,
        boot: str,
        key: str,
        secret: bytes,
        then: Then,
        now: Instant,
    ) -> Actions:
        """Find out whether a process is the component it says; `then` gets the component or why not."""
        digest = hashlib.sha256(self._salt + secret).digest()
        claim = Claim(identity, connector_type, boot, key, digest)
        refusal = self._refusal_of(claim)
        if refusal is not None:
            return then(now, refusal)
        known = self._all[identity]
        if self._proved.get(identity) == claim and known.key == key:
            return then(now, known)
        waiting = self._checks.get(claim)
        if waiting is not None:  # the same process over another aggregator
            waiting.append(then)
            return []
        if len(self._checks) >= MAX_CHECKS:
            return then(now, Refusal(Reason.BUSY, "too many secrets are being checked"))
        self._checks[claim] = [then]
        return [Verify(secret, known.hashed, lambda later, right: self._verified(claim, known, right, later))]

    def _refusal_of(self, claim: Claim) -> Refusal | None:
        refusal = self.refusal(claim.component, claim.key)
        if refusal is not None:
            return refusal
        known = self._all[claim.component]
        if known.type != claim.type:
            detail = f"{claim.component} is declared with type {known.type!r}, not {claim.type!r}"
            return Refusal(Reason.UNDECLARED, detail)
        return None

    def _verified(self, claim: Claim, checked: Component, right: bool, now: Instant) -> Actions:
        if not right:
            return self._tell(claim, Refusal(Reason.WRONG_SECRET, f"wrong secret of {claim.component}"), now)
        refusal = self._refusal_of(claim)  # it may have been revoked or bound meanwhile
        if refusal is None and self._all[claim.component].hashed != checked.hashed:
            refusal = Refusal(Reason.WRONG_SECRET, f"{claim.component} has a new secret")
        if refusal is not None:
            return self._tell(claim, refusal, now)
        if self._all[claim.component].key == claim.key:
            return self._proven(claim, now)
        return self._commits.commit(
            [Bind(claim.component, claim.key)],
            lambda later, results: self._bound(claim, results[0], later),
            lambda later: self._tell(
                claim, Refusal(Reason.STORAGE_FAILED, "the key could not be stored"), later
            ),
        )

    def _bound(self, claim: Claim, key: str, now: Instant) -> Actions:
        known = self._all.get(claim.component)
        if known is not None and key:
            self._all[claim.component] = replace(known, key=key)
        refusal = self._refusal_of(claim)
        return self._proven(claim, now) if refusal is None else self._tell(claim, refusal, now)

    def _proven(self, claim: Claim, now: Instant) -> Actions:
        self._proved[claim.component] = claim
        return self._tell(claim, self._all[claim.component], now)

    def _tell(self, claim: Claim, verdict: Verdict, now: Instant) -> Actions:
        return [action for then in self._checks.pop(claim, ()) for action in then(now, verdict)]
