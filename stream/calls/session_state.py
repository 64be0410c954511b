"""The life of a session, and nothing else: NEW -> CONNECTING -> LIVE -> DRAINING -> CLOSED.

A call whose caller has gone waits in AWAY, between LIVE (or CONNECTING) and the next CONNECTING.
"""

from __future__ import annotations

import enum


class SessionState(enum.Enum):
    """Where a session is in its life."""

    NEW = "new"  # a seat is taken, nothing was said to the peer
    CONNECTING = "connecting"  # the offer is being answered, or was and media has not come through
    LIVE = "live"  # media flows
    AWAY = "away"  # the caller has gone and may come back
    DRAINING = "draining"  # it ends: everything is being freed
    CLOSED = "closed"  # nothing is left


NEXT_STATES: dict[SessionState, tuple[SessionState, ...]] = {
    SessionState.NEW: (SessionState.CONNECTING, SessionState.DRAINING),
    SessionState.CONNECTING: (SessionState.LIVE, SessionState.AWAY, SessionState.DRAINING),
    SessionState.LIVE: (SessionState.AWAY, SessionState.DRAINING),
    SessionState.AWAY: (SessionState.CONNECTING, SessionState.DRAINING),
    SessionState.DRAINING: (SessionState.CLOSED,),
    SessionState.CLOSED: (),
}


class IllegalTransition(RuntimeError):
    """A session was asked to go somewhere it cannot go from where it is."""


def checked_transition(now: SessionState, wanted: SessionState) -> SessionState:
    """`wanted`, if it may follow `now`.

    Raises:
        IllegalTransition: it may not.
    """
    if wanted not in NEXT_STATES[now]:
        raise IllegalTransition(f"a session cannot go from {now.value} to {wanted.value}")
    return wanted
