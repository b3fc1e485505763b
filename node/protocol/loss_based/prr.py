"""Proportional Rate Reduction (SPEC 8.1.1-1: RFC 6937, safe acknowledgements as in its revision 6937bis).

Halving the window at once silences a sender for half a round trip and then lets it send at the old pace.
This spreads the reduction over the round trip: of what is delivered, the share that the new window is of
the old one goes out again. Where losses took more than that, it fills up to the new window, not beyond.
"""

from __future__ import annotations


class ProportionalRateReduction:
    """One recovery period.

    Args:
        ssthresh: the window to arrive at, bytes.
        flight: bytes in flight when it began, the lost ones included [RecoverFS].
        packet_size: bytes of a full packet.
    """

    def __init__(self, *, ssthresh: int, flight: int, packet_size: int) -> None:
        self._ssthresh = ssthresh
        self._flight = max(flight, 1)
        #: Bytes of a full packet.
        self.packet_size = packet_size
        self._delivered = self._out = 0

    def on_sent(self, size: int) -> None:
        """Count what goes out in the period [prr_out]."""
        self._out += size

    def on_acked(self, size: int, *, in_flight: int, lost: int) -> int:
        """Take an acknowledgement; return the window: what is in flight and what may follow at once.

        Args:
            size: bytes delivered [DeliveredData].
            in_flight: bytes in flight now [pipe].
            lost: bytes declared lost with this acknowledgement: with none of them it is a safe one.
        """
        self._delivered += size
        if in_flight > self._ssthresh:
            # Proportional part: ceiling of prr_delivered * ssthresh / RecoverFS, less prr_out.
            allowed = -(-self._delivered * self._ssthresh // self._flight) - self._out
        else:
            allowed = max(self._delivered - self._out, size)
            if not lost:
                allowed += self.packet_size
            allowed = min(self._ssthresh - in_flight, allowed)
        if not self._out:
            allowed = max(allowed, self.packet_size)  # "Force a fast retransmit upon entering recovery."
        return in_flight + max(allowed, 0)
