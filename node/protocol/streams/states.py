"""The states of the two halves of a stream (RFC 9000 §3.1, §3.2).

Sending:    READY ──► SENDING ──► DATA_SENT ──► DATA_RECEIVED
              └──────────┴───────────┴──► RESET_SENT ──► RESET_RECEIVED
Receiving:  RECEIVING ──► SIZE_KNOWN ──► DATA_RECEIVED ──► DATA_READ
              └──────────────┴──► RESET_RECEIVED
A miss in the tables is the error: an event that a state does not know is refused.
"""

from __future__ import annotations

from enum import Enum

from node.protocol.errors import LocalProtocolError


class SendState(Enum):
    """Sending half (RFC 9000 §3.1)."""

    __hash__ = object.__hash__  # Enum's own is Python code, and this is asked for every packet

    SENDING = "sending"
    DATA_SENT = "data sent"
    DATA_RECEIVED = "data received"
    RESET_SENT = "reset sent"
    RESET_RECEIVED = "reset received"


class ReceiveState(Enum):
    """Receiving half (RFC 9000 §3.2)."""

    __hash__ = object.__hash__  # Enum's own is Python code, and this is asked for every packet

    RECEIVING = "receiving"
    SIZE_KNOWN = "size known"
    DATA_RECEIVED = "data received"
    DATA_READ = "data read"
    RESET_RECEIVED = "reset received"


#: What the application or the peer did → next state of the sending half.
SEND_TRANSITIONS: dict[tuple[SendState, str], SendState] = {
    (SendState.SENDING, "write"): SendState.SENDING,
    (SendState.SENDING, "end sent"): SendState.DATA_SENT,
    (SendState.DATA_SENT, "all acknowledged"): SendState.DATA_RECEIVED,
    (SendState.SENDING, "reset"): SendState.RESET_SENT,
    (SendState.DATA_SENT, "reset"): SendState.RESET_SENT,
    (SendState.RESET_SENT, "reset acknowledged"): SendState.RESET_RECEIVED,
}

#: What the peer or the application did → next state of the receiving half.
RECEIVE_TRANSITIONS: dict[tuple[ReceiveState, str], ReceiveState] = {
    (ReceiveState.RECEIVING, "end known"): ReceiveState.SIZE_KNOWN,
    (ReceiveState.SIZE_KNOWN, "all received"): ReceiveState.DATA_RECEIVED,
    (ReceiveState.DATA_RECEIVED, "all read"): ReceiveState.DATA_READ,
    (ReceiveState.RECEIVING, "reset"): ReceiveState.RESET_RECEIVED,
    (ReceiveState.SIZE_KNOWN, "reset"): ReceiveState.RESET_RECEIVED,
}

SEND_DONE = frozenset({SendState.DATA_RECEIVED, SendState.RESET_RECEIVED})
RECEIVE_DONE = frozenset({ReceiveState.DATA_READ, ReceiveState.RESET_RECEIVED})


def send_transition(state: SendState, event: str) -> SendState:
    """Return the state after ``event``; LocalProtocolError when the state does not allow it."""
    following = SEND_TRANSITIONS.get((state, event))
    if following is None:
        raise LocalProtocolError(f"{event} on a stream whose sending half is {state.value}")
    return following
