"""Round-trip time (RFC 9002 §5)."""

from __future__ import annotations

from collections.abc import Iterable

from node.protocol.time import MILLISECOND, Duration

#: RFC 9002 §6.2.2: before there is a sample.
INITIAL_RTT: Duration = 333 * MILLISECOND
#: RFC 9002 §6.1.2: the timer granularity that deadlines must not go below.
GRANULARITY: Duration = MILLISECOND


#: Samples are counted by their six highest bits: quantiles are known to 1.6 %, in 32 counters a power of two.
_KEPT_BITS = 6


class RttEstimator:
    """Keeps the estimates of RFC 9002 §5.3, in ns, and how often each round trip was measured."""

    def __init__(self) -> None:
        # Place of the highest bits, and they, as one number → samples; a thousand at most, below an hour.
        self._counts: dict[int, int] = {}
        self._least: Duration = 0
        self._most: Duration = 0
        self.has_sample = False
        self._is_of_handshake = False
        self.latest_rtt: Duration = 0
        self.min_rtt: Duration = 0
        self.smoothed_rtt: Duration = INITIAL_RTT
        self.rttvar: Duration = INITIAL_RTT // 2

    def begin(self, handshake_rtt: Duration) -> None:
        """Take the handshake's round trip: it holds key agreement, so a shorter one replaces it."""
        self._start(handshake_rtt)
        self._is_of_handshake = True

    def update(self, latest_rtt: Duration, ack_delay: Duration) -> None:
        """Take a sample; ``ack_delay`` is what the peer says it held the acknowledgement back."""
        was_of_handshake, self._is_of_handshake = self._is_of_handshake, False
        if not self.has_sample or (was_of_handshake and latest_rtt < self.smoothed_rtt):
            self._start(latest_rtt)
            return
        self.latest_rtt = latest_rtt
        self.min_rtt = min(self.min_rtt, latest_rtt)
        adjusted = latest_rtt
        if latest_rtt >= self.min_rtt + ack_delay:  # §5.3: never below min_rtt
            adjusted = latest_rtt - ack_delay
        self._least, self._most = min(self._least, adjusted), max(self._most, adjusted)
        self._count(adjusted)
        self.rttvar = (3 * self.rttvar + abs(self.smoothed_rtt - adjusted)) // 4
        self.smoothed_rtt = (7 * self.smoothed_rtt + adjusted) // 8

    def _start(self, rtt: Duration) -> None:
        """RFC 9002 §5.3: from a first sample."""
        self.has_sample = True
        self.latest_rtt = self.min_rtt = self.smoothed_rtt = rtt
        self.rttvar = rtt // 2
        self._counts.clear()
        self._least = self._most = rtt
        self._count(rtt)

    def probe_timeout(self, max_ack_delay: Duration) -> Duration:
        """Return the PTO without backoff (RFC 9002 §6.2.1)."""
        return self.smoothed_rtt + max(4 * self.rttvar, GRANULARITY) + max_ack_delay

    def quantiles(self, ranks: Iterable[tuple[str, int]]) -> dict[str, Duration]:
        """Return nearest-rank quantiles of all samples, as §5.3 adjusts them, in ns; empty: there are none.

        Args:
            ranks: name and thousandths of each, in any order; 0 and 1000 are exact.
        """
        last = sum(self._counts.values()) - 1
        wanted = sorted((-(-last * rank // 1000), rank, name) for name, rank in ranks)
        found: dict[str, Duration] = {}
        passed = 0
        for key in sorted(self._counts):
            passed += self._counts[key]
            shift, bits = divmod(key, 1 << _KEPT_BITS)
            middle = (bits << shift) + (1 << shift >> 1)
            while wanted and wanted[0][0] < passed:
                _, rank, name = wanted.pop(0)
                exact = {0: self._least, 1000: self._most}
                found[name] = exact.get(rank, min(max(middle, self._least), self._most))
        return found

    def _count(self, sample: Duration) -> None:
        shift = max(0, sample.bit_length() - _KEPT_BITS)
        key = (shift << _KEPT_BITS) + (sample >> shift)
        self._counts[key] = self._counts.get(key, 0) + 1

    def loss_delay(self, eighths: int) -> Duration:
        """How long after its sending a packet counts as lost if a later one has arrived (RFC 9002 §6.1.2).

        Args:
            eighths: of a round trip by which it may be late.
        """
        longest = max(self.latest_rtt, self.smoothed_rtt) if self.has_sample else self.smoothed_rtt
        return max(longest * (8 + eighths) // 8, GRANULARITY)
