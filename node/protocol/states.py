"""The states of a connection.

    INITIATING ──RESPONSE──► ESTABLISHED ◄──first DATA── RESPONDING
         │                     │     │                       │
         └──── close ──────────┤     ├──── peer's CLOSE ─────┤
                               ▼     ▼
                           CLOSING  DRAINING ──3 PTO──► CLOSED ◄── idle, handshake time-out

While closing nothing the peer says is read any more: every packet of it gets CLOSE again.
"""

from __future__ import annotations

from enum import Enum


class ConnectionState(Enum):
    """Where a connection is in its life."""

    __hash__ = object.__hash__  # Enum's own is Python code, and this is asked for every packet

    #: We sent INITIATION and wait for RESPONSE.
    INITIATING = "initiating"
    #: We answered an INITIATION and wait for the proof that the initiator holds the keys.
    RESPONDING = "responding"
    ESTABLISHED = "established"
    #: We sent CLOSE and answer what still comes with CLOSE (SPEC 9-1).
    CLOSING = "closing"
    #: The peer sent CLOSE: we say nothing any more.
    DRAINING = "draining"
    CLOSED = "closed"


_OPEN = (ConnectionState.INITIATING, ConnectionState.RESPONDING, ConnectionState.ESTABLISHED)

#: (state, what happened) → next state. What is not here cannot happen, and is our bug.
TRANSITIONS: dict[tuple[ConnectionState, str], ConnectionState] = {
    (ConnectionState.INITIATING, "response"): ConnectionState.ESTABLISHED,
    (ConnectionState.RESPONDING, "confirmed"): ConnectionState.ESTABLISHED,
    **{(state, "close"): ConnectionState.CLOSING for state in _OPEN},
    **{(state, "peer closed"): ConnectionState.DRAINING for state in _OPEN},
    **{(state, "gone"): ConnectionState.CLOSED for state in ConnectionState},
}

#: States in which frames are taken and sent.
ACTIVE = frozenset({ConnectionState.RESPONDING, ConnectionState.ESTABLISHED})
#: States in which the application is done with the connection.
OVER = frozenset({ConnectionState.CLOSING, ConnectionState.DRAINING, ConnectionState.CLOSED})
