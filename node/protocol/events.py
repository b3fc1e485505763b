"""What the transport tells the application: past facts, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from node.protocol.datagrams import SocketAddress


@dataclass(frozen=True, slots=True)
class ConnectionEstablished:
    """The handshake is done; streams may be opened."""

    #: The peer's 64-bit node address, proven by the handshake.
    peer_address: int
    #: Whether we opened the connection.
    initiator: bool
    #: Whether early data was sent and taken; what was sent and refused goes again by itself (SPEC 15-7).
    early_accepted: bool = False


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamDataReceived:
    """There is something new to ``read()`` on a stream: at most one a burst and stream.

    ``ended``: all bytes up to the stream's end have arrived in order.
    """

    stream_id: int
    ended: bool
    #: Some of it is early data: it came before the handshake proved that it is no replay (SPEC 15-6).
    early: bool = False


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave up sending on a stream; what was not read is gone."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class SendingStopped:
    """The peer asks us to stop sending on a stream."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class SendingGivenUp:
    """A stream that we send on was reset for us: data was lost that is not to be sent again."""

    stream_id: int
    #: The code the peer is told.
    code: int


@dataclass(frozen=True, slots=True)
class StreamAcknowledged:
    """All bytes and the end of a stream that we sent have been acknowledged."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """A stream's backlog of unsent bytes has run low: write more now."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The connection goes on over another path, which has proven to work (SPEC 13.2)."""

    #: Where the peer is.
    remote: SocketAddress


@dataclass(frozen=True, slots=True)
class PathFailed:
    """The peer seemed to be at an address where it does not answer: back to where it was."""

    #: The address that did not answer.
    remote: SocketAddress


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The connection is over; no further event of it will come."""

    #: ErrorCode or the application's own (0x100 and up).
    code: int
    reason: str
    #: Whether the peer ended it.
    remote: bool


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """A connectionless datagram came, whole; it belongs to no connection (SPEC 14)."""

    #: The 64-bit node address of its sender, proven by its seal.
    source_address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message came, whole."""

    data: bytes
    #: As of ``StreamDataReceived``.
    early: bool = False


@dataclass(frozen=True, slots=True)
class MessageAcknowledged:
    """All of a message that we sent has been acknowledged."""

    #: As ``send_message`` returned it.
    message_id: int


@dataclass(frozen=True, slots=True)
class MessageExpired:
    """A message that we sent was given up: the peer gets it whole or not at all, and we do not know which."""

    message_id: int
    #: Whether the peer does not take it, instead of its deadline having come, or data of it being lost that
    #: is not to be sent again.
    refused: bool


Event: TypeAlias = (
    ConnectionEstablished
    | StreamOpened
    | StreamDataReceived
    | StreamReset
    | SendingStopped
    | SendingGivenUp
    | StreamAcknowledged
    | StreamWritable
    | MessageReceived
    | MessageAcknowledged
    | MessageExpired
    | PathChanged
    | PathFailed
    | ConnectionClosed
)
