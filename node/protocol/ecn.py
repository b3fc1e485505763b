"""Explicit congestion notification on one path (RFC 9000 §13.4, SPEC 8.2).

    TESTING ──10 packets marked──► UNKNOWN
       │                             │
       ├──right counts came──────────┴──► CAPABLE
       └──counts missing, wrong, or all marked packets lost──► FAILED ◄── from anywhere

Packets carry ECT(0) while testing and once capable. On FAILED the path is used without marks for good:
a path that bleaches or drops marked packets costs no more than the ten of the test.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

#: Codepoints of the IP header's two bits (RFC 3168 §5).
NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
#: RFC 9000 A.4: packets that are marked before there is an answer.
TESTING_PACKETS = 10

#: Packets received with ECT(0), ECT(1) and CE, as an ACK frame reports them.
EcnCounts: TypeAlias = tuple[int, int, int]


class EcnState(Enum):
    """What is known of a path's use of ECN."""

    __hash__ = object.__hash__  # Enum's own is Python code, and this is asked for every burst

    #: Marked packets are on their way.
    TESTING = "testing"
    #: Enough of them are; what follows goes without marks until they are answered.
    UNKNOWN = "unknown"
    #: The peer counts our marks and reports them.
    CAPABLE = "capable"
    #: Something on the way clears, changes or drops marked packets, or the peer reports none.
    FAILED = "failed"


#: (state, what happened) → next state; what is not here changes nothing.
TRANSITIONS: dict[tuple[EcnState, str], EcnState] = {
    (EcnState.TESTING, "enough marked"): EcnState.UNKNOWN,
    (EcnState.TESTING, "validated"): EcnState.CAPABLE,
    (EcnState.UNKNOWN, "validated"): EcnState.CAPABLE,
    **{(state, "broken"): EcnState.FAILED for state in EcnState},
}


class EcnValidator:
    """Says how to mark packets, and whether the peer's counts can be believed.

    Args:
        enabled: whether to use ECN at all.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.state = EcnState.TESTING if enabled else EcnState.FAILED
        #: Codepoint for the packets that are sent now.
        self.codepoint = ECT0 if enabled else NOT_ECT
        #: What the peer reported last.
        self.reported: EcnCounts = (0, 0, 0)
        self._enabled = enabled
        self._marked = 0
        # Of these, marked on paths before; and lost on this one.
        self._marked_before = 0
        self._marked_lost = 0

    def restart(self) -> None:
        """The path has changed: whether this one carries marks is to be seen. Counts go on."""
        if self._enabled:
            self.state, self.codepoint = EcnState.TESTING, ECT0
            self._marked_before, self._marked_lost = self._marked, 0

    def on_sent(self, count: int) -> None:
        """Note packets sent with ``codepoint``; only to be called while that is a mark."""
        self._marked += count
        if self.state is EcnState.TESTING and self._marked - self._marked_before >= TESTING_PACKETS:
            self._go("enough marked")

    def on_ack(self, counts: EcnCounts | None, *, newly_marked: int, advances: bool) -> int:
        """Take what an ACK frame says of marks; return how many packets it newly reports as CE.

        Args:
            counts: the frame's counts; None: it has none.
            newly_marked: packets sent with a mark that this frame is the first to acknowledge.
            advances: whether it raises the largest acknowledged packet number. Others come out of order,
                and must not fail the validation (RFC 9000 §13.4.2.1).
        """
        if self.state is EcnState.FAILED or not advances:
            return 0
        if counts is None:
            if newly_marked:
                self._go("broken")
            return 0
        (ect0, ect1, ce), (ect0_before, _, ce_before) = counts, self.reported
        rise, ce_rise = ect0 - ect0_before, ce - ce_before
        # SPEC 8.2-3: each marked packet counts as ECT(0) or CE, none is invented, and we send no ECT(1).
        if rise < 0 or ce_rise < 0 or rise + ce_rise < newly_marked or ect1:
            self._go("broken")
            return 0
        if ect0 + ce > self._marked:
            self._go("broken")
            return 0
        self.reported = counts
        if newly_marked and self.state is not EcnState.CAPABLE:
            self._go("validated")
        return ce_rise

    def on_lost(self, count: int) -> None:
        """Note that packets sent with a mark are lost: where all of the test are, marks are the reason."""
        self._marked_lost += count
        if self.state is EcnState.UNKNOWN and self._marked_lost >= self._marked - self._marked_before:
            self._go("broken")

    def _go(self, event: str) -> None:
        self.state = TRANSITIONS.get((self.state, event), self.state)
        marks = self.state in (EcnState.TESTING, EcnState.CAPABLE)
        self.codepoint = ECT0 if marks else NOT_ECT
