"""How fast data arrives: the delivery rate estimator of draft-ietf-ccwg-bbr §4.1 (SPEC 8-4).

A snapshot is taken of each burst, not of each packet: its packets go out at one time. Names of the
draft stand in brackets.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.time import SECOND, Duration, Instant

#: Round trips for which the largest rate is kept, once or twice.
PEAK_ROUNDS = 8


class DeliveryRate:
    """Counts what was delivered and lost, and takes rate samples."""

    def __init__(self) -> None:
        #: Bytes delivered so far [C.delivered], and when the last of them were known to be.
        self.delivered = 0
        self._delivered_time: Instant = 0
        #: Bytes declared lost so far [C.lost].
        self.lost = 0
        self._first_send_time: Instant = 0
        # The largest rate of the last round trips that nothing but the path limited, and of those before.
        self._peak = self._earlier_peak = 0
        self._next_round = self._rounds = 0
        # The most bytes that were in flight in this round trip and in the one before.
        self._most = self._earlier_most = 0
        #: Until so much is delivered, samples show the application's rate [C.app_limited]; 0: none do.
        self._app_limited = 0

    @property
    def peak(self) -> int:
        """The largest rate lately, bytes a second; 0: there is none."""
        return max(self._peak, self._earlier_peak)

    @property
    def most_in_flight(self) -> int:
        """The most bytes in flight in this round trip and the one before."""
        return max(self._most, self._earlier_most)

    @property
    def is_app_limited(self) -> bool:
        """Whether what is sent now counts as limited by the application."""
        return self._app_limited > 0

    def on_sent(self, record: SentBurst, size: int, *, prior_in_flight: int) -> None:
        """Note in ``record`` what is known as it goes out (§4.1.2.2)."""
        if not prior_in_flight:
            self._first_send_time = self._delivered_time = record.time_sent
        record.first_send_time = self._first_send_time
        record.delivered_time = self._delivered_time
        record.delivered = self.delivered
        record.lost_before = self.lost
        record.is_app_limited = self._app_limited > 0
        record.tx_in_flight = prior_in_flight + size
        self._most = max(self._most, record.tx_in_flight)

    def on_app_limited(self, bytes_in_flight: int) -> None:
        """The sender has nothing to send and the window is not full (§4.1.2.4)."""
        self._app_limited = self.delivered + bytes_in_flight or 1

    def on_lost(self, size: int) -> None:
        """Count bytes declared lost."""
        self.lost += size

    def on_late(self, size: int, *, now: Instant) -> None:
        """Count bytes that were declared lost and have arrived after all."""
        self.delivered += size
        self._delivered_time = now

    def on_acked(
        self, newly: Sequence[tuple[SentBurst, int]], size: int, *, now: Instant
    ) -> tuple[int, Duration]:
        """Take the sample of one acknowledgement (§4.1.2.3).

        Args:
            newly: records with masks of packets newly acknowledged, oldest first.
            size: their bytes.

        Returns:
            Bytes a second, and over which time; the rest of the sample stands in the newest record.
        """
        self.delivered += size
        self._delivered_time = now
        newest = newly[-1][0]
        send_elapsed = newest.time_sent - newest.first_send_time
        self._first_send_time = newest.time_sent
        if self._app_limited and self.delivered > self._app_limited:
            self._app_limited = 0
        # "Use the longer of the send_elapsed and ack_elapsed." It is never less than the packet's own round
        # trip, since numbers are used once: the draft's check against min_rtt has nothing to find.
        interval = max(send_elapsed, now - newest.delivered_time, 1)
        rate = (self.delivered - newest.delivered) * SECOND // interval
        if not newest.is_app_limited:
            self._peak = max(self._peak, rate)
        if newest.delivered >= self._next_round:
            self._next_round = self.delivered
            self._rounds += 1
            self._earlier_most, self._most = self._most, 0
            if self._rounds % PEAK_ROUNDS == 0:
                self._earlier_peak, self._peak = self._peak, 0
        return rate, interval
