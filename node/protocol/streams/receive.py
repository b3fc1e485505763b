"""The receiving half of a stream: reassembly, final size, and the window it announces."""

from __future__ import annotations

from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.ranges import RangeSet
from node.protocol.streams.flow_control import ReceiveWindow
from node.protocol.streams.states import RECEIVE_TRANSITIONS, ReceiveState

#: SPEC 6-6: with so many gaps in a stream's data, a packet that may open another is not taken ...
MAX_GAPS = 1024
#: ... and one packet alone that opens so many more is an attack.
MAX_GAPS_AFTER_ONE_PACKET = 2 * MAX_GAPS
#: So many bytes that were read may stay at the front of a buffer, or half of it: to delete them costs a
#: copy of all that is behind them, which through loss is megabytes for each packet that fills a gap.
MAX_READ_KEPT = 64 * 1024


class ReceiveStream:
    """Bytes from the peer to the application, in order, each once (SPEC 6-1).

    ``buffer`` holds the bytes from ``base`` on, some of them read already; in order it only grows at its
    end. Bytes that came early lie behind a gap of zeros, and ``early`` knows where.
    """

    def __init__(self, stream_id: int, window: int, most: int | None = None) -> None:
        self.stream_id = stream_id
        self.state = ReceiveState.RECEIVING
        self.window = ReceiveWindow(window, most)
        self.buffer = bytearray()
        #: Offset of the buffer's first byte.
        self.base = 0
        #: All before has been read.
        self.read_offset = 0
        #: First byte that is missing.
        self.contiguous_end = 0
        #: End of the highest byte received; counts against the connection's window.
        self.highest = 0
        self.final_size: int | None = None
        #: Whether it carries a message (SPEC 6.2).
        self.is_message = False
        #: Ranges received beyond the first gap.
        self.early = RangeSet()
        #: Whether the application has been told of the news since it last read.
        self.announced = False
        #: Whether all bytes up to the end have arrived.
        self.ended = False

    def receive(self, offset: int, data: bytes | bytearray | memoryview, *, fin: bool) -> int:
        """Take the data of one frame; return by how many bytes ``highest`` rose.

        Raises:
            RemoteProtocolError: final size, flow control, or too many gaps.
        """
        end = offset + len(data)
        if offset > self.contiguous_end and len(self.early.starts) >= MAX_GAPS_AFTER_ONE_PACKET:
            raise RemoteProtocolError(ErrorCode.FLOW_CONTROL, "too many gaps in a stream")
        self._check(end, fin=fin)
        rise = max(0, end - self.highest)
        self.highest = max(self.highest, end)
        if self.state in (ReceiveState.RECEIVING, ReceiveState.SIZE_KNOWN):
            if end > self.contiguous_end and len(data):
                self.store(offset, end, memoryview(data))
            if fin and self.state is ReceiveState.RECEIVING:
                self._go("end known")
            if self.state is ReceiveState.SIZE_KNOWN and self.contiguous_end == self.final_size:
                self._go("all received")
        return rise

    def extend_to(self, offset: int) -> bool:
        """Make the buffer end at ``offset``, over a gap if need be; False: it reaches beyond already.

        Whoever puts bytes at the buffer's end after that tells ``appended`` of them.
        """
        missing = offset - self.base - len(self.buffer)
        if missing > 0:
            self.buffer += bytes(missing)  # ``extend`` would copy it once more
        return missing >= 0

    def appended(self, start: int, end: int) -> int:
        """Note bytes that were put at the buffer's end; return by how many bytes ``highest`` rose."""
        rise = end - self.highest
        self.highest = end
        if start == self.contiguous_end:
            self.contiguous_end = end
        elif self.early.ends and self.early.ends[-1] == start:
            self.early.ends[-1] = end
        else:
            self.early.add(start, end)
        return rise

    def read(self) -> bytearray:
        """Return all bytes in order that were not read yet; may be empty."""
        begin, end = self.read_offset - self.base, self.contiguous_end - self.base
        if end == len(self.buffer):
            found, self.buffer = self.buffer, bytearray()
            self.base = self.contiguous_end
            del found[:begin]
        else:
            found = self.buffer[begin:end]
            if end > MAX_READ_KEPT and 2 * end > len(self.buffer):
                del self.buffer[:end]
                self.base = self.contiguous_end
        self.read_offset = self.contiguous_end
        self.announced = False
        if self.state is ReceiveState.DATA_RECEIVED:
            self._go("all read")
        return found

    def reset(self, final_size: int) -> int:
        """The peer gave up; return by how many bytes ``highest`` rose."""
        self._check(final_size, fin=True)
        rise = final_size - self.highest
        self.highest = final_size
        if (self.state, "reset") in RECEIVE_TRANSITIONS:
            self._go("reset")
            self.buffer = bytearray()
            self.early = RangeSet()
        return rise

    def _check(self, end: int, *, fin: bool) -> None:
        if self.final_size is not None and (end > self.final_size or (fin and end != self.final_size)):
            raise RemoteProtocolError(ErrorCode.FINAL_SIZE, "data beyond the stream's end")
        if fin and end < self.highest:
            raise RemoteProtocolError(ErrorCode.FINAL_SIZE, "end before data already received")
        if end > self.window.maximum:
            raise RemoteProtocolError(ErrorCode.FLOW_CONTROL, "stream data beyond its window")
        if fin:  # last: a frame that is refused changes nothing
            self.final_size = end

    def store(self, offset: int, end: int, data: memoryview) -> None:
        """Put data that ends beyond all that is contiguous, and within the window, into its place."""
        if offset < self.contiguous_end:  # the front is known already
            data = data[self.contiguous_end - offset :]
            offset = self.contiguous_end
        position = offset - self.base
        buffer = self.buffer
        if position == len(buffer):
            buffer += data
        else:
            if position > len(buffer):
                buffer.extend(bytes(position - len(buffer)))
            buffer[position : position + len(data)] = data
        if offset == self.contiguous_end:
            self.contiguous_end = end
            starts = self.early.starts
            while starts and starts[0] <= self.contiguous_end:
                self.contiguous_end = max(self.contiguous_end, self.early.drop_lowest()[1])
        else:
            self.early.add(offset, end)

    def _go(self, event: str) -> None:
        self.state = RECEIVE_TRANSITIONS[self.state, event]
        self.ended = self.state in (ReceiveState.DATA_RECEIVED, ReceiveState.DATA_READ)
