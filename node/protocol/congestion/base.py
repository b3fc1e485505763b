"""The interface of congestion controllers (RFC 9002 §7), and their registry (SPEC 8.1)."""

from __future__ import annotations

from random import Random
from typing import ClassVar, Protocol

from node.protocol.recovery.samples import AckSample, LossSample
from node.protocol.time import Duration, Instant
from node.registry import Registry

#: RFC 9002 §7.2, SPEC 8.1-1
MINIMUM_WINDOW_PACKETS = 2
INITIAL_WINDOW_PACKETS = 10
INITIAL_WINDOW_LIMIT = 14_720


def initial_window(max_datagram_size: int) -> int:
    """Return the initial congestion window in bytes (RFC 9002 §7.2)."""
    limit = max(INITIAL_WINDOW_LIMIT, MINIMUM_WINDOW_PACKETS * max_datagram_size)
    return min(INITIAL_WINDOW_PACKETS * max_datagram_size, limit)


def resized_window(window: int, *, before: int, size: int) -> int:
    """Return the window after the bytes of a full packet have changed (RFC 9002 §7.2, SPEC 8.1-3).

    A window that is still the initial one becomes that of the new size; any other holds two packets at least.
    """
    if window == initial_window(before):
        return initial_window(size)
    return max(window, MINIMUM_WINDOW_PACKETS * size)


class CongestionController(Protocol):
    """Says how many bytes may be in flight, and how fast they may go. Sizes are UDP payload bytes.

    For one acknowledgement the calls come in this order: ``on_spurious_loss`` if it proves one,
    ``on_lost`` if it leads to losses, ``on_persistent_congestion``, ``on_congestion_experienced``,
    ``on_ack``. Losses found by the clock come without ``on_ack``.

    Args:
        max_datagram_size: bytes of a full packet, for now.
        rng: chance, for controllers that spread what they do.
    """

    name: ClassVar[str]
    #: Bytes of a full packet; to set them says that the path carries so much now (SPEC 8.1-3).
    max_datagram_size: int
    #: Bytes that may be in flight.
    congestion_window: int
    #: Slow start threshold in bytes; None: never left slow start, or there is no such thing.
    ssthresh: int | None
    #: Bytes a second that the pacer lets go; None: it follows window and RTT (RFC 9002 §7.7).
    pacing_rate: int | None
    #: Bytes that may go at once; None: the pacer derives it from the rate.
    send_quantum: int | None

    def __init__(self, max_datagram_size: int, *, rng: Random) -> None: ...

    @property
    def phase(self) -> str:
        """What the controller is about, in a word for observers: ``slow_start``, ``recovery`` …"""
        ...

    def on_handshake_rtt(self, rtt: Duration, *, now: Instant) -> None:
        """Take the round trip of the handshake, before anything is sent."""
        ...

    def on_remembered_path(self, window: int, *, rtt: Duration, now: Instant) -> None:
        """Begin with a window that an earlier connection makes likely; nothing else has grown it yet.

        Args:
            window: bytes, more than the window now.
            rtt: of this connection.
        """
        ...

    def on_sent(self, size: int, *, now: Instant, prior_in_flight: int, is_app_limited: bool) -> None:
        """Note a burst that goes out.

        Args:
            size: its bytes.
            prior_in_flight: bytes in flight without it; 0 after idleness.
            is_app_limited: whether the sender has lately had less to send than it might have sent.
        """
        ...

    def on_ack(self, sample: AckSample) -> None:
        """React to newly acknowledged packets, once for each acknowledgement."""
        ...

    def on_lost(self, sample: LossSample) -> None:
        """React to one detection of losses."""
        ...

    def on_congestion_experienced(self, *, newest_sent: Instant, now: Instant) -> None:
        """React to packets newly reported as marked (ECN-CE); ``newest_sent``: as in ``AckSample``."""
        ...

    def on_spurious_loss(self) -> None:
        """Undo what the last losses led to: all of their packets have arrived after all."""
        ...

    def on_persistent_congestion(self) -> None:
        """Fall back to the minimum window (RFC 9002 §7.6.2)."""
        ...


CONTROLLERS: Registry[type[CongestionController]] = Registry(
    "congestion controller", "node.protocol.congestion"
)
