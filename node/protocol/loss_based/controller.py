"""What controllers that answer losses have in common: slow start, recovery periods, undo (RFC 9002 §7.3).

No plug-in itself: a plug-in says how much a loss takes and how the window grows afterwards.
"""

from __future__ import annotations

from random import Random

from node.protocol.congestion.base import MINIMUM_WINDOW_PACKETS, initial_window, resized_window
from node.protocol.loss_based.hystart import HyStart
from node.protocol.loss_based.jump import Jump, PacketTrain
from node.protocol.loss_based.prr import ProportionalRateReduction
from node.protocol.recovery.samples import AckSample, LossSample
from node.protocol.time import SECOND, Duration, Instant


class LossBased:
    """Slow start, then what the subclass does; one reduction in a round trip at most.

    Args:
        max_datagram_size: bytes of a full packet.
        rng: of the interface; None will do, since nothing here is left to chance.
    """

    def __init__(self, max_datagram_size: int, *, rng: Random | None = None) -> None:
        self._packet = max_datagram_size
        self.congestion_window = initial_window(max_datagram_size)
        self.ssthresh: int | None = None
        self.pacing_rate: int | None = None
        self.send_quantum: int | None = None
        #: Watches the first slow start; later ones know where to end.
        self._hystart = HyStart()
        self._jump = Jump()
        self._train = PacketTrain(max_datagram_size)
        self._recovery_start: Instant | None = None
        #: Says the window as long as a recovery period goes on.
        self._prr: ProportionalRateReduction | None = None
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

    def on_unused(self, sample: AckSample) -> None:
        """An acknowledgement came while the window was not used, so that nothing grows."""

    # -- the interface

    @property
    def max_datagram_size(self) -> int:
        """Bytes of a full packet."""
        return self._packet

    @max_datagram_size.setter
    def max_datagram_size(self, size: int) -> None:
        self.resize(size)

    def resize(self, size: int) -> None:
        """Count in packets of another size (SPEC 8.1-3)."""
        before, self._packet = self._packet, size
        self.congestion_window = resized_window(self.congestion_window, before=before, size=size)
        if self.ssthresh is not None:
            self.ssthresh = max(self.ssthresh, self.minimum_window)
        self._train.packet_size = size
        if self._prr is not None:
            self._prr.packet_size = size

    def on_handshake_rtt(self, rtt: Duration, *, now: Instant) -> None:
        """The window does not depend on it."""

    def on_sent(self, size: int, *, now: Instant, prior_in_flight: int, is_app_limited: bool) -> None:
        """Count what goes out while the window is being reduced."""
        if self._prr is not None:
            self._prr.on_sent(size)

    def on_remembered_path(self, window: int, *, rtt: Duration, now: Instant) -> None:
        """SPEC 8.1.1-4: go to the window at once, paced over a round trip."""
        self._jump.begin(window, before=self.congestion_window, now=now)
        self.congestion_window = window
        self.pacing_rate = max(1, window * SECOND // max(1, rtt))

    def on_ack(self, sample: AckSample) -> None:
        """Reduce on in recovery, grow otherwise."""
        if self._jump.is_open and self._jump.on_ack(sample):
            self.pacing_rate = None
        if self._prr is not None:
            if self._in_recovery(sample.newest_sent):
                window = self._prr.on_acked(
                    sample.acked_bytes, in_flight=sample.bytes_in_flight, lost=sample.lost_bytes
                )
                self.congestion_window = max(window, self.minimum_window)
                return
            self._leave_recovery()
        if not sample.window_used:
            self.on_unused(sample)  # RFC 9002 §7.8: an unused window does not grow
        elif self.ssthresh is None:
            growth = self._hystart.on_ack(sample)
            if self._hystart.is_over:
                self.ssthresh = self.congestion_window
            else:
                self.congestion_window += growth
                self._train.on_ack(sample)
                window = self._train.window(sample)
                if window > self.congestion_window:  # SPEC 8.1.1-5
                    self.on_remembered_path(window, rtt=sample.rtt.min_rtt, now=sample.now)
        elif self.congestion_window < self.ssthresh:
            self.congestion_window += sample.acked_bytes
        else:
            self.grow(sample)

    def on_lost(self, sample: LossSample) -> None:
        """A loss is a sign of congestion, once in a recovery period."""
        if self._reduce(sample.newest_sent, sample.now, flight=sample.prior_in_flight):
            # What follows goes out by and by, as acknowledgements come; one packet goes at once.
            window = sample.bytes_in_flight + self.max_datagram_size
            self.congestion_window = max(min(self.congestion_window, window), self.minimum_window)

    def on_congestion_experienced(self, *, newest_sent: Instant, now: Instant) -> None:
        """RFC 9002 §7.1: a mark is answered as a loss."""
        self._reduce(newest_sent, now, flight=self.congestion_window)

    def on_spurious_loss(self) -> None:
        """Go back to what was before the last reduction (SPEC 8.1.1-3)."""
        if self._before is None:
            return
        window, self.ssthresh = self._before
        self.congestion_window = max(self.congestion_window, window)
        self._before = self._recovery_start = self._prr = None
        self.restore()

    def on_persistent_congestion(self) -> None:
        """RFC 9002 §7.6.2."""
        self.congestion_window = self.minimum_window
        self._recovery_start = self._before = self._prr = None
        self._end_jump()

    @property
    def phase(self) -> str:
        """RFC 9002 §7.3, and RFC 9406's conservative slow start."""
        if self._prr is not None:
            return "recovery"
        if self.ssthresh is None and self._hystart.is_conservative:
            return "conservative_slow_start"
        if self.ssthresh is None or self.congestion_window < self.ssthresh:
            return "slow_start"
        return "congestion_avoidance"

    @property
    def minimum_window(self) -> int:
        """The least window that is ever left (RFC 9002 §7.2)."""
        return MINIMUM_WINDOW_PACKETS * self.max_datagram_size

    # -- helpers

    def _reduce(self, newest_sent: Instant, now: Instant, *, flight: int) -> bool:
        if self._in_recovery(newest_sent):
            return False
        if self._prr is not None:
            self._leave_recovery()
        self._before = self.congestion_window, self.ssthresh
        self._recovery_start = now
        if self._jump.is_open:
            self.congestion_window = min(self.congestion_window, self._jump.validated)
        self._end_jump()
        self.ssthresh = max(self.reduced_window(), self.minimum_window)
        self._prr = ProportionalRateReduction(
            ssthresh=self.ssthresh, flight=flight, packet_size=self.max_datagram_size
        )
        return True

    def _end_jump(self) -> None:
        self._jump.end()
        self.pacing_rate = None

    def _leave_recovery(self) -> None:
        assert self.ssthresh is not None
        self.congestion_window = self.ssthresh
        self._prr = None

    def _in_recovery(self, time_sent: Instant) -> bool:
        """SPEC 8.1-2: packets sent before the recovery period began say nothing new."""
        return self._recovery_start is not None and time_sent <= self._recovery_start
