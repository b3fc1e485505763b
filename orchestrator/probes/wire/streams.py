"""The bytes of the streams of one direction: are retransmitted ones the same, and where does a stream end?"""

from __future__ import annotations

from bisect import insort

#: Bytes of a stream that are kept at least; no window of a receiver is larger. What lies further back is not
#: compared with a repetition any more.
_KEPT = 64 << 20
#: A hole of more than this is not filled with memory: what lies behind it is not compared.
_MAX_HOLE = 64 << 20
#: Bytes that are not equal by chance.
_ENOUGH = 8


class StreamBytes:
    """The newest bytes of one stream that were seen."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        #: Where in the stream they begin: what is before was forgotten.
        self._first = 0
        #: Offsets [start, end) below the end that were not seen yet, in order.
        self._holes: list[tuple[int, int]] = []
        self.final_size: int | None = None
        #: The end of what was seen so far.
        self.highest = 0

    def add(self, offset: int, data: bytes, *, fin: bool) -> tuple[str, str, str] | None:
        """Take a piece; return rule, found and expected if it contradicts earlier ones."""
        end = offset + len(data)
        problem = self.end_at(end) if fin else None
        if problem is None and self.final_size is not None and end > self.final_size:
            problem = "6", f"stream data to {end}", f"nothing beyond the final size {self.final_size}"
        if problem is not None:
            return problem
        self.highest = max(self.highest, end)
        known = self._first + len(self._bytes)
        if offset < known:
            return self._overlap(offset, data, known)
        if offset > known:
            if offset - known > _MAX_HOLE:
                return None
            self._holes.append((known, offset))
            self._bytes += bytes(offset - known)
        self._bytes += data
        if len(self._bytes) >= 2 * _KEPT:
            self._forget()
        return None

    def holds(self, offset: int, data: bytes) -> bool:
        """Return whether the stream has these bytes there; enough of them that chance has no part."""
        start = offset - self._first
        return len(data) >= _ENOUGH and start >= 0 and self._bytes[start : start + len(data)] == data

    def end_at(self, size: int) -> tuple[str, str, str] | None:
        """Take a final size (RFC 9000 §4.5); return rule, found and expected if it contradicts."""
        if self.final_size is not None and self.final_size != size:
            return "6", f"final size {size}", f"{self.final_size}, as said before"
        if size < self.highest:
            return "6", f"final size {size}", f"at least {self.highest}, which was sent"
        self.final_size = size
        return None

    def _forget(self) -> None:
        self._first = first = self._first + len(self._bytes) - _KEPT
        del self._bytes[:-_KEPT]
        self._holes = [(max(start, first), end) for start, end in self._holes if end > first]

    def _overlap(self, offset: int, data: bytes, known: int) -> tuple[str, str, str] | None:
        """Compare what overlaps with what is kept before ``known``, fill holes, and take what is new."""
        forgotten = min(len(data), max(0, self._first - offset))
        offset, data = offset + forgotten, data[forgotten:]
        if not data:
            return None
        upto = min(offset + len(data), known)
        touched = [hole for hole in self._holes if hole[0] < upto and hole[1] > offset]
        for hole in touched:
            start, end = max(hole[0], offset), min(hole[1], upto)
            self._bytes[start - self._first : end - self._first] = data[start - offset : end - offset]
            self._holes.remove(hole)
            for rest in ((hole[0], start), (end, hole[1])):
                if rest[0] < rest[1]:
                    insort(self._holes, rest)
        there = self._bytes[offset - self._first : upto - self._first]
        if there != data[: upto - offset]:
            first = next(at for at, byte in enumerate(there) if byte != data[at])
            return "6-3", f"different bytes from offset {offset + first} on", "the bytes sent there before"
        self._bytes += data[upto - offset :]
        return None
