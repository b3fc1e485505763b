"""Taking the statistics of a connection, and the windows of its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.protocol.statistics import Statistics, Windows

if TYPE_CHECKING:
    from node.protocol.connection import Connection
    from node.protocol.recovery.manager import Recovery
    from node.protocol.repair.fec import Fec
    from node.protocol.streams.send import SendStream
    from node.protocol.streams.table import StreamTable


def snapshot(c: Connection) -> Statistics:
    """Return counters and estimates as they are now; zeros before the handshake is through."""
    values: dict[str, Any] = dict.fromkeys(Statistics.__slots__, 0)
    c.limits.count(c.now)
    values.update(
        ssthresh=None,
        packets_sent=c.packets_sent,
        packets_received=c.receiver.packets,
        bytes_sent=c.bytes_sent,
        bytes_received=c.receiver.bytes,
        retransmitted_packets=c.builder.retransmitted_packets,
        retransmitted_bytes=c.builder.retransmitted_bytes,
        integrity_failures=c.receiver.integrity_failures,
        duplicate_packets=c.receiver.duplicates,
        malformed_packets=c.receiver.malformed,
        acks_sent=c.builder.acks,
        stream_bytes_acked=c.stream_bytes_acked,
        stream_bytes_delivered=c.credit.window.consumed,
        send_credit=c.credit.to_send,
        receive_credit=c.credit.to_receive,
        limited_by=c.limits.cause,
        limited_time=dict(c.limits.times),
        busy_time=c.limits.busy,
        ecn_state="testing",
        messages_sent=c.messages.sent,
        messages_received=c.messages.received,
        messages_expired=c.messages.expired,
        remote=c.remote,
        path_changes=c.paths.changes,
    )
    if c.parameters is not None:
        values.update(_recovery(c.recovery), **_streams(c.streams))
        values.update(datagram_size=c.builder.size, late_packets=c.acks.late, reordering=c.acks.reordering)
        if c.fec is not None:
            values.update(_fec(c.fec))
        if c.keys is not None:
            values.update(key_updates=c.keys.updates)
    return Statistics(**values)


def windows(c: Connection, stream: SendStream) -> Windows:
    """Return S and R of a stream that we send on (SPEC 6.1)."""
    low = stream.acked_prefix
    limit = min(stream.max_data, stream.high_water + c.credit.to_send)
    return Windows((low, stream.high_water + c.recovery.window_left), (low, limit))


def _recovery(recovery: Recovery) -> dict[str, Any]:
    rtt, congestion = recovery.rtt, recovery.congestion
    found: dict[str, Any] = {
        "packets_lost": recovery.packets_lost,
        "spurious_losses": recovery.reordering.spurious,
        "acks_received": recovery.acks,
        "probe_timeouts": recovery.probe_timeouts,
        "congestion_window": congestion.congestion_window,
        "ssthresh": congestion.ssthresh,
        "bytes_in_flight": recovery.bytes_in_flight,
        "delivery_rate": recovery.delivery_rate,
        "pacing_rate": recovery.pacer.rate,
        "ecn_state": recovery.ecn.state.value,
        "ecn_ce": recovery.ecn.reported[2],
    }
    if rtt.has_sample:
        found |= {
            "latest_rtt": rtt.latest_rtt,
            "smoothed_rtt": rtt.smoothed_rtt,
            "rttvar": rtt.rttvar,
            "min_rtt": rtt.min_rtt,
        }
    return found


def _fec(fec: Fec) -> dict[str, Any]:
    return {
        "fec_repairs_sent": fec.writer.repairs_sent,
        "fec_repairs_received": fec.rebuilder.repairs_received,
        "fec_packets_rebuilt": fec.rebuilder.packets_rebuilt,
        "fec_packets_recovered": fec.packets_recovered,
        "fec_blocks_unrepaired": fec.rebuilder.blocks_unrepaired,
        "fec_payloads_spoilt": fec.rebuilder.payloads_spoilt,
        "fec_overhead": fec.writer.overhead,
    }


def _streams(streams: StreamTable) -> dict[str, Any]:
    return {
        "streams_open": len(streams.senders.keys() | streams.receivers.keys()),
        "send_backlog": sum(stream.backlog for stream in streams.senders.values()),
        "receive_backlog": sum(len(stream.buffer) for stream in streams.receivers.values()),
    }
