"""The bytes of the streams of one direction: are retransmitted ones the same, and where does a stream end?"""

from __future__ import annotations

from bisect import insort

#: A hole of more than this is not filled with memory: what lies behind it is not compared.
_MAX_HOLE = 64 << 20
#: Bytes that are not equal by chance.
_ENOUGH = 8


class StreamBytes:
    """All bytes of one stream that were seen."""

    def __init__(self) -> None:
        self._bytes = bytearray()
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
        size = len(self._bytes)
        if offset == size:
            self._bytes += data
            return None
        if offset > size:
            if offset - size <= _MAX_HOLE:
                self._holes.append((size, offset))
                self._bytes += bytes(offset - size) + data
            return None
        return self._overlap(offset, data, size)

    def holds(self, offset: int, data: bytes) -> bool:
        """Return whether the stream has these bytes there; enough of them that chance has no part."""
        return len(data) >= _ENOUGH and self._bytes[offset : offset + len(data)] == data

    def end_at(self, size: int) -> tuple[str, str, str] | None:
        """Take a final size (RFC 9000 §4.5); return rule, found and expected if it contradicts."""
        if self.final_size is not None and self.final_size != size:
            return "6", f"final size {size}", f"{self.final_size}, as said before"
        if size < self.highest:
            return "6", f"final size {size}", f"at least {self.highest}, which was sent"
        self.final_size = size
        return None

    def _overlap(self, offset: int, data: bytes, size: int) -> tuple[str, str, str] | None:
        known = min(offset + len(data), size)
        touched = [hole for hole in self._holes if hole[0] < known and hole[1] > offset]
        for hole in touched:
            start, end = max(hole[0], offset), min(hole[1], known)
            self._bytes[start:end] = data[start - offset : end - offset]
            self._holes.remove(hole)
            for rest in ((hole[0], start), (end, hole[1])):
                if rest[0] < rest[1]:
                    insort(self._holes, rest)
        if self._bytes[offset:known] != data[: known - offset]:
            there = self._bytes[offset:known]
            first = next(at for at, byte in enumerate(there) if byte != data[at])
            return "6-3", f"different bytes from offset {offset + first} on", "the bytes sent there before"
        self._bytes += data[known - offset :]
        return None
