"""What the transport tells observers: one frozen record a fact, in qlog's vocabulary (SPEC 16-1).

Names are those of draft-ietf-quic-qlog-main-schema and -quic-events; ``name`` is the qlog name of
each. What qlog has no word for is in the category ``strait``. A burst is one record here, as it is
everywhere in the core: ``first`` and ``count`` stand for its packets, and whoever wants single
packets expands it off the path (``node.qlog``).

A packet's way is seen in five steps: split (``DataMoved`` from the application, then the STREAM
frames of ``PacketSent``), header (``PacketSent``), send (``DatagramsSent``), check
(``PacketReceived``, or ``PacketDropped`` with the reason), reassemble (``DataMoved`` to the
application).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from node.protocol.datagrams import SocketAddress
from node.protocol.time import Duration, Instant
from node.protocol.wire.frames import Frame
from node.protocol.wire.parameters import TransportParameters

#: Half-open ``[start, end)``: packet numbers or stream offsets.
Range: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class StreamPart:
    """A STREAM or MESSAGE frame without its data."""

    stream_id: int
    offset: int
    length: int
    fin: bool
    #: Whether it is a MESSAGE frame.
    message: bool = False


@dataclass(frozen=True, slots=True)
class StreamRun:
    """The STREAM frames of a bulk burst, one in each packet: consecutive data of one stream."""

    stream_id: int
    #: The run's bytes: ``[offset, end)``.
    offset: int
    end: int
    #: Bytes in each packet; the last may carry fewer.
    size: int
    #: Whether the last frame ends the stream.
    fin: bool
    #: Whether the frames are MESSAGE frames.
    message: bool = False


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """What all events have in common: nothing but that they have a name."""

    name: ClassVar[str]


#: Takes each event of one connection. None instead of one: tracing is off and costs nothing.
Tracer: TypeAlias = Callable[[Instant, TraceEvent], None]
#: Asked for a tracer when a connection begins; arguments: its initiator's connection ID, which both ends
#: know it by, and whether this end is the initiator. None: this connection is not traced. Asked once with
#: NO_CONNECTION, too, for what belongs to none.
TracerOf: TypeAlias = Callable[[bytes, bool], Tracer | None]
NO_CONNECTION = b""


# -- connectivity


@dataclass(frozen=True, slots=True)
class ConnectionStarted(TraceEvent):
    """An end began a connection, or took one that a peer began."""

    name: ClassVar[str] = "connectivity:connection_started"
    initiator: bool
    #: The peer's socket address.
    remote: SocketAddress
    #: The peer's node address (SPEC 2-1).
    remote_node: int
    #: This end's connection ID; the peer's is in its parameters.
    source_connection_id: bytes


@dataclass(frozen=True, slots=True)
class ConnectionClosed(TraceEvent):
    """The connection is over for the application."""

    name: ClassVar[str] = "connectivity:connection_closed"
    #: ``local`` or ``remote``.
    owner: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionStateUpdated(TraceEvent):
    """A step in the life of a connection (``node.protocol.states``)."""

    name: ClassVar[str] = "connectivity:connection_state_updated"
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class ConnectionIdUpdated(TraceEvent):
    """Packets to the peer carry another of its connection IDs (SPEC 13.1)."""

    name: ClassVar[str] = "connectivity:connection_id_updated"
    #: Whose ID it is: ``remote``.
    owner: str
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class PathUpdated(TraceEvent):
    """The connection took to another path, or it is known now whether one works (SPEC 13.2, 13.3)."""

    name: ClassVar[str] = "connectivity:path_updated"
    #: The peer's address there.
    remote: SocketAddress
    #: ``active``, ``validated`` or ``failed``.
    state: str
    #: Whether it was we who moved.
    is_own_move: bool


@dataclass(frozen=True, slots=True)
class MtuUpdated(TraceEvent):
    """Full packets have another size (SPEC 13.4)."""

    name: ClassVar[str] = "connectivity:mtu_updated"
    #: UDP payload bytes.
    old: int
    new: int


# -- transport


@dataclass(frozen=True, slots=True)
class ParametersSet(TraceEvent):
    """The transport parameters of one end hold."""

    name: ClassVar[str] = "transport:parameters_set"
    #: ``local`` or ``remote``.
    owner: str
    parameters: TransportParameters


@dataclass(frozen=True, slots=True)
class DatagramsSent(TraceEvent):
    """A burst was handed to the driver."""

    name: ClassVar[str] = "transport:datagrams_sent"
    count: int
    #: UDP payload bytes of all together, and of each but the last.
    size: int
    segment_size: int
    #: ECN codepoint of the IP header (0: Not-ECT).
    ecn: int = 0


@dataclass(frozen=True, slots=True)
class DatagramsReceived(TraceEvent):
    """The driver handed a burst in; nothing is checked yet."""

    name: ClassVar[str] = "transport:datagrams_received"
    count: int
    size: int
    segment_size: int
    ecn: int = 0


@dataclass(frozen=True, slots=True)
class _Packets(TraceEvent):
    #: Type of the packet (SPEC 3, 4), lower case: ``data``, ``initiation`` …
    kind: str
    #: Number of the first packet; the others follow.
    first: int
    count: int
    #: UDP payload bytes of each packet, and of the last.
    size: int
    last_size: int
    #: Frames of the only packet (of every packet, where ``run`` is None and there are several).
    frames: tuple[Frame | StreamPart, ...] = ()
    #: The stream data of a bulk burst.
    run: StreamRun | None = None


@dataclass(frozen=True, slots=True)
class PacketSent(_Packets):
    """Packets with consecutive numbers were built and protected, ready to go."""

    name: ClassVar[str] = "transport:packet_sent"


@dataclass(frozen=True, slots=True)
class PacketReceived(_Packets):
    """Packets with consecutive numbers passed every check, and what they carry was taken."""

    name: ClassVar[str] = "transport:packet_received"


@dataclass(frozen=True, slots=True)
class PacketDropped(TraceEvent):
    """A received packet was dropped without any change of state but a counter (SPEC 1-2)."""

    name: ClassVar[str] = "transport:packet_dropped"
    #: Why: in qlog's words, and in ours.
    trigger: str
    reason: str
    #: UDP payload bytes.
    size: int
    #: Its number, where it could be told.
    number: int | None = None


@dataclass(frozen=True, slots=True)
class PacketsAcked(TraceEvent):
    """The peer acknowledged packets for the first time."""

    name: ClassVar[str] = "transport:packets_acked"
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class StreamStateUpdated(TraceEvent):
    """One half of a stream took a step (RFC 9000 §3)."""

    name: ClassVar[str] = "transport:stream_state_updated"
    stream_id: int
    #: Whether it is the half we send on.
    sending: bool
    #: None: the stream was not heard of before.
    old: str | None
    new: str


@dataclass(frozen=True, slots=True)
class DataMoved(TraceEvent):
    """Stream data passed between application and transport."""

    name: ClassVar[str] = "transport:data_moved"
    stream_id: int
    offset: int
    length: int
    #: Whether the application read it, in order; else it wrote it.
    to_application: bool


# -- recovery


@dataclass(frozen=True, slots=True)
class RecoveryParametersSet(TraceEvent):
    """What loss recovery and congestion control begin with."""

    name: ClassVar[str] = "recovery:parameters_set"
    #: Name of the congestion controller.
    controller: str
    #: Later packets whose acknowledgement makes one lost (RFC 9002 §6.1.1).
    reordering_threshold: int
    timer_granularity: Duration
    initial_rtt: Duration
    #: Bytes.
    max_datagram_size: int
    initial_congestion_window: int


@dataclass(frozen=True, slots=True)
class MetricsUpdated(TraceEvent):
    """The figures of loss recovery and congestion control after a step."""

    name: ClassVar[str] = "recovery:metrics_updated"
    #: ns; None: no sample yet.
    min_rtt: Duration | None
    smoothed_rtt: Duration | None
    latest_rtt: Duration | None
    rttvar: Duration | None
    #: Probe timeouts in a row.
    pto_count: int
    #: Bytes.
    congestion_window: int
    bytes_in_flight: int
    packets_in_flight: int
    ssthresh: int | None
    #: Bytes a second.
    pacing_rate: int


@dataclass(frozen=True, slots=True)
class CongestionStateUpdated(TraceEvent):
    """The congestion controller goes about something else."""

    name: ClassVar[str] = "recovery:congestion_state_updated"
    #: Name of the controller.
    controller: str
    #: None: the first that is told.
    old: str | None
    new: str


@dataclass(frozen=True, slots=True)
class EcnStateUpdated(TraceEvent):
    """The path proved to carry ECN marks, or not to (RFC 9000 §13.4.2)."""

    name: ClassVar[str] = "recovery:ecn_state_updated"
    #: None: the first that is told.
    old: str | None
    new: str


@dataclass(frozen=True, slots=True)
class LossTimerUpdated(TraceEvent):
    """The loss timer fired."""

    name: ClassVar[str] = "recovery:loss_timer_updated"
    #: ``ack`` (losses by time) or ``pto``.
    timer: str


@dataclass(frozen=True, slots=True)
class PacketLost(TraceEvent):
    """Packets were declared lost (RFC 9002 §6.1)."""

    name: ClassVar[str] = "recovery:packet_lost"
    ranges: tuple[Range, ...]
    #: ``reordering_threshold`` or ``time_threshold``.
    trigger: str


@dataclass(frozen=True, slots=True)
class SpuriousLoss(TraceEvent):
    """Packets that were declared lost were acknowledged after all (SPEC 8-6)."""

    name: ClassVar[str] = "recovery:spurious_loss"
    ranges: tuple[Range, ...]
    #: What makes a packet lost from now on: so many later ones, so many eighths of the round trip.
    packet_threshold: int
    time_threshold_eighths: int
    #: Whether what the losses led to is undone, since all of them were spurious.
    undone: bool


@dataclass(frozen=True, slots=True)
class MarkedForRetransmit(TraceEvent):
    """Stream data is to be sent again."""

    name: ClassVar[str] = "recovery:marked_for_retransmit"
    stream_id: int
    ranges: tuple[Range, ...]


# -- security


@dataclass(frozen=True, slots=True)
class KeyUpdated(TraceEvent):
    """A direction has new keys (SPEC 4.2). The keys themselves are in the key log alone."""

    name: ClassVar[str] = "security:key_updated"
    #: Whose packets they seal: ``local`` or ``remote``.
    owner: str
    #: Key phase, from 0.
    generation: int
    #: ``handshake``, ``local_update`` or ``remote_update``.
    trigger: str


@dataclass(frozen=True, slots=True)
class KeyDiscarded(TraceEvent):
    """The keys of an old phase are forgotten."""

    name: ClassVar[str] = "security:key_discarded"
    owner: str
    generation: int


# -- our own


@dataclass(frozen=True, slots=True)
class WindowsUpdated(TraceEvent):
    """The windows of one stream (SPEC 6.1), as byte ranges ``[start, end)``."""

    name: ClassVar[str] = "strait:windows_updated"
    stream_id: int
    #: S, and W = S ∩ R; None at the receiving end, which knows R alone.
    send: Range | None
    receive: Range
    shared: Range | None


@dataclass(frozen=True, slots=True)
class LimitUpdated(TraceEvent):
    """Something else than before keeps the sender from sending (SPEC 16-6)."""

    name: ClassVar[str] = "strait:limit_updated"
    #: One of ``node.protocol.limits.CAUSES``, but ``cpu``, which only shows afterwards.
    cause: str


@dataclass(frozen=True, slots=True)
class ArqSteppedBack(TraceEvent):
    """Go-back-n sends everything from a byte on again (SPEC 7-3)."""

    name: ClassVar[str] = "strait:arq_stepped_back"
    stream_id: int
    #: What goes again: ``[offset, end)``.
    offset: int
    end: int
    #: How often the stream has stepped back.
    epoch: int


@dataclass(frozen=True, slots=True)
class FecRepairSent(TraceEvent):
    """Repair packets of a block go out (SPEC 12); ``PacketSent`` has their numbers."""

    name: ClassVar[str] = "strait:fec_repair_sent"
    #: The packets that the block protects.
    protects: tuple[Range, ...]
    #: Which repair symbols of how many these are.
    repairs: Range
    total: int
    #: Bytes of a symbol.
    size: int


@dataclass(frozen=True, slots=True)
class FecPacketRebuilt(TraceEvent):
    """What a packet carried that did not arrive was rebuilt from others and taken."""

    name: ClassVar[str] = "strait:fec_packet_rebuilt"
    packet_number: int
    #: Bytes of its payload.
    size: int
    frames: tuple[Frame | StreamPart, ...]


@dataclass(frozen=True, slots=True)
class FecPacketsRecovered(TraceEvent):
    """The peer tells that it has rebuilt packets: they are lost, but what they carried is not."""

    name: ClassVar[str] = "strait:fec_packets_recovered"
    ranges: tuple[Range, ...]
