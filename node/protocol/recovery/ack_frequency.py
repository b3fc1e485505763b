"""How many acknowledgements a sender asks for: a pure function (SPEC 5-6).

Each acknowledgement costs both ends as much as twenty packets of data. A sender whose window holds
thousands of packets needs a few in each window, not one for every burst; one whose window holds ten
needs every second packet acknowledged. (The idea is that of draft-ietf-quic-ack-frequency.)
"""

from __future__ import annotations

from node.protocol.time import MICROSECOND, Duration
from node.protocol.wire.frames import AckFrequency

#: So many acknowledgements in each window: it must not empty before the next one comes. More would only
#: fill a slow way back: there a window's worth of them is what delays the clock they are ...
ACKS_PER_WINDOW = 4
MIN_ACKS_PER_WINDOW = 2
#: ... but never one for more packets than this: what the sender keeps must stay bounded.
MAX_PACKETS = 256
#: The default of every receiver (RFC 9000 §13.2.2).
MIN_PACKETS = 2
#: An acknowledgement may wait a quarter of a round trip, or this on paths so short that it costs nothing.
MIN_DELAY: Duration = 500 * MICROSECOND


def wanted_frequency(
    *,
    congestion_window: int,
    packet_size: int,
    smoothed_rtt: Duration,
    min_rtt: Duration,
    announced: AckFrequency | None,
) -> AckFrequency | None:
    """Return what to ask for now, or None if what was asked last, or the default, is near enough.

    That is half as many packets more or fewer: the next step must be within reach of a window that
    acknowledgements limit. Delays are near enough within a factor of two.
    """
    window = congestion_window // packet_size
    # Where round trips are longer than they need be, something queues. It may be acknowledgements.
    packets = window * smoothed_rtt // (ACKS_PER_WINDOW * max(1, min(min_rtt, smoothed_rtt)))
    packets = max(MIN_PACKETS, min(packets, window // MIN_ACKS_PER_WINDOW, MAX_PACKETS))
    delay = max(smoothed_rtt // 4, MIN_DELAY) // MICROSECOND
    if announced is None:
        return AckFrequency(0, packets, delay) if 2 * packets >= 3 * MIN_PACKETS else None
    same_packets = 2 * announced.packets < 3 * packets and 2 * packets < 3 * announced.packets
    same_delay = announced.delay_us <= 2 * delay and delay <= 2 * announced.delay_us
    return None if same_packets and same_delay else AckFrequency(announced.sequence + 1, packets, delay)
