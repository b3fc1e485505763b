"""CUBIC (RFC 9438, SPEC 8.1.2): after a loss the window grows with the time since, not with round trips.

It comes back fast to where the loss was, lingers there, and then looks further ever faster. Windows here
are bytes, the standard's are packets; what it calls segments_acked is acknowledged bytes over a packet's.
"""

from __future__ import annotations

from math import cbrt
from random import Random
from typing import ClassVar, NamedTuple

from node.protocol.congestion.base import CONTROLLERS
from node.protocol.loss_based.controller import LossBased
from node.protocol.recovery.samples import AckSample
from node.protocol.time import SECOND, Instant

#: §5: packets / s³
C = 0.4
#: §4.6: what a loss leaves of the window.
BETA = 0.7
#: §4.3: as much as Reno gets on average with a reduction by BETA.
ALPHA = 3 * (1 - BETA) / (1 + BETA)
#: §4.2: the window never grows by more than half in a round trip.
MAX_TARGET = 1.5


def time_to_origin(w_max: float, window: float, packet_size: int) -> float:
    """Return K, in seconds: how long the cubic takes from ``window`` back to ``w_max`` (§4.2)."""
    return cbrt(max(0.0, (w_max - window) / packet_size / C))


def w_cubic(elapsed: float, k: float, w_max: float, packet_size: int) -> float:
    """Return the window that the cubic has ``elapsed`` s after the epoch's begin, bytes (SPEC 8.1.2-1)."""
    return C * (elapsed - k) ** 3 * packet_size + w_max


class _Epoch(NamedTuple):
    """What one period of growth rests on."""

    w_max: float
    #: Window before the last reduction, bytes [cwnd_prior].
    prior_window: int
    #: When congestion avoidance began; None: it has not.
    start: Instant | None
    k: float
    #: The window that Reno would have [W_est].
    w_est: float


@CONTROLLERS.register("cubic")
class Cubic(LossBased):
    """The cubic, its Reno-friendly region, and fast convergence."""

    name: ClassVar[str] = "cubic"

    def __init__(self, max_datagram_size: int, *, rng: Random | None = None) -> None:
        super().__init__(max_datagram_size, rng=rng)
        self._w_max = 0.0
        self._prior_window = 0
        self._start: Instant | None = None
        self._k = self._w_est = 0.0
        #: Since when the window is not used: time that the cubic does not see (SPEC 8.1.2-4).
        self._unused_since: Instant | None = None
        #: Less than a byte of growth.
        self._fraction = 0.0
        self._saved: _Epoch | None = None

    def resize(self, size: int) -> None:
        """SPEC 8.1-3: K is a time, in which the cubic grows by packets."""
        self._k *= cbrt(self.max_datagram_size / size)
        super().resize(size)

    def reduced_window(self) -> int:
        self._saved = _Epoch(self._w_max, self._prior_window, self._start, self._k, self._w_est)
        window = self.congestion_window
        # SPEC 8.1.2-3: a flow whose windows get smaller and smaller makes room faster.
        self._w_max = window * (1 + BETA) / 2 if window < self._w_max else window
        self._prior_window = window
        self._start = None
        return int(window * BETA)

    def restore(self) -> None:
        """§4.9.2: all of it was spurious, so growth goes on as if nothing had been."""
        assert self._saved is not None
        self._w_max, self._prior_window, self._start, self._k, self._w_est = self._saved

    def on_persistent_congestion(self) -> None:
        """§4.8: the window where slow start ends now is the new origin, with K of 0."""
        super().on_persistent_congestion()
        self._w_max, self._start = 0.0, None

    def on_unused(self, sample: AckSample) -> None:
        if self._unused_since is None:
            self._unused_since = sample.now

    def grow(self, sample: AckSample) -> None:
        if self._start is None:
            self._begin_epoch(sample.now)
        elif self._unused_since is not None:
            self._start += sample.now - self._unused_since
        assert self._start is not None
        self._unused_since = None
        window, size, acked = self.congestion_window, self.max_datagram_size, sample.acked_bytes
        # §4.3; "once W_est has grown to reach cwnd_prior, α is 1".
        alpha = ALPHA if self._w_est < self._prior_window else 1.0
        self._w_est += alpha * acked / window * size
        elapsed = (sample.now - self._start) / SECOND
        if w_cubic(elapsed, self._k, self._w_max, size) < self._w_est:
            self._set_window(self._w_est)
            return
        ahead = elapsed + sample.rtt.smoothed_rtt / SECOND
        target = w_cubic(ahead, self._k, self._w_max, size)
        # SPEC 8.1.2-2
        target = max(window, min(target, MAX_TARGET * window))
        self._set_window(window + self._fraction + (target - window) * acked / window)

    def _begin_epoch(self, now: Instant) -> None:
        self._start = now
        window = self.congestion_window
        if self._w_max < window:  # §4.10: slow start ended without a loss, or restarted beyond the last one
            self._w_max, self._prior_window = window, window
        self._k = time_to_origin(self._w_max, window, self.max_datagram_size)
        self._w_est = window
        self._fraction = 0.0

    def _set_window(self, window: float) -> None:
        grown = max(window, self.congestion_window)
        self.congestion_window = int(grown)
        self._fraction = grown - self.congestion_window
