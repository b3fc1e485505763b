"""States of BBRv3 and what each does (SPEC 8.1.3-1; draft-ietf-ccwg-bbr §5.1, §5.6.1).

::

      ┌──► STARTUP ──────────────┐
      │       ▼                  │
      │    DRAIN ────────────────┤
      │       ▼                  │
      ├──► PROBE_BW_DOWN ◄─┐ ────┤
      │       ▼            │     │
      ├──► PROBE_BW_CRUISE │ ────┤
      │       ▼            │     │
      │    PROBE_BW_REFILL │ ────┤
      │       ▼            │     │
      │    PROBE_BW_UP ────┘ ────┤
      │                          ▼
      └──────────────────── PROBE_RTT

What wins when an acknowledgement says several things: too much loss, then the cycle, then ProbeRTT.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from node.protocol.bbr.constants import UNBOUNDED


class State(Enum):
    """What a BBR sender is about."""

    __hash__ = object.__hash__  # Enum's own is Python code, and states are looked up at each acknowledgement

    #: Doubles its rate each round trip, to find the path's bandwidth.
    STARTUP = "startup"
    #: Lets the queue that Startup made run off.
    DRAIN = "drain"
    #: Sends slower than the path delivers, to leave room.
    PROBE_BW_DOWN = "probe_bw_down"
    #: Sends as fast as the path delivers.
    PROBE_BW_CRUISE = "probe_bw_cruise"
    #: Fills the pipe, without a queue, before it is asked for more.
    PROBE_BW_REFILL = "probe_bw_refill"
    #: Sends faster than the path delivers, to find more bandwidth.
    PROBE_BW_UP = "probe_bw_up"
    #: Keeps little in flight, to see the path's propagation delay.
    PROBE_RTT = "probe_rtt"


class Event(Enum):
    """What makes a sender change its state."""

    #: Startup's search is over: a plateau, or too much loss.
    PIPE_FULL = "pipe full"
    #: The queue is gone, or was given up on.
    DRAINED = "drained"
    #: There is room again.
    ROOM = "room"
    #: It is time to probe for bandwidth.
    PROBE = "probe"
    #: A round trip with a full pipe has passed.
    REFILLED = "refilled"
    #: Probing has found the limit.
    LIMIT = "limit"
    #: min_rtt is out of date.
    MIN_RTT_EXPIRED = "min_rtt expired"
    #: ProbeRTT is done; the pipe has been full once.
    RTT_PROBED = "rtt probed"
    #: ProbeRTT is done; the pipe was never full, or its filling was an error.
    SEARCH_AGAIN = "search again"


class AckPhase(Enum):
    """What acknowledgements tell about probing (§2.13)."""

    INIT = "not probing"
    REFILLING = "sent while refilling"
    PROBE_STARTING = "probing, no feedback yet"
    PROBE_FEEDBACK = "feedback of probing"
    PROBE_STOPPING = "probing stopped, feedback still comes"


PROBE_BW = frozenset({State.PROBE_BW_DOWN, State.PROBE_BW_CRUISE, State.PROBE_BW_REFILL, State.PROBE_BW_UP})
#: §5.3.3.8 IsProbingBW(): here loss is an answer of probing, elsewhere it lowers the short-term model.
PROBING = frozenset({State.STARTUP, State.PROBE_BW_REFILL, State.PROBE_BW_UP})

#: §5.1.1, and §5.5.11 for the ways back after a loss that was none.
TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.STARTUP, Event.PIPE_FULL): State.DRAIN,
    (State.DRAIN, Event.DRAINED): State.PROBE_BW_DOWN,
    (State.PROBE_BW_DOWN, Event.ROOM): State.PROBE_BW_CRUISE,
    (State.PROBE_BW_REFILL, Event.REFILLED): State.PROBE_BW_UP,
    (State.PROBE_BW_UP, Event.LIMIT): State.PROBE_BW_DOWN,
    (State.PROBE_RTT, Event.RTT_PROBED): State.PROBE_BW_CRUISE,
    **{(state, Event.PROBE): State.PROBE_BW_REFILL for state in State if state is not State.PROBE_RTT},
    **{(s, Event.MIN_RTT_EXPIRED): State.PROBE_RTT for s in State if s is not State.PROBE_RTT},
    **{(state, Event.SEARCH_AGAIN): State.STARTUP for state in State},
}


@dataclass(frozen=True, slots=True)
class Gains:
    """How a state multiplies the model."""

    #: Of the bandwidth, for the pacing rate.
    pacing: float
    #: Of the bandwidth-delay product, for the window.
    window: float


#: §5.6.1
GAINS: dict[State, Gains] = {
    State.STARTUP: Gains(2.77, 2.0),
    State.DRAIN: Gains(0.5, 2.0),
    State.PROBE_BW_DOWN: Gains(0.9, 2.0),
    State.PROBE_BW_CRUISE: Gains(1.0, 2.0),
    State.PROBE_BW_REFILL: Gains(1.0, 2.0),
    State.PROBE_BW_UP: Gains(1.25, 2.25),
    State.PROBE_RTT: Gains(1.0, 0.5),
}


def volume_cap(state: State, *, longterm: int, with_headroom: int) -> int:
    """Return what the long-term model lets be in flight (§5.6.1, §5.6.4.7), bytes."""
    if state in (State.PROBE_BW_CRUISE, State.PROBE_RTT):
        return with_headroom
    return longterm if state in PROBE_BW else UNBOUNDED
