"""What a connection tells of itself: frozen records, in the spirit of TCP_INFO and SRT's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.protocol.datagrams import SocketAddress
from node.protocol.time import Duration


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot of a connection's counters and estimates: bytes, ns, bytes a second."""

    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    #: Packets declared lost by the sender (RFC 9002 §6).
    packets_lost: int
    #: Of these, packets acknowledged after all (SPEC 8-6).
    spurious_losses: int
    #: Packets sent that repeat earlier stream data or control frames.
    retransmitted_packets: int
    #: Stream bytes in them that had been sent before.
    retransmitted_bytes: int
    #: Received packets dropped because their tag was wrong (SPEC 4.1-4).
    integrity_failures: int
    #: Received packets dropped as duplicates (SPEC 4-2).
    duplicate_packets: int
    #: Received packets dropped because they did not parse.
    malformed_packets: int
    #: Received packets that came after one with a higher number, and by how many numbers at most.
    late_packets: int
    reordering: int
    acks_sent: int
    acks_received: int
    probe_timeouts: int
    #: Messages handed in, received whole, and given up by their deadline or the peer (SPEC 6.2).
    messages_sent: int
    messages_received: int
    messages_expired: int
    #: Key phases that we have begun to send in, after the first (SPEC 4.2).
    key_updates: int
    #: RTT estimates in ns (RFC 9002 §5); 0 until there is a sample.
    latest_rtt: Duration
    smoothed_rtt: Duration
    rttvar: Duration
    min_rtt: Duration
    congestion_window: int
    #: None: still in slow start for the first time.
    ssthresh: int | None
    bytes_in_flight: int
    #: The last sample of the rate at which the path delivers (SPEC 8-4), and the rate of sending.
    delivery_rate: int
    pacing_rate: int
    #: Stream bytes acknowledged by the peer; stream bytes delivered in order to the application.
    stream_bytes_acked: int
    stream_bytes_delivered: int
    #: Streams of which a half is not over.
    streams_open: int
    #: Stream bytes written and not yet acknowledged, and received and not yet read.
    send_backlog: int
    receive_backlog: int
    #: New stream bytes that the peer still takes on the connection, and that we still take.
    send_credit: int
    receive_credit: int
    #: UDP payload bytes of a full packet.
    datagram_size: int
    #: Forward error correction (SPEC 12): repair packets sent and received, packets of the peer that we
    #: rebuilt, packets of ours that the peer rebuilt, blocks given up with packets missing, rebuilt payloads
    #: that were damaged, and repair packets for each packet protected.
    fec_repairs_sent: int
    fec_repairs_received: int
    fec_packets_rebuilt: int
    fec_packets_recovered: int
    fec_blocks_unrepaired: int
    fec_payloads_spoilt: int
    fec_overhead: float
    #: What keeps the sender from sending now: one of ``node.protocol.limits.CAUSES``.
    limited_by: str
    #: How long each cause did, up to the last time that anything was sent or asked for.
    limited_time: Mapping[str, Duration] = field(default_factory=dict)
    #: Time in which there was data in flight, or to send.
    busy_time: Duration = 0
    #: What is known of ECN on the path we send on: testing, unknown, capable, failed (SPEC 8.2).
    ecn_state: str = "testing"
    #: Packets of ours that the peer received marked as ECN-CE.
    ecn_ce: int = 0
    #: Where the peer is.
    remote: SocketAddress = ("", 0)
    #: Paths that the connection has changed to and that proved to work (SPEC 13.2).
    path_changes: int = 0


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of one stream, as byte ranges [start, end) (SPEC 6.1)."""

    #: S: what the sender may have on the wire.
    send: tuple[int, int]
    #: R: what the receiver, as far as the sender knows, accepts.
    receive: tuple[int, int]

    @property
    def shared(self) -> tuple[int, int]:
        """W = S ∩ R."""
        start = max(self.send[0], self.receive[0])
        return start, max(start, min(self.send[1], self.receive[1]))
