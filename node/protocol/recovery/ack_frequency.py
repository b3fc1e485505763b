"""How many acknowledgements a sender asks for: a pure function (SPEC 5-6).

Each acknowledgement costs both ends as much as twenty packets of data. A sender whose window holds
thousands of packets needs a few in each window, not one for every burst; one whose window holds ten
needs every second packet acknowledged. (The idea is that of draft-ietf-quic-ack-frequency.)
"""

from __future__ import annotations

from node.protocol.time import MICROSECOND, Duration
from node.protocol.wire.frames import AckFrequency

#: So many acknowledgements in each window ...
ACKS_PER_WINDOW = 8
#: ... but never one for more packets than this: what the sender keeps must stay bounded.
MAX_PACKETS = 256
#: The default of every receiver (RFC 9000 §13.2.2).
MIN_PACKETS = 2
#: An acknowledgement may wait a quarter of a round trip, or this on paths so short that it costs nothing.
MIN_DELAY: Duration = 500 * MICROSECOND


def wanted_frequency(
    *, congestion_window: int, packet_size: int, smoothed_rtt: Duration, announced: AckFrequency | None
) -> AckFrequency | None:
    """Return what to ask for now, or None if what was asked last is near enough (within a factor of two)."""
    packets = congestion_window // (ACKS_PER_WINDOW * packet_size)
    packets = max(MIN_PACKETS, min(packets, MAX_PACKETS))
    delay = max(smoothed_rtt // 4, MIN_DELAY) // MICROSECOND
    if announced is None:
        return AckFrequency(0, packets, delay) if packets >= 2 * MIN_PACKETS else None
    same_packets = announced.packets <= 2 * packets and packets <= 2 * announced.packets
    same_delay = announced.delay_us <= 2 * delay and delay <= 2 * announced.delay_us
    return None if same_packets and same_delay else AckFrequency(announced.sequence + 1, packets, delay)
