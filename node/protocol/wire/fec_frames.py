"""The frames of forward error correction (SPEC 12): repair symbols, and what was rebuilt with them."""

from __future__ import annotations

from dataclasses import dataclass

from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.wire.varint import decode_varint, encode_varint

#: SPEC 12.2-1: source symbols of a block; more pays little in overhead, and is waited for longer.
MAX_BLOCK_PACKETS = 128
#: Repair symbols of a block: a quarter of the largest.
MAX_REPAIRS = 32
#: SPEC 12.1-2: ranges of packet numbers that a block has at most.
MAX_BLOCK_RANGES = 8
#: SPEC 12.1-3: ranges that one FEC_RECOVERED reports, the newest.
MAX_RECOVERED_RANGES = 32
_NUMBERS = 1 << 62


@dataclass(frozen=True, slots=True)
class FecRepair:
    """One repair symbol of a block (0x30); it reaches to the end of the packet."""

    #: Code of the scheme (SPEC 12.2).
    scheme: int
    #: The block's packets: half-open ranges of packet numbers, lowest first, disjoint and not touching.
    ranges: tuple[tuple[int, int], ...]
    #: How many repair symbols the block has, and which of them this is.
    total: int
    index: int
    symbol: bytes | memoryview

    def encode(self) -> bytes:
        return self.head() + encode_varint(self.index) + bytes(self.symbol)

    def head(self) -> bytes:
        """Return what all repair symbols of a block begin with: all before the index."""
        (start, end), *further = self.ranges
        values = [0x30, self.scheme, start, len(further), end - start - 1]
        for low, high in further:
            values += [low - end - 1, high - low - 1]
            end = high
        return b"".join(map(encode_varint, (*values, self.total)))


@dataclass(frozen=True, slots=True)
class FecRecovered:
    """Packets of the peer whose payloads were rebuilt (0x31)."""

    #: Half-open ranges of packet numbers, highest first, disjoint and not touching.
    ranges: tuple[tuple[int, int], ...]

    def encode(self) -> bytes:
        (start, end), *further = self.ranges
        values = [0x31, end - 1, len(further), end - 1 - start]
        for low, high in further:
            values += [start - high - 1, high - 1 - low]
            start = low
        return b"".join(map(encode_varint, values))


def parse_fec_repair(data: memoryview, position: int, kind: int) -> tuple[FecRepair, int]:
    """Return the frame at ``position`` and where it ends.

    Raises:
        RemoteProtocolError: truncated, or beyond a bound of SPEC 12.1 or 12.2.
    """
    scheme, position = decode_varint(data, position)
    start, position = decode_varint(data, position)
    further, position = decode_varint(data, position)
    length, position = decode_varint(data, position)
    if further >= MAX_BLOCK_RANGES:
        raise _error("a block of too many ranges")
    end = start + length + 1
    ranges, packets = [(start, end)], end - start
    for _ in range(further):
        gap, position = decode_varint(data, position)
        length, position = decode_varint(data, position)
        start = end + gap + 1
        end = start + length + 1
        ranges.append((start, end))
        packets += end - start
    total, position = decode_varint(data, position)
    index, position = decode_varint(data, position)
    if packets > MAX_BLOCK_PACKETS or end > _NUMBERS:
        raise _error("a block too large")
    if not 0 <= index < total <= MAX_REPAIRS:
        raise _error("a repair symbol that the block does not have")
    return FecRepair(scheme, tuple(ranges), total, index, data[position:]), len(data)


def parse_fec_recovered(data: memoryview, position: int, kind: int) -> tuple[FecRecovered, int]:
    """Return the frame at ``position`` and where it ends (RemoteProtocolError: it is not valid)."""
    largest, position = decode_varint(data, position)
    further, position = decode_varint(data, position)
    length, position = decode_varint(data, position)
    if further >= MAX_RECOVERED_RANGES:
        raise _error("too many ranges in FEC_RECOVERED")
    start = largest - length
    ranges = [(start, largest + 1)]
    for _ in range(further):
        gap, position = decode_varint(data, position)
        length, position = decode_varint(data, position)
        end = start - gap - 1
        start = end - 1 - length
        ranges.append((start, end))
    if start < 0:
        raise _error("FEC_RECOVERED range below zero")
    return FecRecovered(tuple(ranges)), position


def _error(reason: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.FRAME_ENCODING, reason)
