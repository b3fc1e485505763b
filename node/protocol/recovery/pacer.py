"""Pacing (RFC 9002 §7.7): a token bucket that fills at a little more than a window an RTT."""

from __future__ import annotations

from node.protocol.time import MICROSECOND, SECOND, Duration, Instant

#: RFC 9002 §7.7: N of 1.25 makes up for what is not used at once.
GAIN_NUMERATOR, GAIN_DENOMINATOR = 5, 4
#: In slow start the window doubles in a round trip, so twice of it must be able to go in one.
SLOW_START_GAIN = 2
#: A burst may be as long as the path takes in this time: one GSO send at high rates, a few
#: packets at low ones. Finer costs a wake-up each, coarser fills shallow queues.
BURST_TIME: Duration = 1000 * MICROSECOND
#: ... but never less than this many packets, so that acknowledgements stay worth their while ...
MIN_BURST_PACKETS = 2
#: ... nor more than this many bytes.
MAX_BURST_BYTES = 256 * 1024


class Pacer:
    """Says when the next burst may go, and how large it may be."""

    def __init__(self, initial_tokens: int) -> None:
        # RFC 9002 §7.7: an initial burst of the initial window is allowed.
        self._tokens = initial_tokens
        self._updated: Instant | None = None
        self._rate = 0  # bytes a second
        #: Bytes that may go at once, if the controller says so; None: what the path takes in BURST_TIME.
        self.quantum: int | None = None

    def set_rate(
        self, rate: int | None, *, congestion_window: int, smoothed_rtt: Duration, slow_start: bool = False
    ) -> None:
        """Let so many bytes go in a second; None: one and a quarter of the window in a round trip.

        Args:
            slow_start: the window is about to double: twice of it may go.
        """
        if rate is None:
            window = congestion_window * GAIN_NUMERATOR // GAIN_DENOMINATOR
            if slow_start:
                window = congestion_window * SLOW_START_GAIN
            rate = window * SECOND // max(1, smoothed_rtt)
        self._rate = max(1, rate)

    def allowance(self, *, packet_size: int, wanted: int, now: Instant) -> int:
        """Return how many bytes may be sent now; 0: wait for ``next_time``.

        Args:
            wanted: bytes there are to send. Where that is more, half a burst is waited for: a
                packet at every token would be a system call for each.
        """
        if self._updated is None:
            self._updated = now
        gained = (now - self._updated) * self._rate // SECOND
        if gained:
            self._tokens = min(max(self._burst(packet_size), self._tokens), self._tokens + gained)
            self._updated += gained * SECOND // self._rate  # what is less than a byte is not lost
        # What waits for tokens most often: asked for every burst, so it does without the threshold's call.
        tokens = self._tokens
        if tokens >= wanted and tokens >= packet_size:
            return tokens
        return tokens if tokens >= self._threshold(packet_size, wanted) else 0

    @property
    def rate(self) -> int:
        """Bytes a second at which the bucket fills."""
        return self._rate

    def on_sent(self, size: int) -> None:
        """Take the tokens of what was sent; probes may drive it below zero."""
        self._tokens -= size

    def next_time(self, *, packet_size: int, wanted: int, now: Instant) -> Instant:
        """Return when ``allowance`` will let something go."""
        missing = self._threshold(packet_size, wanted) - self._tokens
        if missing <= 0 or not self._rate:
            return now
        return (now if self._updated is None else self._updated) + -(-missing * SECOND // self._rate)

    def _threshold(self, packet_size: int, wanted: int) -> int:
        return max(packet_size, min(wanted, self._burst(packet_size) // 2))

    def _burst(self, packet_size: int) -> int:
        in_time = self._rate * BURST_TIME // SECOND if self.quantum is None else self.quantum
        return max(MIN_BURST_PACKETS * packet_size, min(in_time, MAX_BURST_BYTES))
