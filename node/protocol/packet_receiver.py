"""Taking DATA packets: the only place where hostile bytes enter an open connection.

The hot path (``bulk_receiver``) takes a burst in which every packet is one STREAM frame, as bulk data
comes. Anything else goes frame by frame. Nothing here raises for what the network did: a packet is dropped
and counted, or the connection closes with a code (SPEC 1-2, 5-1). A burst comes to the same as its packets
one by one (SPEC 1-1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from node.protocol.bulk_receiver import (
    BULK_DATA,
    BULK_HEAD,
    BULK_KINDS,
    HEADER_BYTES,
    NUMBER,
    OFFSET_LENGTH,
    BulkReceiver,
)
from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.states import OVER, ConnectionState
from node.protocol.streams.receive import MAX_GAPS, ReceiveStream
from node.protocol.time import Instant
from node.protocol.trace import StreamRun
from node.protocol.wire.fec_frames import FecRepair
from node.protocol.wire.frames import (
    NON_ELICITING,
    PROBING,
    Ack,
    Close,
    Frame,
    Message,
    Padding,
    Stream,
    parse_frames,
)
from node.protocol.wire.packet_number import WIRE_MASK, decode_packet_number

if TYPE_CHECKING:
    from node.protocol.arena import Arena
    from node.protocol.connection import Connection
    from node.protocol.observer import Observer

#: What became of a packet: it cannot be kept now, or is none; nothing asks for an acknowledgement, or
#: something does.
_UNTIMELY, _REFUSED, _TAKEN, _ELICITING = -1, 0, 1, 2
#: Frames that mean nothing in a rebuilt payload (SPEC 12.4-3): they speak of the moment they were sent at.
_NOT_REBUILT = (Padding, Ack, FecRepair, Close)


class PacketReceiver(BulkReceiver):
    """Opens the packets of one connection and hands their frames on."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.duplicates = 0
        self.malformed = 0

    def receive(
        self, packets: memoryview, segment_size: int, *, now: Instant, arena: Arena | None = None,
        ecn: int = 0,
    ) -> None:  # fmt: skip
        """Take datagrams of ``segment_size`` bytes that all carry our connection ID and one ECN codepoint.

        Raises:
            RemoteProtocolError: the peer broke the protocol; the caller closes the connection.
        """
        self._bulk_stream = None
        self._arena, self._now, self._ecn = arena, now, ecn
        if self._connection.keys is not None:
            self._connection.keys.reading_previous = False
        self._tells = False
        self._run_start = self._run_end = -1
        c, position, authentic, opened = self._connection, 0, False, -1
        fec, life, acks, end = c.fec, c.life, c.acks, len(packets)
        try:
            while position < end and life.state not in OVER:
                packet = packets[position : position + segment_size]
                position += len(packet)  # the last one may be shorter
                expected = max(self._run_end, acks.largest + 1)
                number = opened if opened >= 0 else self._open(packet, expected, now)
                opened = -1
                if number < 0:
                    continue
                if not authentic:
                    if life.state is ConnectionState.ESTABLISHED and c.early is None:
                        life.on_authentic(now)
                    else:
                        c.on_authentic(now, is_next=number == expected)
                    authentic = True
                payload = packet[HEADER_BYTES : len(packet) - c.protection.tag_size]
                if payload[0] in BULK_KINDS and self._arm(payload):
                    self._tells = True
                    self._append(payload[BULK_HEAD:])
                    self._note(number, len(packet), _ELICITING, now)
                    if fec is not None:
                        fec.retained.note(number, position - len(packet), position)
                    # A late packet goes alone: the numbers that follow it may have come before.
                    if self._run_end <= acks.largest or position == end:
                        self._appended()
                    else:
                        begin, first = position, self._run_end
                        position, opened = self._receive_bulk(packets, position, segment_size)
                        if fec is not None:
                            count = self._run_end - first
                            behind = min(begin + count * segment_size, end)
                            fec.retained.note_following(count, behind)
                    if c.observer is not None:
                        self._tell_run(c.observer, number, len(packet), now)
                    continue
                if fec is not None and number in fec.rebuilder.rebuilt:
                    taken = _ELICITING  # SPEC 12.4-4: what it carries was handled when it was rebuilt
                    if c.observer is not None:
                        c.observer.received(number, len(packet), (), now)
                elif payload[0] == Stream.KIND and c.observer is None and self._fill_gap(payload):
                    taken, self._tells = _ELICITING, True
                else:
                    taken = self._take_frames(payload, number, len(packet), now)
                if taken > 0:
                    self._note(number, len(packet), taken, now)
                if fec is not None and taken != _REFUSED:
                    fec.retained.note(number, position - len(packet), position)
            if self.integrity_failures >= c.protection.integrity_limit:  # SPEC 4.2-8
                raise RemoteProtocolError(ErrorCode.AEAD_LIMIT, "too many packets with a wrong tag")
        finally:
            self._end_run(now)
        if fec is not None and not c.closed:
            fec.rebuilder.after_burst(packets, segment_size, now=now)

    def take_rebuilt(self, number: int, payload: bytes, now: Instant) -> bool:
        """Handle the frames of a payload that was rebuilt; False: they are none, or cannot be kept now.

        Raises:
            RemoteProtocolError: the peer broke the protocol.
        """
        try:
            frames = [f for f in parse_frames(memoryview(payload)) if not isinstance(f, _NOT_REBUILT)]
        except RemoteProtocolError as error:
            self._drop_malformed(len(payload), number, error.reason)  # SPEC 12.4-3: in every profile
            return False
        if self._is_untimely(frames):
            return False
        if (observer := self._connection.observer) is not None:
            observer.rebuilt(number, len(payload), frames, now)
        return self._handle(frames, number, len(payload), now) > 0

    def _open(self, packet: memoryview, expected: int, now: Instant) -> int:
        """Check and open a packet in place; return its number, -1: it was dropped and counted."""
        c, length = self._connection, len(packet)
        # SPEC 4-4: nothing longer, least of all where a checksum's tables grow with it.
        if not HEADER_BYTES + c.protection.tag_size < length <= c.configuration.max_datagram_size:
            self._drop_malformed(length, None, "its length is not one of a DATA packet")
            return -1
        truncated, number = NUMBER.unpack_from(packet, 9)[0], expected
        if truncated != expected & WIRE_MASK:
            number = decode_packet_number(expected - 1, truncated)
        # The endpoint hands over bursts of one type: what is behind this packet is of its key phase.
        if packet[0] == c.receive_kind:
            opened = c.protection.open(number, packet, 0, length)
        else:
            opened = c.open_other(number, packet, now)
        if not opened:
            self._drop_damaged(length, number)
            return -1
        if number != expected and self._is_duplicate(number):  # what is expected is above all that came
            self.duplicates += 1
            self._tell_dropped(length, number, "duplicate", "it was received before, or is too old to tell")
            return -1
        return number

    def _is_duplicate(self, number: int) -> bool:
        return self._run_start <= number < self._run_end or self._connection.acks.is_duplicate(number)

    def _note(self, number: int, size: int, taken: int, now: Instant) -> None:
        """Count a packet that was taken, towards the acknowledgement of its run."""
        self.packets += 1
        self.bytes += size
        if number != self._run_end:
            if self._run_start >= 0:
                self._end_run(now)
            self._run_start = number
            self._eliciting = 0
        self._run_end = number + 1
        self._eliciting += taken == _ELICITING

    def _take_frames(self, payload: memoryview, number: int, size: int, now: Instant) -> int:
        """Handle all frames of a payload; return what became of it."""
        c = self._connection
        try:
            frames = parse_frames(payload)
        except RemoteProtocolError as error:
            self._drop_malformed(size, number, error.reason)
            if c.is_authenticated:
                raise
            return _REFUSED  # SPEC 5-1: in the checksum profiles it may be damage that slipped through
        if (len(frames) > 1 or isinstance(frames[0], Stream)) and self._is_untimely(frames):
            self._tell_dropped(size, number, "rejected", "stream data that cannot be kept this early")
            return _UNTIMELY  # SPEC 6-6, 7-3: as if it had never come, so that it is not acknowledged
        if c.observer is not None:
            c.observer.received(number, size, frames, now)
        return self._handle(frames, number, size, now)

    def _handle(self, frames: Sequence[Frame], number: int, size: int, now: Instant) -> int:
        c, life = self._connection, self._connection.life
        taken = _TAKEN
        for frame in frames:
            if life.state in OVER:
                break  # SPEC 5-4
            if not isinstance(frame, NON_ELICITING):
                taken = _ELICITING
            if not isinstance(frame, PROBING):
                self._tells = True
            try:
                c.handlers[type(frame)](c, frame, now)
            except RemoteProtocolError as error:
                if c.is_authenticated:
                    raise
                self._drop_malformed(size, number, error.reason)
                return _REFUSED
        return taken

    # -- what is dropped, and what observers are told

    def _drop_malformed(self, size: int, number: int | None, reason: str) -> None:
        self.malformed += 1
        self._tell_dropped(size, number, "invalid", reason)

    def _tell_run(self, observer: Observer, first: int, size: int, now: Instant) -> None:
        """Tell of the bulk packets from ``first`` on that were taken just now."""
        stream = self._bulk_stream
        assert stream is not None
        count = self._run_end - first
        head = BULK_DATA + self._connection.protection.tag_size
        length = (self._bulk_offset & ~OFFSET_LENGTH) - self._run_offset
        run = StreamRun(
            stream.stream_id,
            self._run_offset,
            self._run_offset + length,
            size - head,
            False,
            stream.is_message,
        )
        last_size = length - (count - 1) * (size - head) + head
        observer.received_run(stream, run, first, count, size, last_size, now)

    def _is_untimely(self, frames: Sequence[Frame]) -> bool:
        """Whether a packet holds early stream data that cannot be kept."""
        c = self._connection
        expected: dict[int, int] = {}  # by stream: what comes next, after the frames before
        for frame in frames:
            if not isinstance(frame, Stream):
                continue
            if isinstance(frame, Message) and c.messages.refuses(frame):
                return True
            stream = c.streams.receivers.get(frame.stream_id)
            if stream is None and c.streams.is_over(frame.stream_id):
                continue
            following = expected.get(frame.stream_id, stream.contiguous_end if stream is not None else 0)
            if frame.offset <= following:
                expected[frame.stream_id] = max(following, frame.offset + len(frame.data))
            elif c.arq.in_order_only or (stream is not None and len(stream.early) >= MAX_GAPS):
                return True
        return False


def store(connection: Connection, stream: ReceiveStream, frame: Stream) -> None:
    """Put a STREAM frame's data into its stream, under both windows.

    Raises:
        RemoteProtocolError: final size or flow control.
    """
    before, ended = stream.contiguous_end, stream.ended
    connection.keep(stream, frame)
    # The end is told even if the news before it was not read yet: nothing else would ever tell it.
    if stream.ended != ended or (stream.contiguous_end > before and not stream.announced):
        connection.announce(stream)
