"""Set-up packets: INITIATION, RESPONSE, COMPLETION and RETRY (SPEC 3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from node.protocol.suites import POST_QUANTUM_SETUP_BYTES, SETUP_BYTES, SUITES
from node.protocol.wire.crc32c import crc32c

INITIATION = 0xC1
RESPONSE = 0xC2
COMPLETION = 0xC3
RETRY = 0xC4
SETUP_KINDS = frozenset({INITIATION, RESPONSE, COMPLETION, RETRY})
VERSION = 0x5354_5201
COOKIE_BYTES = 16
#: Up to the cookie's length; the cookie, the length of the Noise message and the message follow.
_HEADER = struct.Struct(">BIBQQ8s8sIB")
_LENGTH_BYTES = 2
_CRC_BYTES = 4
#: SPEC 3-1: RETRY has no message and no padding.
RETRY_BYTES = _HEADER.size + COOKIE_BYTES + _LENGTH_BYTES + _CRC_BYTES


@dataclass(frozen=True, slots=True)
class SetupPacket:
    """One set-up packet, header and Noise message."""

    kind: int
    #: The byte of the suite (SPEC 3.3).
    suite: int
    target_address: int
    source_address: int
    target_connection_id: bytes
    source_connection_id: bytes
    packet_number: int
    message: bytes
    #: Empty, or what a RETRY gave.
    cookie: bytes = b""
    version: int = VERSION

    @property
    def size(self) -> int:
        """Bytes of the whole packet (SPEC 3-1)."""
        return RETRY_BYTES if self.kind == RETRY else SUITES[self.suite].packet_bytes

    def encode(self) -> bytes:
        """Return the packet, padded to the length that its kind and suite ask for (SPEC 3-1)."""
        head = _HEADER.pack(
            self.kind,
            self.version,
            self.suite,
            self.target_address,
            self.source_address,
            self.target_connection_id,
            self.source_connection_id,
            self.packet_number,
            len(self.cookie),
        )
        clear = head + self.cookie + len(self.message).to_bytes(_LENGTH_BYTES, "big") + self.message
        assert len(clear) <= self.size - _CRC_BYTES, "a message that no set-up packet holds"
        clear = clear.ljust(self.size - _CRC_BYTES, b"\x00")
        return clear + crc32c(clear).to_bytes(_CRC_BYTES, "big")


def parse_setup(datagram: memoryview) -> SetupPacket | str:
    """Return the packet, or in a few words why it is to be dropped (SPEC 1-2, 3-1, 3-2)."""
    size = len(datagram)
    allowed = (RETRY_BYTES,) if size and datagram[0] == RETRY else (SETUP_BYTES, POST_QUANTUM_SETUP_BYTES)
    if size not in allowed:
        return "set-up packet of wrong length"
    if crc32c(datagram[:-_CRC_BYTES]) != int.from_bytes(datagram[-_CRC_BYTES:], "big"):
        return "wrong CRC-32C"
    kind, version, suite, target, source, target_id, source_id, number, cookie_bytes = _HEADER.unpack_from(
        datagram
    )
    if version != VERSION:
        return "unknown version"
    if suite not in SUITES:
        return "unknown suite"
    if kind != RETRY and size != SUITES[suite].packet_bytes:
        return "set-up packet of wrong length"
    if cookie_bytes not in (0, COOKIE_BYTES):
        return "cookie of wrong length"
    start = _HEADER.size + cookie_bytes + _LENGTH_BYTES
    end = start + int.from_bytes(datagram[start - _LENGTH_BYTES : start], "big")
    if end > size - _CRC_BYTES:
        return "Noise message longer than its packet"
    cookie = bytes(datagram[_HEADER.size : _HEADER.size + cookie_bytes])
    message = bytes(datagram[start:end])
    return SetupPacket(kind, suite, target, source, target_id, source_id, number, message, cookie, version)
