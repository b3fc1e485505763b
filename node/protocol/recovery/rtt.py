"""Round-trip time (RFC 9002 §5)."""

from __future__ import annotations

from node.protocol.time import MILLISECOND, Duration

#: RFC 9002 §6.2.2: before there is a sample.
INITIAL_RTT: Duration = 333 * MILLISECOND
#: RFC 9002 §6.1.2: the timer granularity that deadlines must not go below.
GRANULARITY: Duration = MILLISECOND


class RttEstimator:
    """Keeps the estimates of RFC 9002 §5.3, in ns."""

    def __init__(self) -> None:
        self.has_sample = False
        self.latest_rtt: Duration = 0
        self.min_rtt: Duration = 0
        self.smoothed_rtt: Duration = INITIAL_RTT
        self.rttvar: Duration = INITIAL_RTT // 2

    def update(self, latest_rtt: Duration, ack_delay: Duration) -> None:
        """Take a sample; ``ack_delay`` is what the peer says it held the acknowledgement back."""
        self.latest_rtt = latest_rtt
        if not self.has_sample:
            self.has_sample = True
            self.min_rtt = self.smoothed_rtt = latest_rtt
            self.rttvar = latest_rtt // 2
            return
        self.min_rtt = min(self.min_rtt, latest_rtt)
        adjusted = latest_rtt
        if latest_rtt >= self.min_rtt + ack_delay:  # §5.3: never below min_rtt
            adjusted = latest_rtt - ack_delay
        self.rttvar = (3 * self.rttvar + abs(self.smoothed_rtt - adjusted)) // 4
        self.smoothed_rtt = (7 * self.smoothed_rtt + adjusted) // 8

    def probe_timeout(self, max_ack_delay: Duration) -> Duration:
        """Return the PTO without backoff (RFC 9002 §6.2.1)."""
        return self.smoothed_rtt + max(4 * self.rttvar, GRANULARITY) + max_ack_delay

    def loss_delay(self, eighths: int) -> Duration:
        """How long after its sending a packet counts as lost if a later one has arrived (RFC 9002 §6.1.2).

        Args:
            eighths: of a round trip by which it may be late.
        """
        longest = max(self.latest_rtt, self.smoothed_rtt) if self.has_sample else self.smoothed_rtt
        return max(longest * (8 + eighths) // 8, GRANULARITY)
