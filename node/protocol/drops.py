"""What belongs to no connection: datagrams dropped before one was found, and SEALED packets (SPEC 16-7)."""

from __future__ import annotations

from node.protocol.datagrams import Transmit
from node.protocol.time import Instant
from node.protocol.trace import DatagramsSent, PacketDropped, PacketReceived, PacketSent, Tracer
from node.protocol.wire.sealed import HEADER

SEALED_KIND = "sealed"
#: qlog's words for some of our reasons; of any other it has ``invalid``.
_TRIGGERS = {
    "unknown connection ID": "connection_unknown",
    "unknown version": "unsupported",
    "unknown packet type": "unsupported",
    "wrong CRC-32C": "decryption_failure",
    "for another node": "rejected",
    "too many connections": "rejected",
}


class Drops:
    """Counts datagrams that were dropped before they reached a connection, by reason.

    Args:
        tracer: told of each, and of SEALED packets; None: nobody is.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.counts: dict[str, int] = {}
        self._tracer = tracer
        self._size, self._now = 0, 0

    def take(self, size: int, now: Instant) -> None:
        """A datagram of ``size`` bytes is looked at next."""
        self._size, self._now = size, now

    def add(self, reason: str) -> None:
        """The datagram at hand is dropped."""
        self.count(reason)
        if self._tracer is not None:
            trigger = _TRIGGERS.get(reason, "invalid")
            self._tracer(self._now, PacketDropped(trigger, reason, self._size))

    def count(self, reason: str) -> None:
        """Count what was no datagram."""
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def sealed_taken(self, datagram: memoryview) -> None:
        """The datagram at hand is a SEALED packet, and passed its checks."""
        if self._tracer is not None:
            size = len(datagram)
            self._tracer(self._now, PacketReceived(SEALED_KIND, _number(datagram), 1, size, size))

    def sealed_sent(self, burst: Transmit, now: Instant) -> None:
        """SEALED packets with consecutive numbers go out."""
        if self._tracer is not None:
            count, size = burst.count, len(burst.buffer)
            last = size - (count - 1) * burst.segment_size
            number = _number(burst.buffer)
            self._tracer(now, PacketSent(SEALED_KIND, number, count, burst.segment_size, last))
            self._tracer(now, DatagramsSent(count, size, burst.segment_size))


def _number(packet: memoryview) -> int:
    return int.from_bytes(packet[HEADER.size - 8 : HEADER.size], "big")
