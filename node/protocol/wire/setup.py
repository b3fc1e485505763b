"""Set-up packets: INITIATION and RESPONSE (SPEC 3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from node.protocol.wire.crc32c import crc32c

INITIATION = 0xC1
RESPONSE = 0xC2
VERSION = 0x5354_5201
#: SPEC 3-1: always exactly this long.
SETUP_PACKET_BYTES = 1200
_HEADER = struct.Struct(">BIQQ8s8sIH")
MAX_NOISE_MESSAGE = SETUP_PACKET_BYTES - _HEADER.size - 4


@dataclass(frozen=True, slots=True)
class SetupPacket:
    """One set-up packet, header and Noise message."""

    kind: int
    target_address: int
    source_address: int
    target_connection_id: bytes
    source_connection_id: bytes
    packet_number: int
    message: bytes
    version: int = VERSION

    def encode(self) -> bytes:
        """Return the 1200 bytes of the packet."""
        head = _HEADER.pack(
            self.kind,
            self.version,
            self.target_address,
            self.source_address,
            self.target_connection_id,
            self.source_connection_id,
            self.packet_number,
            len(self.message),
        )
        clear = (head + self.message).ljust(SETUP_PACKET_BYTES - 4, b"\x00")
        return clear + crc32c(clear).to_bytes(4, "big")


def parse_setup(datagram: memoryview) -> SetupPacket | str:
    """Return the packet, or in a few words why it is to be dropped (SPEC 1-2, 3-1, 3-2)."""
    if len(datagram) != SETUP_PACKET_BYTES:
        return "set-up packet of wrong length"
    if crc32c(datagram[:-4]) != int.from_bytes(datagram[-4:], "big"):
        return "wrong CRC-32C"
    kind, version, target, source, target_id, source_id, number, length = _HEADER.unpack_from(datagram)
    if version != VERSION:
        return "unknown version"
    if length > MAX_NOISE_MESSAGE:
        return "Noise message longer than its packet"
    message = bytes(datagram[_HEADER.size : _HEADER.size + length])
    return SetupPacket(kind, target, source, target_id, source_id, number, message, version)
