"""A packet socket with a memory-mapped ring (TPACKET_V3): the kernel fills blocks, we encode them whole.

One system call serves a block of hundreds of frames, which is what lets plain Python keep up with a fast
link. See Documentation/networking/packet_mmap.rst of the kernel; the offsets are those of linux/if_packet.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import struct

from node.capture.pcapng import ENHANCED_PACKET, CaptureError, Direction, packet_trailer

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_PACKET_IGNORE_OUTGOING = 23
_TPACKET_V3 = 2
_SO_ATTACH_FILTER = 26

#: One block at most: large enough for a few hundred full frames, so that the cost of a wake-up is shared.
BLOCK_BYTES = 1 << 20
#: Blocks of a ring at least: while we read one, the kernel fills the others.
_BLOCKS = 8
#: A block that is not full is handed over after this long.
RETIRE_MS = 20
_FRAME_BYTES = 2048

_STATUS_KERNEL = 0
_STATUS_USER = 1
_PKTTYPE_OUTGOING = 4
# Of a block: status, number of packets, offset of the first.
_BLOCK = struct.Struct("=8xIII")
# Of a packet: next, seconds, nanoseconds, bytes kept, bytes on the wire, start of the frame, packet type.
_PACKET = struct.Struct("=IIIII4xH32xB")
_EPB_HEAD = struct.Struct("<IIIIIII")


class PacketRing:
    """Captures one interface of this network namespace from construction on.

    Args:
        interface: its name.
        number: its number in the capture file.
        snaplen: bytes kept of each frame.
        ring_bytes: memory for frames that wait for us, in bytes; rounded up to whole blocks.
        outgoing: whether frames that this machine sends through the interface are taken, too.
        retire_ms: a block that is not full is handed over after so many milliseconds.

    Raises:
        CaptureError: the interface, the right, or the memory is missing.
    """

    def __init__(
        self,
        interface: str,
        number: int,
        *,
        snaplen: int,
        ring_bytes: int,
        outgoing: bool,
        retire_ms: int = RETIRE_MS,
    ) -> None:
        self.interface = interface
        self.received = 0
        self.dropped = 0
        self._number = number
        self._tails: dict[int, bytes] = {}
        self._next_block = 0
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError as error:
            raise CaptureError("capturing needs CAP_NET_RAW: run it as root") from error
        try:
            self._filter(snaplen)
            self._blocks = self._map(ring_bytes, retire_ms)
            if not outgoing:
                self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            # Bound last: until then, protocol 0 keeps other interfaces' frames out.
            self._socket.bind((interface, _ETH_P_ALL))
        except OSError as error:
            self._socket.close()
            raise CaptureError(f"interface {interface} cannot be captured: {error.strerror}") from error

    @property
    def blocks(self) -> int:
        """How many blocks it has."""
        return len(self._blocks)

    def fileno(self) -> int:
        """Return the socket's descriptor, readable when a block is ready."""
        return self._socket.fileno()

    def next_block(self) -> tuple[bytes, int] | None:
        """Take the next block: encoded Enhanced Packet Blocks, and how many; None: no block is ready."""
        block = self._blocks[self._next_block]
        status, count, offset = _BLOCK.unpack_from(block)
        if not status & _STATUS_USER:
            return None
        encoded = self._encode(block, count, offset)
        struct.pack_into("=I", block, 8, _STATUS_KERNEL)
        self._next_block = (self._next_block + 1) % len(self._blocks)
        return encoded, count

    def stop(self) -> None:
        """Take no further frame; what the ring holds is ready within ``retire_ms``."""
        self._filter(0)

    def clear_error(self) -> bool:
        """Forget that the interface went down; False if it no longer exists."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            socket.if_nametoindex(self.interface)
        except OSError:
            return False
        return True

    def count(self) -> None:
        """Bring :attr:`received` and :attr:`dropped` up to date."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        received, dropped, _ = struct.unpack("=III", statistics)
        self.received += received
        self.dropped += dropped

    def close(self) -> None:
        """Give the ring back."""
        self._socket.close()

    def _map(self, ring_bytes: int, retire_ms: int) -> list[memoryview]:
        block_bytes = min(BLOCK_BYTES, ring_bytes // _BLOCKS // mmap.PAGESIZE * mmap.PAGESIZE)
        count = -(-ring_bytes // block_bytes)
        size = count * block_bytes
        frames = size // _FRAME_BYTES
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        request = struct.pack("=IIIIIII", block_bytes, count, _FRAME_BYTES, frames, retire_ms, 0, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                text = f"no memory for a ring of {size >> 20} MiB: use a smaller --ring-mib"
                raise CaptureError(text) from error
            raise
        ring = memoryview(mmap.mmap(self._socket.fileno(), size))
        return [ring[start : start + block_bytes] for start in range(0, size, block_bytes)]

    def _filter(self, keep: int) -> None:
        # One BPF instruction, "ret #keep": the kernel cuts each frame to it, or drops all at 0.
        program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, keep))
        pointer = struct.pack("@HP", 1, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)

    def _encode(self, block: memoryview, count: int, offset: int) -> bytes:
        parts: list[bytes | memoryview] = []
        append = parts.append
        unpack, pack = _PACKET.unpack_from, _EPB_HEAD.pack
        number, tails = self._number, self._tails
        for _ in range(count):
            following, seconds, nanoseconds, size, original, start, kind = unpack(block, offset)
            # Size and direction in one key: the tail is the same for all frames that agree in both.
            key = size << 1 | (kind == _PKTTYPE_OUTGOING)
            tail = tails.get(key) or self._tail(key)
            at = seconds * 1_000_000_000 + nanoseconds
            length = 28 + size + len(tail)
            append(pack(ENHANCED_PACKET, length, number, at >> 32, at & 0xFFFF_FFFF, size, original))
            append(block[offset + start : offset + start + size])
            append(tail)
            offset += following
        return b"".join(parts)

    def _tail(self, key: int) -> bytes:
        size, outgoing = key >> 1, key & 1
        tail = bytes(-size % 4) + packet_trailer(Direction.OUTBOUND if outgoing else Direction.INBOUND)
        length = 28 + size + len(tail) + 4
        self._tails[key] = tail = tail + length.to_bytes(4, "little")
        return tail
