"""Taking the statistics of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol.statistics import Statistics

if TYPE_CHECKING:
    from node.protocol.connection import Connection


def snapshot(c: Connection) -> Statistics:
    """Return counters and estimates as they are now; zeros before the handshake is through."""
    started = c.parameters is not None
    rtt = c.recovery.rtt if started else None
    sampled = rtt is not None and rtt.has_sample
    return Statistics(
        packets_sent=c.packets_sent,
        packets_received=c.receiver.packets,
        bytes_sent=c.bytes_sent,
        bytes_received=c.receiver.bytes,
        packets_lost=c.recovery.packets_lost if started else 0,
        retransmitted_packets=c.builder.retransmitted_packets,
        integrity_failures=c.receiver.integrity_failures,
        duplicate_packets=c.receiver.duplicates,
        malformed_packets=c.receiver.malformed,
        probe_timeouts=c.recovery.probe_timeouts if started else 0,
        key_updates=c.keys.updates if started and c.keys is not None else 0,
        latest_rtt=rtt.latest_rtt if rtt is not None and sampled else 0,
        smoothed_rtt=rtt.smoothed_rtt if rtt is not None and sampled else 0,
        rttvar=rtt.rttvar if rtt is not None and sampled else 0,
        min_rtt=rtt.min_rtt if rtt is not None and sampled else 0,
        congestion_window=c.recovery.congestion.congestion_window if started else 0,
        ssthresh=c.recovery.congestion.ssthresh if started else None,
        bytes_in_flight=c.recovery.bytes_in_flight if started else 0,
        stream_bytes_acked=c.stream_bytes_acked,
        stream_bytes_delivered=c.credit.window.consumed,
        limited_by=_limit(c) if started else "application",
    )


def _limit(c: Connection) -> str:
    """What keeps the sender from sending: what it met last, or the peer's credit for its streams."""
    waiting = any(s.next_offset < s.written for s in c.streams.senders.values())
    return "flow-control" if waiting and c.builder.limited_by == "application" else c.builder.limited_by
