"""NewReno as RFC 9002 §7 has it, the default controller."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.congestion.base import CONTROLLERS, MINIMUM_WINDOW_PACKETS, initial_window
from node.protocol.recovery.rtt import RttEstimator
from node.protocol.time import Instant


@CONTROLLERS.register("new-reno")
class NewReno:
    """Slow start, congestion avoidance, recovery (RFC 9002 §7.3, appendix B)."""

    name: ClassVar[str] = "new-reno"

    def __init__(self, max_datagram_size: int) -> None:
        self._max_datagram_size = max_datagram_size
        self.congestion_window = initial_window(max_datagram_size)
        self.ssthresh: int | None = None
        self._recovery_start: Instant | None = None
        #: Acknowledged bytes towards the next packet of growth, in congestion avoidance.
        self._credit = 0

    def on_packets_acked(
        self, acked_bytes: int, *, time_sent: Instant, now: Instant, rtt: RttEstimator, window_used: bool
    ) -> None:
        if not window_used or self._in_recovery(time_sent):
            return  # §7.8: an unused window does not grow
        if self.ssthresh is None or self.congestion_window < self.ssthresh:
            self.congestion_window += acked_bytes
            return
        self._credit += acked_bytes
        if self._credit >= self.congestion_window:
            self._credit -= self.congestion_window
            self.congestion_window += self._max_datagram_size

    def on_packets_lost(self, lost_bytes: int, *, last_sent: Instant, now: Instant) -> None:
        if self._in_recovery(last_sent):
            return
        self._recovery_start = now
        self._credit = 0
        self.congestion_window = max(self.congestion_window // 2, self._minimum)
        self.ssthresh = self.congestion_window

    def on_persistent_congestion(self) -> None:
        self.congestion_window = self._minimum
        self._recovery_start = None

    @property
    def _minimum(self) -> int:
        return MINIMUM_WINDOW_PACKETS * self._max_datagram_size

    def _in_recovery(self, time_sent: Instant) -> bool:
        """§7.3.2: packets sent before the recovery period began say nothing new."""
        return self._recovery_start is not None and time_sent <= self._recovery_start
