"""How much reordering is taken for loss, and which losses were none (SPEC 8-5, 8-6; RFC 8985 §6.2).

What was declared lost is remembered for a time. If it is acknowledged after all, the path reorders more
than was thought: the thresholds grow, and if everything lost in one recovery period turns up, the
congestion controller takes back what it did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.time import Duration, Instant

#: RFC 9002 §6.1.1: so many later packets acknowledged mean it is lost, unless reordering was seen.
PACKET_THRESHOLD = 3
#: Farther apart than this, the time threshold alone decides.
MAX_PACKET_THRESHOLD = 4096
#: RFC 9002 §6.1.2: a packet may be late by an eighth of the round trip ...
TIME_THRESHOLD_EIGHTHS = 1
#: ... and by all of it where it was seen to be (RFC 8985 §6.2: RACK.reo_wnd is at most SRTT).
MAX_TIME_THRESHOLD_EIGHTHS = 8
#: RFC 8985 §6.2: after so many recovery periods without a spurious loss all is as at first.
PERIODS_REMEMBERED = 16
#: Detections remembered. Each has its bitmap already, and bounds what a flood of ACKs can make us look at.
MAX_REMEMBERED = 64


@dataclass(slots=True)
class _Lost:
    """Packets of one burst, declared lost at one time."""

    record: SentBurst
    mask: int
    #: Packet numbers that it lies between.
    lowest: int
    beyond: int
    period: int
    expires: Instant
    by_time: bool


class Reordering:
    """The thresholds of loss detection, and the memory behind them."""

    def __init__(self) -> None:
        #: So many later packets acknowledged mean that one is lost.
        self.packet_threshold = PACKET_THRESHOLD
        #: Eighths of the round trip by which a packet may be late.
        self.time_threshold_eighths = TIME_THRESHOLD_EIGHTHS
        #: Packets that were declared lost and acknowledged later.
        self.spurious = 0
        self._lost: deque[_Lost] = deque(maxlen=MAX_REMEMBERED)
        #: No number from here on was declared lost: of acknowledgements above it there is nothing to take.
        self.beyond = 0
        self._period = 0
        self._period_start: Instant = -1
        #: Packets lost in this period that did not turn up; None: its losses have been undone.
        self._missing: int | None = None
        self._quiet_periods = 0

    def restart(self) -> None:
        """Know nothing of a path: it is another now."""
        self.packet_threshold, self.time_threshold_eighths = PACKET_THRESHOLD, TIME_THRESHOLD_EIGHTHS
        self._lost.clear()
        self._missing = None

    def on_lost(
        self, lost: Sequence[tuple[SentBurst, int]], *, loss_delay: Duration, keep: Duration, now: Instant
    ) -> None:
        """Remember what was declared lost.

        Args:
            lost: records with masks, oldest first.
            loss_delay: the time threshold it was judged by.
            keep: how long to remember it.
        """
        # A new period begins with the loss of something sent in this one (RFC 9002 §7.3.2).
        if lost[-1][0].time_sent > self._period_start:
            self._begin_period(now)
        for record, mask in lost:
            if self._missing is not None:
                self._missing += mask.bit_count()
            lowest, beyond = record.first + (mask & -mask).bit_length() - 1, record.first + mask.bit_length()
            by_time = now - record.time_sent >= loss_delay
            self._lost.append(_Lost(record, mask, lowest, beyond, self._period, now + keep, by_time))
            self.beyond = max(self.beyond, beyond)

    def take_late(
        self, ranges: Sequence[tuple[int, int]], *, largest_acked: int, now: Instant
    ) -> tuple[list[tuple[SentBurst, int]], bool]:
        """Find what was declared lost and is acknowledged now.

        Args:
            ranges: of the acknowledgement, but for those that the one before had as well.
            largest_acked: the largest packet number acknowledged, with this one.

        Returns:
            Records with masks, and whether with them all losses of the recovery period have proven spurious.
        """
        while self._lost and (self._lost[0].expires <= now or not self._lost[0].mask):
            self._lost.popleft()
        if not self._lost:
            return [], False
        found: list[tuple[SentBurst, int]] = []
        undo = False
        for start, end in ranges:
            if start >= self.beyond:
                continue  # nearly all that is new
            for entry in self._lost:
                if entry.lowest < end and start < entry.beyond:
                    late = _between(entry.record, start, end) & entry.mask
                    if late:
                        undo = self._on_late(entry, late, largest_acked) or undo
                        found.append((entry.record, late))
        return found, undo

    def _on_late(self, entry: _Lost, late: int, largest_acked: int) -> bool:
        """Raise the threshold that was too low; return whether the period's losses are all undone."""
        entry.mask &= ~late
        self.spurious += late.bit_count()
        self._quiet_periods = 0
        if entry.by_time:
            self.time_threshold_eighths = min(self.time_threshold_eighths + 1, MAX_TIME_THRESHOLD_EIGHTHS)
        else:
            lowest = entry.record.first + (late & -late).bit_length() - 1
            threshold = max(self.packet_threshold, largest_acked - lowest + 1)
            self.packet_threshold = min(threshold, MAX_PACKET_THRESHOLD)
        if entry.period != self._period or self._missing is None:
            return False
        self._missing -= late.bit_count()
        if self._missing:
            return False
        self._missing = None
        return True

    def _begin_period(self, now: Instant) -> None:
        self._period += 1
        self._period_start = now
        self._missing = 0
        self._quiet_periods += 1
        if self._quiet_periods > PERIODS_REMEMBERED:
            self.packet_threshold = PACKET_THRESHOLD
            self.time_threshold_eighths = TIME_THRESHOLD_EIGHTHS


def _between(record: SentBurst, start: int, end: int) -> int:
    """Return the mask of a record's packets with numbers in ``[start, end)``, which holds some of them."""
    low, high = max(0, start - record.first), min(record.count, end - record.first)
    return ((1 << (high - low)) - 1) << low
