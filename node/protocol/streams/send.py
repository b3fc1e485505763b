"""The sending half of a stream: what is to send, what is lost, what is acknowledged."""

from __future__ import annotations

from bisect import bisect_right

from node.protocol.errors import LocalProtocolError
from node.protocol.ranges import RangeSet
from node.protocol.streams.states import SEND_DONE, SendState, send_transition


class SendStream:
    """Bytes from the application to the peer.

    Data is kept by reference, never copied, until it is acknowledged: a file mapped into memory
    goes out without a copy of our own, and again with the same bytes (SPEC 6-3).
    """

    def __init__(self, stream_id: int, max_data: int) -> None:
        self.stream_id = stream_id
        self.state = SendState.SENDING
        #: As far as the peer lets us send on this stream.
        self.max_data = max_data
        #: First byte never sent (go-back-n moves it back).
        self.next_offset = 0
        #: First byte never sent, whatever was moved back.
        self.high_water = 0
        #: Bytes the application has written.
        self.written = 0
        self.ended = False
        self.fin_pending = False
        self.fin_acked = False
        #: Ranges to send again.
        self.lost = RangeSet()
        #: What is acknowledged beyond a gap, and its end.
        self._acked = RangeSet()
        self._acked_end = 0
        #: All bytes below are acknowledged.
        self.acked_prefix = 0
        #: How often go-back-n moved back, and how far the last time.
        self.epoch = 0
        self.rewound_to = 0
        self.reset_code: int | None = None
        #: Whether it carries a message (SPEC 6.2), in MESSAGE frames.
        self.is_message = False
        #: Whether the stream stands in the queue of those with something to send.
        self.queued = False
        self._chunk_starts: list[int] = []
        self._chunks: list[memoryview] = []

    # -- what the caller wants

    def write(self, data: bytes | bytearray | memoryview, *, end: bool) -> None:
        """Append data, and maybe the stream's end. The data must not change afterwards."""
        if self.ended:
            raise LocalProtocolError(f"stream {self.stream_id}: write after its end")
        self.state = send_transition(self.state, "write")
        if len(data):
            self._chunk_starts.append(self.written)
            self._chunks.append(memoryview(data).cast("B"))
            self.written += len(data)
        if end:
            self.ended = self.fin_pending = True

    def reset(self, code: int) -> None:
        """Give up: nothing more is sent, nothing repeated."""
        self.state = send_transition(self.state, "reset")
        self.reset_code = code
        self.fin_pending = False
        self.lost = RangeSet()
        self._chunks.clear()
        self._chunk_starts.clear()

    # -- what to send

    def sendable(self, connection_credit: int) -> tuple[int, int]:
        """Return the next range ``[start, end)`` to send, lost bytes first; empty: nothing may go.

        It lies in R (SPEC 6.1-1); what goes of it in S, too, is for congestion control to say.

        Args:
            connection_credit: bytes that may still be sent for the first time on the connection.
        """
        if self.state is not SendState.SENDING and self.state is not SendState.DATA_SENT:
            return 0, 0
        if self.lost.starts:
            return self.lost.starts[0], self.lost.ends[0]
        start, limit = self.next_offset, min(self.written, self.max_data, self.high_water + connection_credit)
        if self.is_message:
            limit = self._limit(connection_credit)
        return start, max(start, limit)

    def _limit(self, connection_credit: int) -> int:
        """Return the offset that data sent for the first time may reach."""
        if self.is_message and (self.high_water or connection_credit < self.written):
            # SPEC 6.2-7: the credit for all of it was taken when it began, and it begins with no less.
            connection_credit = self.written if self.high_water else 0
        return min(self.written, self.max_data, self.high_water + connection_credit)

    def waiting(self, connection_credit: int, most: int) -> int:
        """Return how many bytes ``sendable`` has in one range after another, counted up to ``most``."""
        total = 0
        for start, end in self.lost:
            total += end - start
            if total >= most:
                return most
        start = self.next_offset
        limit = self._limit(connection_credit)
        return min(most, total + max(0, limit - start))

    @property
    def has_work(self) -> bool:
        """Whether there is something to send, the connection's credit aside."""
        if self.lost.starts:
            return True
        if self.state is SendState.SENDING or self.state is SendState.DATA_SENT:
            if self.next_offset < self.written:
                return self.next_offset < self.max_data
            return self.fin_pending
        return False

    @property
    def backlog(self) -> int:
        """Bytes written and not yet acknowledged."""
        return self.written - self.acked_prefix

    def fin_goes_with(self, end: int) -> bool:
        """Whether a frame that ends at ``end`` must carry FIN."""
        return self.ended and end == self.written

    def on_sent(self, start: int, end: int, *, fin: bool) -> int:
        """Note that a range was sent; return how much of the connection's credit that takes."""
        if self.lost.starts:
            self.lost.remove(start, end)
        before = self.high_water
        fresh = end - max(before, start)
        if fresh <= 0:
            fresh = 0
        else:
            self.high_water = end
        if end > self.next_offset:
            self.next_offset = end
        if self.is_message and fresh:  # SPEC 6.2-7: all of it at once
            fresh = 0 if before else self.written
        if fin:
            self.fin_pending = False
            if self.state is SendState.SENDING:
                self.state = send_transition(self.state, "end sent")
        return fresh

    def chunk_at(self, start: int, end: int) -> memoryview | None:
        """Return the bytes of a range if they lie in one piece, else None."""
        index = bisect_right(self._chunk_starts, start) - 1
        offset = start - self._chunk_starts[index]
        chunk = self._chunks[index]
        if end - start > len(chunk) - offset:
            return None
        return chunk[offset : offset + end - start]

    def copy_into(self, target: memoryview, start: int) -> None:
        """Fill ``target`` with the bytes from ``start`` on, across pieces."""
        index = bisect_right(self._chunk_starts, start) - 1
        filled = 0
        while filled < len(target):
            offset = start + filled - self._chunk_starts[index]
            piece = self._chunks[index][offset : offset + len(target) - filled]
            target[filled : filled + len(piece)] = piece
            filled += len(piece)
            index += 1

    # -- what became of it

    def on_acked(self, start: int, end: int, *, fin: bool) -> int:
        """Note an acknowledgement; return how many bytes are acknowledged for the first time."""
        if self.state in SEND_DONE or self.reset_code is not None:
            return 0
        self.fin_acked = self.fin_acked or fin
        if self.lost.starts:
            self.lost.remove(start, end)
        before, acked = self.acked_prefix, self._acked
        if start > before and start >= self._acked_end:  # beyond all gaps: through loss nearly all
            if acked.ends and acked.ends[-1] == start:
                acked.ends[-1] = end
            else:
                acked.add(start, end)
            self._acked_end = end
            return end - start
        if start >= before and not (acked.starts and acked.starts[0] < end):
            # In order, by far the most common, or in the first gap, where what is sent again is as a rule.
            fresh = end - start
            if start > before:
                acked.add(start, end)
                self._acked_end = max(self._acked_end, end)
            elif acked.starts and acked.starts[0] == end:
                self.acked_prefix = acked.drop_lowest()[1]
            else:
                self.acked_prefix = end
        else:
            fresh = sum(high - low for low, high in self._fresh(start, end))
            acked.add(max(start, before), end)
            self._acked_end = max(self._acked_end, end)
            if acked.starts and acked.starts[0] <= before:
                self.acked_prefix = acked.drop_lowest()[1]
        if self.acked_prefix > before:
            # Go-back-n may have stepped back to what a late acknowledgement now covers.
            self.next_offset = max(self.next_offset, self.acked_prefix)
            self._release()
        return fresh

    @property
    def complete(self) -> bool:
        """Whether everything up to the end is acknowledged."""
        return self.fin_acked and self.acked_prefix == self.written

    def lacks(self, start: int, end: int, *, fin: bool) -> bool:
        """Whether something of a range, or the end sent with it, is needed and not acknowledged."""
        if self.state in SEND_DONE or self.reset_code is not None:
            return False
        return bool(self._fresh(start, end)) or (fin and not self.fin_acked)

    def requeue(self, start: int, end: int, *, fin: bool) -> None:
        """Send a range again, but for what has been acknowledged meanwhile."""
        if self.reset_code is not None:
            return
        for low, high in self._fresh(start, end):
            self.lost.add(low, high)
        if fin and not self.fin_acked:
            self.fin_pending = True

    def rewind(self, start: int) -> None:
        """Send everything from ``start`` on again (go-back-n)."""
        if self.reset_code is not None:
            return
        start = max(start, self.acked_prefix)
        self.next_offset = min(self.next_offset, start)
        self.rewound_to = start
        self.epoch += 1
        if self.ended and not self.fin_acked:
            self.fin_pending = True

    def _fresh(self, start: int, end: int) -> list[tuple[int, int]]:
        return self._acked.missing(max(start, self.acked_prefix), end)

    def _release(self) -> None:
        """Let go of pieces that are acknowledged as a whole."""
        starts = self._chunk_starts
        while len(starts) > 1 and starts[1] <= self.acked_prefix:
            del starts[0], self._chunks[0]
        if starts and self.acked_prefix >= self.written:
            starts.clear()
            self._chunks.clear()
