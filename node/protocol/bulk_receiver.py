"""Taking bulk data: bursts of packets that are one STREAM or MESSAGE frame each.

The hot path of a receiver: packets are opened in place, appended to their stream's buffer, and acknowledged
as one range. What is no such packet is left to ``PacketReceiver``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from node.protocol.streams.receive import MAX_GAPS, ReceiveStream
from node.protocol.streams.states import ReceiveState
from node.protocol.time import Instant
from node.protocol.trace import PacketDropped
from node.protocol.wire.frames import Message, Stream
from node.protocol.wire.packet_number import WIRE_MASK

if TYPE_CHECKING:
    from node.protocol.arena import Arena, Slot
    from node.protocol.connection import Connection

HEADER_BYTES = 13
NUMBER = struct.Struct(">I")
#: A STREAM or MESSAGE frame without length and FIN, with the id in four bytes and the offset in eight:
#: what the bulk path sends. The rest of the packet is data.
_BULK_PACKET = struct.Struct(">BIQ")
BULK_KINDS = (Stream.KIND, Message.KIND)
BULK_HEAD = _BULK_PACKET.size
BULK_DATA = HEADER_BYTES + BULK_HEAD
_ID_LENGTH, _ID_IN_FOUR = 0xC000_0000, 0x8000_0000
OFFSET_LENGTH = 0xC000_0000_0000_0000
#: Packet numbers that may be missing between two packets of a burst; more are decoded with care (SPEC 4-1).
_MAX_STEP = 1 << 15
#: What became of a packet behind a gap, if it was not opened for others to take.
_UNTOUCHED, _STEPPED, _DROPPED = -1, -2, -3

#: ``bytearray.extend`` would make the zeros twice before it copies them.
_ZEROS = memoryview(bytes(1 << 16))


class BulkReceiver:
    """What of a connection's receiver takes bulk data."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.packets = 0
        self.bytes = 0
        self.integrity_failures = 0
        # What of the current burst has still to be acknowledged: packets [start, end).
        self._run_start = self._run_end = -1
        self._eliciting = 0
        # The STREAM frame that the next bulk packet is expected to be, ids and offsets as on the wire.
        self._bulk_stream: ReceiveStream | None = None
        self._bulk_kind = Stream.KIND
        self._bulk_id = self._bulk_offset = self._bulk_room = 0
        # From where on data was put into its buffer and is not counted yet.
        self._bulk_begin = 0
        self._run_offset = 0
        # Where the current burst lies, if its views are made already.
        self._arena: Arena | None = None
        self._now: Instant = 0
        # What its IP headers say of congestion.
        self._ecn = 0
        #: The highest number of a packet that says where the peer is (RFC 9000 §9.3).
        self.newest = -1
        self._tells = False

    def _arm(self, payload: memoryview) -> bool:
        """Whether the payload is bulk data for the end of its stream's buffer; the next is expected then.

        Behind a gap as well: through loss almost every packet comes while an earlier one is missing.
        """
        if len(payload) <= BULK_HEAD:
            return False
        kind, stream_id, offset = _BULK_PACKET.unpack_from(payload)
        if stream_id & _ID_LENGTH != _ID_IN_FOUR or offset & OFFSET_LENGTH != OFFSET_LENGTH:
            return False
        c = self._connection
        stream = c.streams.receivers.get(stream_id & ~_ID_LENGTH)
        start = offset & ~OFFSET_LENGTH
        if stream is None or stream.state is not ReceiveState.RECEIVING or start < stream.highest:
            return False
        if start > stream.contiguous_end and (c.arq.in_order_only or len(stream.early.starts) >= MAX_GAPS):
            return False  # SPEC 6-6, 7-3
        room = min(stream.window.maximum - start, c.credit.to_receive - (start - stream.highest))
        if stream.is_message:
            room = min(room, c.configuration.max_message_size - start)  # SPEC 6.2-3
        if stream.is_message is not (kind == Message.KIND):
            return False  # SPEC 6.2-1
        if len(payload) - BULK_HEAD > room or not stream.extend_to(start):
            return False
        self._bulk_stream = stream
        self._bulk_kind, self._bulk_id = kind, stream_id
        self._bulk_begin = self._bulk_offset = offset
        self._bulk_room = room
        self._run_offset = start
        return True

    def _fill_gap(self, payload: memoryview) -> bool:
        """Whether a STREAM frame is bulk data below its stream's highest byte, sent again; then it is taken.

        It comes to what ``_take_frames`` does, without making a frame: through loss that is a packet in a
        hundred, at five times the cost of others.
        """
        if len(payload) <= BULK_HEAD:
            return False
        _, stream_id, offset = _BULK_PACKET.unpack_from(payload)
        if stream_id & _ID_LENGTH != _ID_IN_FOUR or offset & OFFSET_LENGTH != OFFSET_LENGTH:
            return False
        c = self._connection
        stream = c.streams.receivers.get(stream_id & ~_ID_LENGTH)
        start, data = offset & ~OFFSET_LENGTH, payload[BULK_HEAD:]
        if stream is None or stream.state is not ReceiveState.RECEIVING or stream.is_message:
            return False
        end = start + len(data)
        if end > stream.highest:
            return False
        before = stream.contiguous_end
        if start > before and (c.arq.in_order_only or len(stream.early.starts) >= MAX_GAPS):
            return False  # SPEC 6-6, 7-3
        if end > before:
            stream.store(start, end, data)
        if stream.contiguous_end > before and not stream.announced:
            c.announce(stream)
        return True

    def _append(self, data: memoryview) -> None:
        """Append data of the expected stream; ``_appended`` is to be called when what follows is there."""
        assert self._bulk_stream is not None
        self._bulk_stream.buffer += data
        self._bulk_offset += len(data)
        self._bulk_room -= len(data)

    def _receive_bulk(self, packets: memoryview, position: int, segment_size: int) -> tuple[int, int]:
        """Take packets as long as each is the next of the expected stream, behind a gap if some were lost.

        Returns:
            Where it stopped, and the number of the packet there if it has been opened already, else -1.
        """
        c, stream = self._connection, self._bulk_stream
        assert stream is not None
        # Room for all at once: growing packet by packet copies the buffer nine times over.
        buffer, shift = stream.buffer, len(stream.buffer) - self._bulk_offset
        buffer += _ZEROS[: len(packets) - position]
        slots: list[Slot] = []
        if self._arena is not None:
            slots = self._arena.slots(segment_size, c.protection.tag_size)
            slots = slots[position // segment_size : len(packets) // segment_size]
        steps = c.fec is None and c.observer is None  # who want to hear of each run apart
        begin, first = self._bulk_offset, self._run_end
        while True:
            going, opened = True, False
            if slots:
                passed, going, opened = self._take_slots(slots, buffer, self._bulk_offset + shift)
                position += passed * segment_size
                slots = slots[passed:]
            while going and position < len(packets):
                end = min(position + segment_size, len(packets))
                passed, going, opened = self._take_at(packets, position, end, buffer, shift)
                position += passed * segment_size
            self._end_bulk(begin, first)
            if opened or not steps or not slots:
                number = self._run_end if opened else -1
                break
            begin, first = self._bulk_offset, self._run_end
            number = self._step(slots[0], stream, shift)
            if number > _STEPPED:
                break
            if number == _STEPPED:
                begin, first = self._bulk_begin, self._run_start
            position += segment_size
            del slots[0]
        del buffer[self._bulk_offset + shift :]
        return position, number

    def _take_slots(self, slots: list[Slot], buffer: bytearray, filled: int) -> tuple[int, bool, bool]:
        """Take whole packets from their slots in an arena: the hottest loop of a receiver.

        Returns:
            How many packets were dealt with, whether to go on with what follows them, and whether
            the packet at which this stopped has been opened already.
        """
        open_slot = self._connection.protection.open_slot
        number_of, frame_of = NUMBER.unpack_from, _BULK_PACKET.unpack_from
        stream_id, offset, number = self._bulk_id, self._bulk_offset, self._run_end
        kind = self._bulk_kind
        length = len(slots[0].data) if slots else 0
        passed, going, opened = 0, length > 0, False
        for slot in slots[: self._bulk_room // length] if length else ():
            if number_of(slot.header, 9)[0] != number & WIRE_MASK:
                going = False
                break
            if not open_slot(number, slot):
                self._drop_damaged(len(slot.packet), number)
                passed, going = 1, False
                break
            if frame_of(slot.payload) != (kind, stream_id, offset):
                going, opened = False, True
                break
            buffer[filled : filled + length] = slot.data
            filled += length
            offset += length
            number += 1
        passed += number - self._run_end
        self._bulk_room -= offset - self._bulk_offset
        self._bulk_offset, self._run_end = offset, number
        return passed, going, opened

    def _step(self, slot: Slot, stream: ReceiveStream, shift: int) -> int:
        """Take the packet behind a gap in the packet numbers: what was lost, or went to something else.

        Through loss nearly every burst has such gaps. It comes to what a packet on its own does, without
        looking for its stream again.

        Returns:
            Its number, if it was opened and is for others to take; else what became of it.
        """
        c, truncated = self._connection, NUMBER.unpack_from(slot.header, 9)[0]
        number: int = self._run_end + (truncated - self._run_end & WIRE_MASK)
        if not self._run_end < number <= self._run_end + _MAX_STEP:
            return _UNTOUCHED
        if not c.protection.open_slot(number, slot):
            self._drop_damaged(len(slot.packet), number)
            return _DROPPED
        kind, stream_id, offset = _BULK_PACKET.unpack_from(slot.payload)
        ahead, length = offset - self._bulk_offset, len(slot.data)
        if (kind, stream_id) != (self._bulk_kind, self._bulk_id):
            return number
        if not 0 <= ahead <= self._bulk_room - length:
            return number
        behind_gap = offset & ~OFFSET_LENGTH > stream.contiguous_end
        if behind_gap and (c.arq.in_order_only or len(stream.early.starts) >= MAX_GAPS):
            return number  # SPEC 6-6, 7-3
        self._end_run(self._now)
        self._run_start, self._run_end, self._eliciting = number, number + 1, 0
        if ahead:
            stream.buffer += bytes(ahead)
        stream.buffer[offset + shift : offset + shift + length] = slot.data
        self._bulk_begin, self._bulk_offset = offset, offset + length
        self._bulk_room -= ahead + length
        return _STEPPED

    def _take_at(
        self, packets: memoryview, position: int, end: int, buffer: bytearray, shift: int
    ) -> tuple[int, bool, bool]:
        """Take one packet that lies in no slot, like ``_take_slots``; ``shift``: offset to place."""
        c = self._connection
        offset = self._bulk_offset
        length = end - position - BULK_DATA - c.protection.tag_size
        if length <= 0 or NUMBER.unpack_from(packets, position + 9)[0] != self._run_end & WIRE_MASK:
            return 0, False, False
        if not c.protection.open(self._run_end, packets, position, end):
            self._drop_damaged(end - position, self._run_end)
            return 1, False, False
        frame = _BULK_PACKET.unpack_from(packets, position + HEADER_BYTES)
        if length > self._bulk_room or frame != (self._bulk_kind, self._bulk_id, offset):
            return 0, False, True
        data = position + BULK_DATA
        buffer[offset + shift : offset + shift + length] = packets[data : data + length]
        self._bulk_offset += length
        self._bulk_room -= length
        self._run_end += 1
        return 1, True, False

    def _end_bulk(self, begin: int, first: int) -> None:
        """Count the packets from ``first`` on that were taken, with data from the offset ``begin`` on."""
        self._appended()
        length, count = self._bulk_offset - begin, self._run_end - first
        self.packets += count
        self.bytes += length + count * (BULK_DATA + self._connection.protection.tag_size)
        self._eliciting += count

    def _appended(self) -> None:
        """Note what was appended since this was called last, and tell of what came in order."""
        begin, end = self._bulk_begin, self._bulk_offset
        if begin == end:
            return
        self._bulk_begin, stream = end, self._bulk_stream
        assert stream is not None
        self._connection.credit.take(stream.appended(begin & ~OFFSET_LENGTH, end & ~OFFSET_LENGTH))
        if not stream.announced and stream.contiguous_end == stream.highest:
            self._connection.announce(stream)

    def _end_run(self, now: Instant) -> None:
        if self._run_end > self._run_start >= 0:
            if self._tells and self._run_end > self.newest:
                self.newest = self._run_end - 1
            self._connection.acks.on_received(
                self._run_start, self._run_end, self._eliciting, now=now, ecn=self._ecn
            )
        self._run_start = self._run_end = -1

    def _drop_damaged(self, size: int, number: int) -> None:
        self.integrity_failures += 1
        self._tell_dropped(size, number, "decryption_failure", "its integrity check failed")

    def _tell_dropped(self, size: int, number: int | None, trigger: str, reason: str) -> None:
        if (observer := self._connection.observer) is not None:
            observer.emit(self._now, PacketDropped(trigger, reason, size, number))
