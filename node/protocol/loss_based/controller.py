"""What controllers that answer losses have in common: slow start, recovery periods, undo (RFC 9002 §7.3).

No plug-in itself: a plug-in says how much a loss takes and how the window grows afterwards.
"""

from __future__ import annotations

from random import Random

from node.protocol.congestion.base import MINIMUM_WINDOW_PACKETS, initial_window
from node.protocol.recovery.samples import AckSample, LossSample
from node.protocol.time import Duration, Instant


class LossBased:
    """Slow start, then what the subclass does; one reduction in a round trip at most.

    Args:
        max_datagram_size: bytes of a full packet.
        rng: of the interface; None will do, since nothing here is left to chance.
    """

    def __init__(self, max_datagram_size: int, *, rng: Random | None = None) -> None:
        self.max_datagram_size = max_datagram_size
        self.congestion_window = initial_window(max_datagram_size)
        self.ssthresh: int | None = None
        self.pacing_rate: int | None = None
        self.send_quantum: int | None = None
        self._recovery_start: Instant | None = None
        #: Window and threshold before the last reduction, as long as it may be undone.
        self._before: tuple[int, int | None] | None = None

    # -- for the subclass

    def reduced_window(self) -> int:
        """Return the window that a loss leaves, and begin a new period of growth with it."""
        raise NotImplementedError

    def grow(self, sample: AckSample) -> None:
        """Grow in congestion avoidance: the window was used, and no recovery goes on."""
        raise NotImplementedError

    def restore(self) -> None:
        """Take back what ``reduced_window`` changed in the subclass's own state."""

    # -- the interface

    def on_handshake_rtt(self, rtt: Duration, *, now: Instant) -> None:
        """The window does not depend on it."""

    def on_sent(self, size: int, *, now: Instant, prior_in_flight: int, is_app_limited: bool) -> None:
        """What is sent says nothing yet."""

    def on_ack(self, sample: AckSample) -> None:
        """RFC 9002 §7.8: an unused window does not grow."""
        if not sample.window_used or self._in_recovery(sample.newest_sent):
            return
        if self.ssthresh is None or self.congestion_window < self.ssthresh:
            self.congestion_window += sample.acked_bytes
        else:
            self.grow(sample)

    def on_lost(self, sample: LossSample) -> None:
        """A loss is a sign of congestion, once in a recovery period."""
        self._reduce(sample.newest_sent, sample.now)

    def on_congestion_experienced(self, *, newest_sent: Instant, now: Instant) -> None:
        """RFC 9002 §7.1: a mark is answered as a loss."""
        self._reduce(newest_sent, now)

    def on_spurious_loss(self) -> None:
        """Go back to what was before the last reduction."""
        if self._before is None:
            return
        window, self.ssthresh = self._before
        self.congestion_window = max(self.congestion_window, window)
        self._before = self._recovery_start = None
        self.restore()

    def on_persistent_congestion(self) -> None:
        """RFC 9002 §7.6.2."""
        self.congestion_window = self.minimum_window
        self._recovery_start = self._before = None

    @property
    def minimum_window(self) -> int:
        """The least window that is ever left (RFC 9002 §7.2)."""
        return MINIMUM_WINDOW_PACKETS * self.max_datagram_size

    # -- helpers

    def _reduce(self, newest_sent: Instant, now: Instant) -> None:
        if self._in_recovery(newest_sent):
            return
        self._before = self.congestion_window, self.ssthresh
        self._recovery_start = now
        self.congestion_window = self.ssthresh = max(self.reduced_window(), self.minimum_window)

    def _in_recovery(self, time_sent: Instant) -> bool:
        """SPEC 8.1-2: packets sent before the recovery period began say nothing new."""
        return self._recovery_start is not None and time_sent <= self._recovery_start
