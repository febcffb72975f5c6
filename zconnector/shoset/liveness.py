"""What time does to sessions (WIRE.md sections 4, 5): beats, silence, tries to open and to give up. Pure."""

from __future__ import annotations

from zconnector.actions import Actions
from zconnector.clock import Instant, earliest
from zconnector.shoset.credit import Credit
from zconnector.shoset.peers import Peer
from zconnector.shoset.sessions import Sessions
from zconnector.shoset.uplinks import UplinkState


class Liveness:
    """Invariant: before `_next_silence` no greeted peer can have been silent for too long."""

    def __init__(self, sessions: Sessions, credit: Credit) -> None:
        self._sessions = sessions
        self._credit = credit
        self._next_beat = 0.0
        self._next_silence = 0.0

    def tick(self, now: Instant) -> Actions:
        """Give credit to who no longer owes, drop the dead, open what is due, beat."""
        actions: Actions = []
        sessions, mono = self._sessions, now.mono
        for peer in sessions.paces.owing:
            actions += self._credit.grant(peer, now)
        beats = mono >= self._next_beat
        look = beats or mono >= self._next_silence
        if look:
            for peer in [p for p in sessions.below.values() if self._silent(p, now)]:
                actions += sessions.forget(peer, "silent", now)
        for uplink in sessions.uplinks.all():
            above = uplink.greeted
            if above is not None:
                if look and self._silent(above, now):
                    actions += sessions.end_uplink(uplink, "silent", now)
            elif uplink.due <= mono and uplink.state is not UplinkState.WAITING:
                opening = uplink.state is UplinkState.OPENING
                actions += sessions.end_uplink(uplink, "no connection" if opening else "no WELCOME", now)
        if not sessions.leaving:
            actions += sessions.uplinks.open_due(now)
        if look:  # at each beat, so that no timer of its own is needed while all are heard
            greeted = [uplink.greeted for uplink in sessions.uplinks.all()]
            peers = [*sessions.below.values(), *filter(None, greeted)]
            heard = min([peer.heard for peer in peers], default=mono)
            self._next_silence = heard + sessions.settings.dead_after
            if beats:
                self._next_beat = mono + sessions.settings.heartbeat
                actions += [self._credit.beat(peer) for peer in peers]
        return actions

    def deadline(self) -> float | None:
        """When `tick` is due: the next beat, silence to notice, uplink, or peer that owes no longer.

        None: this process has no session, and wants none.
        """
        sessions = self._sessions
        if not sessions.below and not len(sessions.uplinks):
            return None
        uplink = None if sessions.leaving else sessions.uplinks.deadline()
        return earliest(self._next_beat, self._next_silence, uplink, sessions.paces.deadline())

    def _silent(self, peer: Peer, now: Instant) -> bool:
        # The same sum as in `_next_silence`: rounding must not leave a deadline behind that its tick ignores.
        return peer.heard + self._sessions.settings.dead_after <= now.mono
