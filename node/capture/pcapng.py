"""pcapng files (draft-ietf-opsawg-pcapng): a writer for captures, and a strict reader.

One little-endian section, interfaces with names, time stamps in whole nanoseconds, Enhanced Packet
Blocks that tell the direction, and an Interface Statistics Block with the kernel's drops at the end. The
reader takes any byte order and resolution; it refuses what is damaged, but a tail cut off by a killed
writer only ends it.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

LINKTYPE_ETHERNET = 1
#: What "no limit" is in an interface block: more than any frame has.
MAX_SNAPLEN = 262_144
#: No block of ours or of common tools is longer; a larger length is damage, not data.
MAX_BLOCK_BYTES = 16 << 20

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
SIMPLE_PACKET = 3
INTERFACE_STATISTICS = 5
ENHANCED_PACKET = 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
NANOSECONDS = 9

#: Bytes of a block without options, where it is more than the frame of a block.
_SMALLEST = {SECTION_HEADER: 28, INTERFACE_DESCRIPTION: 20, ENHANCED_PACKET: 32, INTERFACE_STATISTICS: 24}

OPTION_END = 0
OPTION_COMMENT = 1
_SHB_APPLICATION = 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 2, 3, 9
_EPB_FLAGS = 2
_ISB_RECEIVED, _ISB_DROPPED = 4, 5
# An Enhanced Packet Block up to the frame, and behind it when its only option is the direction.
_EPB = struct.Struct("<IIIIIII")
_TAIL = struct.Struct("<IIII")
_FLAGS_HEAD = 4 << 16 | _EPB_FLAGS


class Direction(IntEnum):
    """Which way a frame passed the interface, as epb_flags spells it."""

    UNKNOWN = 0
    INBOUND = 1
    OUTBOUND = 2


class CaptureError(Exception):
    """A capture cannot be read or written; the message says which file, where and why."""


def option(code: int, value: bytes) -> bytes:
    """Return one encoded option, padded to 32 bits."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes, options: bytes = b"") -> bytes:
    """Return one encoded block; ``options`` come from :func:`option`, without the end mark."""
    if options:
        options += bytes(4)
    length = 12 + len(body) + len(options)
    return struct.pack("<II", kind, length) + body + options + struct.pack("<I", length)


def packet_trailer(direction: Direction) -> bytes:
    """Return what follows the padded frame in an Enhanced Packet Block, but for the block's length."""
    return option(_EPB_FLAGS, struct.pack("<I", direction)) + bytes(4)


class Output(Protocol):
    """What a capture is written to: an open binary file, or what behaves like one."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""
        ...

    def close(self) -> None:
        """End the output."""
        ...


class Writer:
    """Writes one capture to a binary file.

    Nothing is buffered here beyond what ``file`` buffers; whoever opened it closes it (:meth:`create` opens).

    Args:
        file: where to, positioned at its start.
        comment: free text about the whole capture.
        application: who writes it.
    """

    def __init__(self, file: Output, *, comment: str = "", application: str = "narrows") -> None:
        self._file = file
        self._interfaces = 0
        options = option(_SHB_APPLICATION, application.encode())
        if comment:
            options = option(OPTION_COMMENT, comment.encode()) + options
        # Section length -1: not known in advance, so the file is valid at every block's end.
        file.write(block(SECTION_HEADER, struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1), options))

    @classmethod
    def create(cls, path: Path, *, comment: str = "", application: str = "narrows") -> Self:
        """Open ``path`` for writing (OSError if that fails) and begin a capture in it."""
        return cls(path.open("wb"), comment=comment, application=application)

    def add_interface(self, name: str, *, snaplen: int = MAX_SNAPLEN, description: str = "") -> int:
        """Declare an Ethernet interface and return its number, counted from 0."""
        options = option(_IF_NAME, name.encode()) + option(_IF_TSRESOL, bytes([NANOSECONDS]))
        if description:
            options += option(_IF_DESCRIPTION, description.encode())
        body = struct.pack("<HHI", LINKTYPE_ETHERNET, 0, snaplen)
        self._file.write(block(INTERFACE_DESCRIPTION, body, options))
        self._interfaces += 1
        return self._interfaces - 1

    def write_packet(
        self,
        interface: int,
        at: int,
        frame: bytes | bytearray | memoryview,
        *,
        original_length: int | None = None,
        direction: Direction = Direction.UNKNOWN,
        comment: str = "",
    ) -> None:
        """Write one frame.

        Args:
            interface: number that :meth:`add_interface` returned.
            at: ns since the epoch (in simulation: virtual ns since the start).
            frame: the Ethernet frame without its check sequence, maybe cut to the snap length.
            original_length: bytes the frame had on the wire, if it was cut.
            direction: which way it passed the interface.
            comment: shown beside the frame.
        """
        assert 0 <= interface < self._interfaces, f"interface {interface} was never added"
        options = option(OPTION_COMMENT, comment.encode()) if comment else b""
        options += packet_trailer(direction) if direction else (bytes(4) if comment else b"")
        size = len(frame)
        length = 32 + size + -size % 4 + len(options)
        original = size if original_length is None else original_length
        head = _EPB.pack(ENHANCED_PACKET, length, interface, at >> 32, at & 0xFFFF_FFFF, size, original)
        self._file.write(b"".join((head, frame, bytes(-size % 4), options, length.to_bytes(4, "little"))))

    def write_statistics(self, interface: int, at: int, *, received: int, dropped: int) -> None:
        """Write how many frames the interface received, and how many the capture lost, up to ``at``."""
        options = option(_ISB_RECEIVED, struct.pack("<Q", received))
        options += option(_ISB_DROPPED, struct.pack("<Q", dropped))
        body = struct.pack("<III", interface, at >> 32, at & 0xFFFF_FFFF)
        self._file.write(block(INTERFACE_STATISTICS, body, options))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(slots=True)
class Interface:
    """One interface of a capture."""

    name: str
    link_type: int
    snaplen: int
    #: Multiplier and divisor from the file's time stamp units to ns.
    numerator: int = 1000
    denominator: int = 1
    #: What the statistics block at the end tells; None: there is none.
    received: int | None = None
    dropped: int | None = None


class Frame(NamedTuple):
    """One captured frame."""

    #: Counts from 1, as Wireshark shows it.
    number: int
    interface: int
    #: ns since the epoch (or since the start, in simulation).
    at: int
    #: The bytes; a view that is valid as long as the capture's data is held.
    data: memoryview
    original_length: int
    direction: int


@dataclass(slots=True)
class Capture:
    """A capture to read: iterate over its frames once; the other fields are complete after that.

    Args:
        data: the whole file (read-only bytes or a memory map).
        name: what errors call it.
    """

    data: memoryview
    name: str = "capture"
    interfaces: list[Interface] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    #: Offset of a last block that was cut off, as a killed writer leaves it; None: the file is whole.
    truncated_at: int | None = None
    _order: str = "<"

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a file (CaptureError if it cannot be read)."""
        try:
            with path.open("rb") as file:
                if path.stat().st_size == 0:
                    return cls(memoryview(b""), str(path))
                return cls(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), str(path))
        except OSError as error:
            raise CaptureError(f"{path}: cannot be read: {error.strerror}") from error

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in the file's order (CaptureError where the file is damaged).

        Blocks as our own writers make them are read here; what is not exactly so takes the general path.
        """
        data, offset, number, end = self.data, 0, 0, len(self.data)
        if end == 0:
            self.truncated_at = 0
        last, plain = end - _EPB.size - _TAIL.size, frozenset[int]()
        unpack_head, unpack_tail, new = _EPB.unpack_from, _TAIL.unpack_from, tuple.__new__
        while offset < end:
            if offset <= last:
                kind, length, interface, high, low, size, original = unpack_head(data, offset)
                tail = offset + _EPB.size + size + -size % 4
                behind = offset + length
                if (
                    kind == ENHANCED_PACKET
                    and interface in plain
                    and tail + _TAIL.size == behind
                    and behind <= end
                ):
                    option_head, direction, options_end, again = unpack_tail(data, tail)
                    if option_head == _FLAGS_HEAD and again == length and not options_end:
                        number += 1
                        start = offset + _EPB.size
                        at = high << 32 | low
                        yield new(
                            Frame,
                            (number, interface, at, data[start : start + size], original, direction & 3),
                        )
                        offset = behind
                        continue
            length, frame = self._block(offset, number + 1)
            if not length:
                self.truncated_at = offset
                return
            if frame is not None:
                number += 1
                yield frame
            else:
                plain = self._plain_interfaces()
            offset += length

    def release(self) -> None:
        """Give back the memory that what was read of a mapped file takes: it is mapped again where needed."""
        mapped = self.data.obj
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_DONTNEED)

    def _plain_interfaces(self) -> frozenset[int]:
        """Return the interfaces whose blocks are as our own writers make them: little-endian, in ns."""
        if self._order != "<":
            return frozenset()
        return frozenset(
            number
            for number, one in enumerate(self.interfaces)
            if one.numerator == 1 and one.denominator == 1
        )

    def _block(self, offset: int, number: int) -> tuple[int, Frame | None]:
        """Take any block; return its length and the frame in it, if it holds one; length 0: it is cut off."""
        end = len(self.data)
        if end - offset < 12:
            return 0, None
        kind, length = self._block_head(offset)
        if offset + length > end:
            return 0, None
        (again,) = struct.unpack_from(self._order + "I", self.data, offset + length - 4)
        if again != length:
            raise self._error(offset, f"a block of {length} bytes ends with length {again}")
        body = self.data[offset + 8 : offset + length - 4]
        if kind == ENHANCED_PACKET:
            return length, self._packet(body, offset, number)
        if kind == INTERFACE_DESCRIPTION:
            self._interface(body, offset)
        elif kind == INTERFACE_STATISTICS:
            self._statistics(body, offset)
        elif kind == SECTION_HEADER:
            self.interfaces.clear()
            options = self._options(body, 16, offset)
            self.comments += [bytes(value).decode() for code, value in options if code == OPTION_COMMENT]
        elif kind == SIMPLE_PACKET:
            raise self._error(offset, "a Simple Packet Block has no time stamp: write Enhanced ones")
        return length, None

    def _block_head(self, offset: int) -> tuple[int, int]:
        kind: int
        length: int
        (kind,) = struct.unpack_from("<I", self.data, offset)
        if kind == SECTION_HEADER:
            for order in "<>":
                if struct.unpack_from(order + "I", self.data, offset + 8) == (BYTE_ORDER_MAGIC,):
                    self._order = order
                    break
            else:
                raise self._error(offset, "the section header's byte-order magic is wrong")
        elif offset == 0:
            raise self._error(0, f"not a pcapng file: it starts with 0x{kind:08x}, not with 0x0a0d0d0a")
        kind, length = struct.unpack_from(self._order + "II", self.data, offset)
        if length % 4 or not _SMALLEST.get(kind, 12) <= length <= MAX_BLOCK_BYTES:
            raise self._error(offset, f"block type {kind} cannot have a length of {length} bytes")
        return kind, length

    def _packet(self, body: memoryview, offset: int, number: int) -> Frame:
        interface, high, low, size, original = struct.unpack_from(self._order + "IIIII", body)
        if interface >= len(self.interfaces):
            raise self._error(offset, f"frame {number} names interface {interface}, which is not described")
        padded = 20 + size + -size % 4
        if padded > len(body):
            raise self._error(offset, f"frame {number} of {size} bytes does not fit into its block")
        described = self.interfaces[interface]
        at = (high << 32 | low) * described.numerator // described.denominator
        direction = 0
        if padded < len(body):
            for code, value in self._options(body, padded, offset):
                if code == _EPB_FLAGS and len(value) == 4:
                    direction = struct.unpack_from(self._order + "I", value)[0] & 3
        return Frame(number, interface, at, body[20 : 20 + size], original, direction)

    def _interface(self, body: memoryview, offset: int) -> None:
        link_type, _, snaplen = struct.unpack_from(self._order + "HHI", body)
        found = Interface(f"interface {len(self.interfaces)}", link_type, snaplen)
        for code, value in self._options(body, 8, offset):
            if code == _IF_NAME:
                found.name = bytes(value).decode("utf-8", "replace")
            elif code == _IF_TSRESOL and len(value) == 1:
                exponent = value[0] & 0x7F
                units = 1 << exponent if value[0] & 0x80 else 10**exponent
                found.numerator, found.denominator = 10**9, units
                if 10**9 % units == 0:
                    found.numerator, found.denominator = 10**9 // units, 1
        self.interfaces.append(found)

    def _statistics(self, body: memoryview, offset: int) -> None:
        (interface,) = struct.unpack_from(self._order + "I", body)
        if interface >= len(self.interfaces):
            raise self._error(offset, f"statistics of interface {interface}, which is not described")
        for code, value in self._options(body, 12, offset):
            if len(value) == 8 and code in (_ISB_RECEIVED, _ISB_DROPPED):
                (count,) = struct.unpack_from(self._order + "Q", value)
                if code == _ISB_RECEIVED:
                    self.interfaces[interface].received = count
                else:
                    self.interfaces[interface].dropped = count

    def _options(self, body: memoryview, start: int, offset: int) -> list[tuple[int, memoryview]]:
        found: list[tuple[int, memoryview]] = []
        while start + 4 <= len(body):
            code, size = struct.unpack_from(self._order + "HH", body, start)
            if code == OPTION_END:
                return found
            start += 4
            if start + size > len(body):
                raise self._error(offset, f"option {code} of {size} bytes runs out of its block")
            found.append((code, body[start : start + size]))
            start += size + -size % 4
        return found

    def _error(self, offset: int, what: str) -> CaptureError:
        return CaptureError(f"{self.name}: at offset {offset}: {what}")
