"""The path's propagation delay, and when it is to be looked for (draft-ietf-ccwg-bbr §5.3.4.3)."""

from __future__ import annotations

from node.protocol.bbr.constants import MIN_RTT_MARGIN, MIN_RTT_WINDOW
from node.protocol.time import Duration, Instant


class MinRtt:
    """BBR.min_rtt: the least round-trip time of the last ten seconds, ns; None: no sample yet."""

    def __init__(self) -> None:
        self.value: Duration | None = None
        #: Whether the sample at hand replaced one that was out of date.
        self.expired = False
        self._stamp: Instant = 0

    def is_expired(self, now: Instant) -> bool:
        """Whether no lower sample came for so long that the present one no longer counts."""
        return self.value is not None and now > self._stamp + MIN_RTT_WINDOW

    def update(self, sample: Duration, now: Instant) -> None:
        """Take a sample, of the newest packet that an acknowledgement covers.

        One that is nearly as low shows that the value still holds: it renews it, and does not raise it.
        """
        self.expired = self.value is not None and now > self._stamp + MIN_RTT_WINDOW  # without a call
        if self.value is None or sample < self.value or self.expired:
            self.value = sample
            self._stamp = now
        elif sample <= self.value + self.value // MIN_RTT_MARGIN:
            self._stamp = now

    def schedule(self, now: Instant) -> None:
        """ProbeRTT is done: the next is due a whole window from now."""
        self._stamp = now
