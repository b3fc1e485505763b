"""SEALED packets: a connectionless datagram, or a fragment of one (SPEC 14)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from node.protocol.wire.setup import VERSION

SEALED = 0x51
#: Type, version, target and source address, epoch, packet number: all of it is associated data.
HEADER = struct.Struct(">BIQQ16sQ")
#: Inside the seal: which fragment this is, and of how many.
FRAGMENT = struct.Struct(">HH")
TAG_BYTES = 16
#: SPEC 14-2: what every path carries (SPEC 3-1); without a connection nothing larger can be known to arrive.
MAX_SEALED_PACKET = 1200
#: Data of every fragment but the last.
FRAGMENT_BYTES = MAX_SEALED_PACKET - HEADER.size - FRAGMENT.size - TAG_BYTES
#: SPEC 14-6: the largest datagram, 256 KiB: nothing paces datagrams, and all fragments must arrive.
MAX_DATAGRAM_BYTES = 1 << 18
MAX_FRAGMENTS = -(-MAX_DATAGRAM_BYTES // FRAGMENT_BYTES)
EPOCH_BYTES = 16
MAX_PACKET_NUMBER = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """The header of a SEALED packet."""

    target_address: int
    source_address: int
    #: The sender's epoch: 16 bytes that are compared as a number.
    epoch: bytes
    packet_number: int

    def encode(self) -> bytes:
        """Return the bytes."""
        return HEADER.pack(
            SEALED, VERSION, self.target_address, self.source_address, self.epoch, self.packet_number
        )


def parse_sealed(datagram: memoryview) -> SealedHeader | str:
    """Return the header of a packet, or in a few words why it is to be dropped (SPEC 1-2, 14-2)."""
    if not HEADER.size + FRAGMENT.size + TAG_BYTES <= len(datagram) <= MAX_SEALED_PACKET:
        return "SEALED packet of wrong length"
    _, version, target, source, epoch, number = HEADER.unpack_from(datagram)
    if version != VERSION:
        return "unknown version"
    return SealedHeader(target, source, epoch, number)


def fragment_count(size: int) -> int:
    """Return how many fragments a datagram of ``size`` bytes has: an empty one has one."""
    return max(1, -(-size // FRAGMENT_BYTES))
