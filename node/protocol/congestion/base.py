"""The interface of congestion controllers (RFC 9002 §7), and their registry."""

from __future__ import annotations

from typing import ClassVar, Protocol

from node.protocol.recovery.rtt import RttEstimator
from node.protocol.time import Instant
from node.registry import Registry

#: RFC 9002 §7.2
MINIMUM_WINDOW_PACKETS = 2
INITIAL_WINDOW_PACKETS = 10
INITIAL_WINDOW_LIMIT = 14_720


def initial_window(max_datagram_size: int) -> int:
    """Return the initial congestion window in bytes (RFC 9002 §7.2)."""
    limit = max(INITIAL_WINDOW_LIMIT, MINIMUM_WINDOW_PACKETS * max_datagram_size)
    return min(INITIAL_WINDOW_PACKETS * max_datagram_size, limit)


class CongestionController(Protocol):
    """Says how many bytes may be in flight. Sizes are UDP payload bytes.

    Args:
        max_datagram_size: bytes of a full packet.
    """

    name: ClassVar[str]
    #: Bytes that may be in flight.
    congestion_window: int
    #: Slow start threshold in bytes; None: never left slow start.
    ssthresh: int | None

    def __init__(self, max_datagram_size: int) -> None: ...

    def on_packets_acked(
        self, acked_bytes: int, *, time_sent: Instant, now: Instant, rtt: RttEstimator, window_used: bool
    ) -> None:
        """React to newly acknowledged packets of one burst.

        Args:
            time_sent: when the burst was sent.
            window_used: whether the sender was limited by the window, not by what it had to send.
        """
        ...

    def on_packets_lost(self, lost_bytes: int, *, last_sent: Instant, now: Instant) -> None:
        """React to one detection of losses; ``last_sent``: when the newest of them was sent."""
        ...

    def on_persistent_congestion(self) -> None:
        """Fall back to the minimum window (RFC 9002 §7.6.2)."""
        ...


CONTROLLERS: Registry[type[CongestionController]] = Registry(
    "congestion controller", "node.protocol.congestion"
)
