"""Taking DATA packets: the only place where hostile bytes enter an open connection.

The hot path takes a burst in which every packet is one STREAM frame, as bulk data comes: opened in
place, appended to the stream's buffer, acknowledged as one range. Anything else goes frame by
frame. Nothing here raises for what the network did: a packet is dropped and counted, or the
connection closes with a code (SPEC 1-2, 5-1).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.streams.receive import ReceiveStream
from node.protocol.streams.states import ReceiveState
from node.protocol.time import Instant
from node.protocol.wire.frames import NON_ELICITING, Frame, Stream, parse_frames
from node.protocol.wire.packet_number import WIRE_MASK, decode_packet_number

if TYPE_CHECKING:
    from node.protocol.connection import Connection

_HEADER = struct.Struct(">9sI")
_BULK_FRAME = struct.Struct(">IQ")
HEADER_BYTES = 13
#: Where the data of a bulk packet begins: header, frame type, stream id, offset.
_BULK_DATA = 26
_OFFSET_MASK = (1 << 62) - 1
#: What became of a packet that was not dropped: nothing asks for an acknowledgement, or something does.
_TAKEN, _ELICITING = 1, 2


class PacketReceiver:
    """Opens the packets of one connection and hands their frames on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.packets = 0
        self.bytes = 0
        self.integrity_failures = 0
        self.duplicates = 0
        self.malformed = 0
        # What of the current burst has still to be acknowledged: packets [start, end).
        self._run_start = self._run_end = -1
        self._eliciting = 0

    def receive(self, packets: memoryview, segment_size: int, *, now: Instant) -> None:
        """Take datagrams of ``segment_size`` bytes that all carry our connection ID.

        Raises:
            RemoteProtocolError: the peer broke the protocol; the caller closes the connection.
        """
        self._run_start = self._run_end = -1
        try:
            for position in range(0, len(packets), segment_size):
                if self._connection.closed:  # by a CLOSE earlier in the burst
                    break
                self._receive_one(packets[position : position + segment_size], now)
        finally:
            self._end_run(now)

    def _receive_one(self, packet: memoryview, now: Instant) -> None:
        c = self._connection
        tag_size = c.protection.tag_size
        if len(packet) <= HEADER_BYTES + tag_size:
            self.malformed += 1
            return
        _, truncated = _HEADER.unpack_from(packet)
        largest = max(c.acks.largest, self._run_end - 1)
        if truncated == (largest + 1) & WIRE_MASK:
            number = largest + 1
        else:
            number = decode_packet_number(largest, truncated)
        if not c.protection.open(number, packet):
            self.integrity_failures += 1
            return
        if self._run_start <= number < self._run_end or c.acks.is_duplicate(number):
            self.duplicates += 1
            return
        c.on_authentic(now)
        if packet[13] == 0x08 and packet[14] & 0xC0 == 0x80 and packet[18] & 0xC0 == 0xC0:
            data = packet[_BULK_DATA : len(packet) - tag_size]
            taken = self._take_bulk(packet, data)
        else:
            taken = None
        if taken is None:
            taken = self._take_frames(packet[HEADER_BYTES : len(packet) - tag_size], number, now)
        if taken:
            self.packets += 1
            self.bytes += len(packet)
            if number != self._run_end:
                self._end_run(now)
                self._run_start = number
                self._eliciting = 0
            self._run_end = number + 1
            self._eliciting += taken == _ELICITING

    def _end_run(self, now: Instant) -> None:
        if self._run_end > self._run_start >= 0:
            self._connection.acks.on_received(
                self._run_start, self._run_end, self._eliciting, now=now
            )
        self._run_start = self._run_end = -1

    def _take_bulk(self, packet: memoryview, data: memoryview) -> int | None:
        """Append in-order data of a stream that has no gap; None: it is not that simple."""
        c = self._connection
        stream_id, offset = _BULK_FRAME.unpack_from(packet, 14)
        stream = c.streams.receivers.get(stream_id & 0x3FFF_FFFF)
        offset &= _OFFSET_MASK
        end = offset + len(data)
        if (
            stream is None
            or offset != stream.highest
            or offset != stream.contiguous_end
            or end > stream.window.maximum
            or stream.state is not ReceiveState.RECEIVING
        ):
            return None
        c.take_credit(len(data))
        stream.buffer += data
        stream.contiguous_end = stream.highest = end
        if not stream.announced:
            c.announce(stream)
        return _ELICITING

    def _take_frames(self, payload: memoryview, number: int, now: Instant) -> int:
        """Handle all frames; 0: the packet counts as not received, 1: taken, 2: ack-eliciting."""
        c = self._connection
        try:
            frames = list(parse_frames(payload))
        except RemoteProtocolError:
            self.malformed += 1
            if c.is_authenticated:
                raise
            return 0  # SPEC 5-1: in the checksum profiles it may be damage that slipped through
        if c.arq.in_order_only and any(self._is_early(frame) for frame in frames):
            return 0  # SPEC 7-3: as if it had never come, so that it is not acknowledged
        taken = _TAKEN
        for frame in frames:
            if not isinstance(frame, NON_ELICITING):
                taken = _ELICITING
            try:
                c.handle_frame(frame, now)
            except RemoteProtocolError:
                if c.is_authenticated:
                    raise
                self.malformed += 1
                return 0
        return taken

    def _is_early(self, frame: Frame) -> bool:
        if not isinstance(frame, Stream):
            return False
        stream = self._connection.streams.receivers.get(frame.stream_id)
        expected = stream.contiguous_end if stream is not None else 0
        if stream is None and self._connection.streams.was_opened(frame.stream_id):
            return False
        return frame.offset > expected


def store(connection: Connection, stream: ReceiveStream, frame: Stream) -> None:
    """Put a STREAM frame's data into its stream, under both windows.

    Raises:
        RemoteProtocolError: final size or flow control.
    """
    rise = max(0, frame.offset + len(frame.data) - stream.highest)
    if connection.receive_credit_left < rise:
        raise RemoteProtocolError(ErrorCode.FLOW_CONTROL, "data beyond the connection's window")
    before, ended = stream.contiguous_end, stream.ended
    connection.take_credit(stream.receive(frame.offset, frame.data, fin=frame.fin))
    if (stream.contiguous_end > before or stream.ended != ended) and not stream.announced:
        connection.announce(stream)
