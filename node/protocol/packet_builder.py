"""What goes into the next datagrams: single packets of many frames, and bulk bursts.

The bulk path is the hot one: one record, one seal call a packet, one struct for header and frame
head. It yields the bytes that ``Stream.encode`` would, with longer integers; a property test
holds the two together.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from node.protocol.acknowledged import repeat
from node.protocol.arena import BULK_FRAME_BYTES, HEADER_BYTES, Arena, Slot
from node.protocol.control_frames import ControlFrames
from node.protocol.datagrams import MAX_BURST_BYTES, Transmit
from node.protocol.ecn import NOT_ECT
from node.protocol.recovery.ack_frequency import wanted_frequency
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.streams.send import SendStream
from node.protocol.time import Instant
from node.protocol.wire.data import DATA, EARLY
from node.protocol.wire.frames import (
    MAX_REASON_BYTES,
    Ack,
    AckFrequency,
    Close,
    Frame,
    Message,
    NewConnectionId,
    Ping,
    Stream,
    encode_stream,
)
from node.protocol.wire.packet_number import WIRE_MASK

if TYPE_CHECKING:
    from node.protocol.connection import Connection
    from node.protocol.path import Path
    from node.protocol.repair.fec import Fec

#: Type, connection ID, packet number; then a STREAM frame's type, 4-byte stream id, 8-byte offset.
_BULK_HEAD = struct.Struct(">9sIBIQ")
_HEADER = struct.Struct(">9sI")
_ID_LENGTH_BITS = 0x8000_0000
_OFFSET_LENGTH_BITS = 0xC000_0000_0000_0000
_MAX_BULK_STREAM_ID = (1 << 30) - 1
#: Most bytes that a STREAM frame's head takes: type, id, offset, length.
_STREAM_HEAD_MAX = 1 + 8 + 8 + 4
#: Header, tag and a CLOSE frame without a reason.
_BARE_CLOSE_BYTES = 64
#: Below this room a further piece of a stream is not worth its head.
_MIN_PIECE = _STREAM_HEAD_MAX + 1


class PacketBuilder:
    """Builds the DATA packets of one connection in the endpoint's arena."""

    def __init__(self, connection: Connection, arena: Arena) -> None:
        self._connection = connection
        self._arena = arena
        self.control = ControlFrames()
        #: SPEC 15-7: the next packet with control frames goes though the window be full.
        self.confirms = False
        #: What kept us from sending at the last try (Statistics.limited_by).
        self.limited_by = "application"
        #: When pacing lets the next burst go; None: pacing holds nothing back.
        self.paced_until: Instant | None = None
        self.retransmitted_packets = self.retransmitted_bytes = 0
        #: Acknowledgements sent.
        self.acks = 0
        #: The type of our packets: their key phase (SPEC 4.2-1).
        self.kind = DATA
        #: What every packet begins with: type and connection ID.
        self._prefix = bytes(9)
        #: What the peer was last asked for.
        self.ack_frequency: AckFrequency | None = None

    def configure(self, connection_id: bytes, size: int) -> None:
        """Set what packets carry as their target, and the bytes of a full one."""
        self.set_destination(connection_id)
        self.resize(size)

    def resize(self, size: int) -> None:
        """Set the bytes of a full packet."""
        self.size = size
        self._connection.recovery.resize(size)
        #: UDP payload bytes of a full packet with stream data: FEC leaves room for what repair has besides.
        self.protected_size = size
        fec, tag_size = self._connection.fec, self._connection.protection.tag_size
        if fec is not None:
            self.protected_size = fec.writer.set_packet_size(size, tag_size=tag_size)
        #: Bytes of stream data in a bulk packet.
        self._data_size = self.protected_size - HEADER_BYTES - BULK_FRAME_BYTES - tag_size

    def use_kind(self, kind: int) -> None:
        """Send packets of this type from now on: of another key phase (SPEC 4.2)."""
        self.kind = kind
        self._prefix = bytes((kind,)) + self._prefix[1:]

    def set_destination(self, connection_id: bytes) -> None:
        """Set the connection ID that packets carry."""
        self._prefix = bytes((self.kind,)) + connection_id

    def configure_early(self, connection_id: bytes, size: int) -> None:
        """Send EARLY packets, which carry our own connection ID (SPEC 15-3), until configured anew."""
        self.configure(connection_id, size)
        self._prefix = bytes((EARLY,)) + connection_id

    def next_burst(self, *, now: Instant) -> Transmit | None:
        """Return the next datagrams to send, or None."""
        c = self._connection
        self.paced_until = None
        self.limited_by = "application"
        paths, recovery, streams, fec = c.paths, c.recovery, c.streams, c.fec
        if paths.waiting and (found := paths.next_packet(now=now)) is not None:
            return found
        if not paths.active.validated and paths.blocked:
            self.limited_by = "path"
            return None
        if recovery.probes_due:
            return self._probe(now)
        # SPEC 5-5: they are in flight as well; a peer that never acknowledges gets a window of them.
        ack_due = c.acks.deadline is not None and c.acks.deadline <= now
        if paths.ids_due and (ack_due or self.control):
            paths.issue_ids()
        control = bool(self.control) or (fec is not None and fec.rebuilder.report_due)
        control = control and (recovery.window_left >= self.size or self.confirms)
        if control or ack_due:
            self.confirms = False
            # Asked only where it is of use: an acknowledgement alone waits for no window.
            wanted = self.size if streams.ready or streams.ready_messages else 0
            if not wanted and not control:
                return self._acknowledgement(now)
            return self._single(
                now, control=control, stream_bytes=self._allowance(wanted, now) if wanted else 0
            )
        if fec is not None and fec.writer.pending:
            return self._repairs(fec, now)
        ready, credit = streams.ready or streams.ready_messages, c.credit.to_send
        stream = streams.next_ready(credit) if ready else None
        if stream is None:
            if fec is not None and fec.writer.on_idle():
                return self._repairs(fec, now)
            recovery.on_app_limited()
            if streams.blocked or streams.ready or streams.ready_messages:
                self.limited_by = "flow-control"
            return None
        start, end = stream.sendable(credit)
        wanted = stream.waiting(credit, MAX_BURST_BYTES) if stream.lost else end - start
        allowance = self._allowance(wanted, now)
        if not allowance:
            return None
        if end - start >= self._data_size and stream.stream_id <= _MAX_BULK_STREAM_ID:
            return self._bulk(stream, allowance, now)
        return self._single(now, control=control, stream_bytes=allowance, first=stream)

    def has_nothing_more(self) -> bool:
        """Whether ``next_burst`` would find nothing now; noted then, as if it had been asked.

        Most packets of an echo, and most acknowledgements, are the last for now: this spares a second search.
        """
        c = self._connection
        streams, paths = c.streams, c.paths
        if streams.ready or streams.ready_messages or self.control or c.acks.deadline is not None:
            return False
        if paths.waiting or not paths.active.validated or c.fec is not None or c.recovery.probes_due:
            return False
        c.recovery.on_app_limited()
        self.paced_until, self.limited_by = None, "flow-control" if streams.blocked else "application"
        return True

    def apart(self, frame: Frame, path: Path, *, size: int, now: Instant) -> Transmit | None:
        """Return a packet with a frame alone, padded to ``size``; None: it does not fit.

        Loss recovery keeps no record of it: whether it is answered is all that counts, and it may take
        another path than the one in use.
        """
        c, payload = self._connection, frame.encode()
        room = size - HEADER_BYTES - c.protection.tag_size
        if room < len(payload):
            return None
        number, slot = self._seal(payload.ljust(room, b"\x00"), self._prefix[:1] + path.peer_id.value)
        record = SentBurst(number, 1, now, size=size, last_size=size, eliciting=False)
        record.frames = (frame,)
        c.on_sent(record, 0)
        return Transmit(path.remote, slot.packet, size)

    def close(self, code: int, reason: str, *, now: Instant) -> Transmit | None:
        """Return a packet with CLOSE; None: the peer has to prove its address first (SPEC 13.2-3)."""
        path = self._connection.paths.active
        if not path.validated:
            if path.room < _BARE_CLOSE_BYTES:
                return None
            if path.room < _BARE_CLOSE_BYTES + MAX_REASON_BYTES:
                reason = ""
        frame = Close(code, reason)
        return self._finish([frame.encode()], [frame], [], now=now, eliciting=False)

    def ask_ack_frequency(self) -> None:
        """Ask for fewer or more acknowledgements when the window calls for it (SPEC 5-6)."""
        recovery = self._connection.recovery
        wanted = wanted_frequency(
            congestion_window=recovery.congestion.congestion_window,
            packet_size=self.size,
            smoothed_rtt=recovery.rtt.smoothed_rtt,
            min_rtt=recovery.rtt.min_rtt,
            announced=self.ack_frequency,
        )
        if wanted is not None and self._connection.arq.max_open_packets is None:
            self.ack_frequency = wanted
            self.control.renew(wanted)

    def _allowance(self, wanted: int, now: Instant) -> int:
        """Bytes that window (SPEC 6.1-1), ARQ mode and pacing let go now; 0 or at least one packet."""
        c = self._connection
        window, path = c.recovery.window_left, c.paths.active
        if not path.validated:
            window = min(window, path.room)
        most = c.arq.max_open_packets
        if most is not None:
            room = (most - c.recovery.open_packets) * self.size
            if room <= 0:
                self.limited_by = "arq"
                c.recovery.on_app_limited()
                return 0
            window = min(window, room)
        if window < self.size:
            self.limited_by = "congestion"
            c.recovery.window_used = True
            return 0
        wanted = min(wanted, window)
        pacer = c.recovery.pacer
        paced = pacer.allowance(packet_size=self.size, wanted=wanted, now=now)
        if not paced:
            self.limited_by = "pacing"
            # RFC 9002 §7.8: it counts as used if without pacing it would be; half a window in flight
            # some time in the last round trip says so, while one far beyond the path's capacity never fills.
            congestion_window = c.recovery.congestion.congestion_window
            c.recovery.window_used = 2 * c.recovery.rate.most_in_flight >= congestion_window
            self.paced_until = pacer.next_time(packet_size=self.size, wanted=wanted, now=now)
        return min(window, paced)

    # -- the bulk path

    def _bulk(self, stream: SendStream, allowance: int, now: Instant) -> Transmit:
        """Build a burst of full packets, of which the last may be shorter.

        What was lost goes first, however many ranges it is in, and new data in the same burst behind it: a
        burst for each lost packet was a third of the CPU that loss cost.
        """
        c, size = self._connection, self.protected_size
        tag_size, first = c.protection.tag_size, c.recovery.next_packet_number
        slots, parts, fresh = self._fill_parts(stream, allowance // size)
        last_size = len(slots[-1].packet)
        fin = bool(slots[-1].payload[0] & 0x01)
        if c.fec is not None:
            c.fec.writer.add_burst(first, slots, self._arena, tag_size=tag_size, now=now)
        c.protection.seal(slots, first)
        record = SentBurst(first, len(slots), now, size=size, last_size=last_size)
        record.stream, record.fin, record.epoch = stream, fin, stream.epoch
        record.parts, record.data_size = tuple(parts), self._data_size
        index, start = parts[-1]
        record.data_end = start + (len(slots) - index) * self._data_size - (size - last_size)
        record.ecn = ecn = c.recovery.ecn.codepoint
        c.on_sent(record, fresh)
        c.streams.take_turns(stream)
        return self._sent(self._arena.view[: (len(slots) - 1) * size + last_size], size, ecn)

    def _fill_parts(self, stream: SendStream, most: int) -> tuple[list[Slot], list[tuple[int, int]], int]:
        """Write what a stream has to send into at most so many packets.

        Returns:
            The packets, where consecutive data begins (index of the packet, offset), and the credit it takes.
        """
        c, data_size, fin = self._connection, self._data_size, False
        tag_size, credit, number = c.protection.tag_size, c.credit.to_send, c.recovery.next_packet_number
        room = self._arena.slots(self.protected_size, tag_size)[:most]
        slots: list[Slot] = []
        parts: list[tuple[int, int]] = []
        fresh = short = 0
        while len(slots) < len(room) and not short and not fin:
            start, end = stream.sendable(credit - fresh)
            if start == end:
                break
            begin = len(slots)
            some = room[begin : begin - (start - end) // data_size]
            end = min(end, start + len(some) * data_size)
            short = (end - start) % data_size
            if short:
                short_size = self.protected_size - data_size + short
                some[-1] = self._arena.slot(some[-1].position, short_size, tag_size)
            self._fill(stream, some, number + begin, start, end)
            fin = stream.ended and end == stream.written  # fin_goes_with, without a call
            if fin:
                some[-1].payload[0] |= 0x01
            if start < stream.high_water:
                self.retransmitted_packets += len(some)
                self.retransmitted_bytes += min(end, stream.high_water) - start
            parts.append((begin, start))
            slots += some
            fresh += stream.on_sent(start, end, fin=fin)
        return slots, parts, fresh

    def _fill(self, stream: SendStream, slots: list[Slot], number: int, start: int, end: int) -> None:
        """Write heads and data of packets from ``number`` on."""
        pack_into, buffer, prefix = _BULK_HEAD.pack_into, self._arena.buffer, self._prefix
        stream_id = stream.stream_id | _ID_LENGTH_BITS
        offset = start | _OFFSET_LENGTH_BITS
        data_size = self._data_size
        chunk = stream.chunk_at(start, end)
        kind = Message.KIND if stream.is_message else Stream.KIND
        position = 0
        for slot in slots:
            pack_into(buffer, slot.position, prefix, number & WIRE_MASK, kind, stream_id, offset + position)
            if chunk is not None:
                slot.data[:] = chunk[position : position + data_size]
            else:
                stream.copy_into(slot.data, start + position)
            number += 1
            position += data_size

    def _repairs(self, fec: Fec, now: Instant) -> Transmit | None:
        """Build repair packets: paced and in flight as all else, and ahead of new data (SPEC 12.3-4)."""
        block = fec.writer.pending[0]
        allowance = self._allowance((block.released - block.sent) * self.size, now)
        if not allowance:
            return None
        most = max(1, allowance // self.size)
        record, packets = fec.build_repairs(self._arena, self._prefix, most=most, now=now)
        record.ecn = self._connection.recovery.ecn.codepoint
        self._connection.on_sent(record, 0)
        return self._sent(packets, record.size, record.ecn)

    # -- single packets

    def _probe(self, now: Instant) -> Transmit | None:
        """SPEC 8-2: send something new, repeat the newest or oldest packet in flight, or ask with a PING."""
        c = self._connection
        record = c.recovery.oldest_outstanding()
        if record is None:
            c.recovery.probes_due = 0
            return self.next_burst(now=now)
        if c.arq.in_order_only or c.arq.max_open_packets is not None or c.recovery.probes_due == 1:
            repeat(c, record, newest=False)
        elif c.streams.next_ready(c.credit.to_send) is None:
            # The end of what was sent is what no later packet can prove lost (RFC 8985 §7).
            repeat(c, c.recovery.newest_outstanding() or record, newest=True)
        # SPEC 13.2-7: new connection IDs alone would not tell the peer where we are.
        nothing = all(isinstance(frame, NewConnectionId) for frame in self.control)
        if nothing and c.streams.next_ready(c.credit.to_send) is None:
            self.control.append(Ping())
        if c.arq.max_open_packets is not None:
            c.recovery.probes_due = 1
        stream = c.streams.next_ready(c.credit.to_send)
        if stream is not None and not self.control and c.acks.deadline is None:
            start, end = stream.sendable(c.credit.to_send)
            # A full packet of bulk data has no room for the longer head of a single one.
            if end - start >= self._data_size and stream.stream_id <= _MAX_BULK_STREAM_ID:
                return self._bulk(stream, self.size, now)
        return self._single(now, control=True, stream_bytes=self.size)

    def _single(
        self, now: Instant, *, control: bool, stream_bytes: int, first: SendStream | None = None
    ) -> Transmit | None:
        """Build one packet: ACK, control frames, pieces of streams; ``first``: the one whose turn it is."""
        c = self._connection
        room = self.protected_size - HEADER_BYTES - c.protection.tag_size
        parts: list[bytes] = []
        ack: Ack | None = None
        frames: list[Frame] = []
        if control and c.fec is not None and c.fec.rebuilder.report_due:
            # SPEC 12.4-5: before ACK, so that what it reports is not sent again for being lost.
            frames.append(c.fec.rebuilder.recovered())
            parts.append(frames[0].encode())
            room -= len(parts[0])
        if c.acks.deadline is not None:
            ack = c.acks.frame(now=now)
            if ack is not None:
                self.acks += 1
                parts.append(ack.encode())
                room -= len(parts[-1])
                if c.keys is not None:
                    c.keys.on_ack_sent()
        while control and self.control:
            encoded = self.control[0].encode()
            if len(encoded) > room:
                break
            frames.append(self.control.popleft())
            parts.append(encoded)
            room -= len(encoded)
        pieces: list[tuple[SendStream, int, int, bool, int]] = []
        streams = c.streams
        while stream_bytes and room >= _MIN_PIECE and (streams.ready or streams.ready_messages):
            taken = self._take_piece(parts, pieces, room, first)
            if not taken:
                break
            room -= taken
            first = None
        if not parts:
            return None
        return self._finish(parts, frames, pieces, now=now, eliciting=bool(frames or pieces), ack=ack)

    def _acknowledgement(self, now: Instant) -> Transmit:
        """Build a packet of an acknowledgement alone: as ``_single`` does, with less to ask."""
        c = self._connection
        ack = c.acks.frame(now=now)
        assert ack is not None  # one is owed only when something was received
        self.acks += 1
        if c.keys is not None:
            c.keys.on_ack_sent()
        number, slot = self._seal(ack.encode(), self._prefix)
        size = len(slot.packet)
        c.on_sent(SentBurst(number, 1, now, size=size, last_size=size, eliciting=False), 0, ack)
        return self._sent(slot.packet, size, NOT_ECT)

    def _take_piece(
        self, parts: list[bytes], pieces: list[tuple[SendStream, int, int, bool, int]], room: int,
        stream: SendStream | None,
    ) -> int:  # fmt: skip
        """Append a piece of the stream whose turn it is; return the bytes it takes, 0 for none."""
        c = self._connection
        credit = c.credit.to_send
        stream = stream or c.streams.next_ready(credit)
        if stream is None:
            return 0
        start, end = stream.sendable(credit)
        end = min(end, start + room - _STREAM_HEAD_MAX)
        data = bytearray(end - start)
        if data:
            stream.copy_into(memoryview(data), start)
        fin = stream.fin_goes_with(end)
        kind = Message.KIND if stream.is_message else Stream.KIND
        encoded = encode_stream(kind, stream.stream_id, start, data, fin)
        parts.append(encoded)
        pieces.append((stream, start, end, fin, stream.epoch))
        if start < stream.high_water:
            self.retransmitted_packets += 1
            self.retransmitted_bytes += min(end, stream.high_water) - start
        fresh = stream.on_sent(start, end, fin=fin)
        if fresh:
            c.credit.on_sent(fresh)
        c.streams.take_turns(stream)
        return len(encoded)

    def _finish(
        self, parts: list[bytes], frames: list[Frame],
        pieces: list[tuple[SendStream, int, int, bool, int]], *, now: Instant, eliciting: bool,
        ack: Ack | None = None,
    ) -> Transmit:  # fmt: skip
        c = self._connection
        payload = b"".join(parts)
        if pieces and c.fec is not None:
            c.fec.writer.add(c.recovery.next_packet_number, payload, now=now)
        number, slot = self._seal(payload, self._prefix)
        size = len(slot.packet)
        record = SentBurst(number, 1, now, size=size, last_size=size, eliciting=eliciting)
        record.frames, record.pieces = tuple(frames), tuple(pieces)
        # SPEC 8.2-2: what nobody acknowledges can validate nothing, nor be slowed down.
        record.ecn = ecn = c.recovery.ecn.codepoint if eliciting else NOT_ECT
        c.on_sent(record, 0, ack)
        return self._sent(slot.packet, size, ecn)

    def _seal(self, payload: bytes, prefix: bytes) -> tuple[int, Slot]:
        """Return the number of the next packet, and the packet."""
        c = self._connection
        tag_size = c.protection.tag_size
        slot = self._arena.lone(HEADER_BYTES + len(payload) + tag_size, tag_size)
        number = c.recovery.next_packet_number
        _HEADER.pack_into(self._arena.buffer, 0, prefix, number & WIRE_MASK)
        slot.payload[:] = payload
        c.protection.seal([slot], number)
        return number, slot

    def _sent(self, buffer: memoryview, size: int, ecn: int) -> Transmit:
        """Send packets over the path in use."""
        path = self._connection.paths.active
        if not path.validated:
            path.sent += len(buffer)
        return Transmit(path.remote, buffer, size, ecn)
