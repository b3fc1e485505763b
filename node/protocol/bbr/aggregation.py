"""Acknowledgements that come in clumps: how much more to keep in flight (draft-ietf-ccwg-bbr §5.5.9)."""

from __future__ import annotations

from node.protocol.bbr.constants import EXTRA_ACKED_ROUNDS, EXTRA_ACKED_STARTUP_ROUNDS
from node.protocol.bbr.filters import WindowedMaximum
from node.protocol.time import SECOND, Instant


class AckAggregation:
    """BBR.extra_acked: bytes acknowledged beyond what the bandwidth explains."""

    def __init__(self) -> None:
        self._filter = WindowedMaximum()
        self._start: Instant = 0
        self._delivered = 0

    @property
    def extra_acked(self) -> int:
        """The largest excess of late, bytes."""
        return self._filter.value

    def restart(self, now: Instant) -> None:
        """Measure from now on: what was before was idle."""
        self._start = now
        self._delivered = 0

    def update(
        self, acked: int, *, now: Instant, bandwidth: int, window: int, round_count: int, pipe_was_full: bool
    ) -> None:
        """Take newly acknowledged bytes.

        Args:
            bandwidth: BBR.bw, bytes/s.
            window: congestion window, bytes: no excess can be larger.
        """
        expected = bandwidth * (now - self._start) // SECOND
        if self._delivered <= expected:
            self.restart(now)
            expected = 0
        self._delivered += acked
        extra = min(self._delivered - expected, window)
        rounds = EXTRA_ACKED_ROUNDS if pipe_was_full else EXTRA_ACKED_STARTUP_ROUNDS
        self._filter.update(extra, time=round_count, window=rounds)
