"""Recovery periods as BBR sees them, and Startup's end by loss (draft-ietf-ccwg-bbr §5.3.1.3, §5.6.4.4)."""

from __future__ import annotations

from node.protocol.bbr.constants import STARTUP_LOST_RANGES
from node.protocol.time import Instant


class RecoveryPeriod:
    """From a loss until a packet sent after it is acknowledged (RFC 9002 §7.3.2)."""

    def __init__(self) -> None:
        self._start: Instant | None = None
        #: Separate runs lost in this round trip, and whether packets were marked (ECN-CE).
        self._ranges = 0
        self._marked = False

    @property
    def active(self) -> bool:
        """Whether losses are being repaired."""
        return self._start is not None

    def note_loss(self, now: Instant, *, ranges: int, marked: bool) -> None:
        """Count a detection of losses, or of packets marked (§3.7: a mark is a loss)."""
        self._ranges += ranges
        self._marked |= marked
        if self._start is None:
            self._start = now

    def note_acknowledged(self, newest_sent: Instant) -> bool:
        """Return whether acknowledging a packet sent at ``newest_sent`` ends the period."""
        ends = self._start is not None and newest_sent > self._start
        if ends:
            self._start = None
        return ends

    def end_round(self, *, is_too_high: bool) -> bool:
        """Forget the round trip's losses; return whether they end Startup.

        Args:
            is_too_high: whether more than the threshold was lost in the round trip.
        """
        found = self._marked or (is_too_high and self._ranges >= STARTUP_LOST_RANGES)
        self._ranges, self._marked = 0, False
        return found
