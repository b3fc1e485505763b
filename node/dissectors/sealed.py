"""Connectionless datagrams, read from SPEC 14 a second time: header, key, seal and fragments.

Shares no code with ``node.protocol`` on purpose: what both get wrong in the same way, no test finds.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.dissectors.protection import Bytes, TagError

SEALED = 0x51
HEADER_BYTES = 45
SMALLEST_BYTES = HEADER_BYTES + 4 + 16
LARGEST_BYTES = 1200
FULL_FRAGMENT = 1135
MAX_FRAGMENTS = 231
MAX_DATAGRAM = 262_144
_LAYOUT = struct.Struct(">BIQQ16sQ")


@dataclass(frozen=True, slots=True)
class SealedPacket:
    """The header of a SEALED packet."""

    target_address: int
    source_address: int
    epoch: bytes
    packet_number: int
    version: int = 0x5354_5201

    @classmethod
    def of(cls, packet: Bytes) -> SealedPacket:
        """Return the header that ``packet`` starts with; it is at least SMALLEST_BYTES long."""
        _, version, target, source, epoch, number = _LAYOUT.unpack_from(packet)
        return cls(target, source, epoch, number, version)

    def header(self) -> bytes:
        """Return the 45 bytes."""
        return _LAYOUT.pack(
            SEALED, self.version, self.target_address, self.source_address, self.epoch, self.packet_number
        )


def derive_key(secret: bytes, packet: SealedPacket) -> bytes:
    """Return the key of a packet (SPEC 14.1-1), HKDF written out; ``secret``: what the two nodes share."""
    extracted = hmac.digest(packet.epoch, secret, hashlib.sha256)
    info = b"strait sealed 1" + struct.pack(">QQ", packet.source_address, packet.target_address)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def seal(packet: SealedPacket, key: bytes, index: int, count: int, data: bytes) -> bytes:
    """Return a SEALED packet with this fragment."""
    header = packet.header()
    nonce = packet.packet_number.to_bytes(12, "big")
    return header + AESGCM(key).encrypt(nonce, struct.pack(">HH", index, count) + data, header)


def unseal(packet: Bytes, key: bytes) -> tuple[int, int, bytes]:
    """Return index, count and data of the fragment in ``packet``, which is at least SMALLEST_BYTES long.

    Raises:
        TagError: the tag is wrong.
    """
    view = memoryview(packet)
    nonce = bytes(4) + view[37:HEADER_BYTES]
    try:
        clear = AESGCM(key).decrypt(nonce, view[HEADER_BYTES:], view[:HEADER_BYTES])
    except InvalidTag:
        raise TagError("the AES-GCM tag does not fit header, number and key") from None
    index, count = struct.unpack_from(">HH", clear)
    return index, count, clear[4:]


def fragment_problem(index: int, count: int, size: int) -> str | None:
    """Return what SPEC 14.2-1 says against a fragment of ``size`` bytes; None: nothing."""
    if index >= count or count > MAX_FRAGMENTS:
        return f"fragment {index} of {count}"
    last = index == count - 1
    if size > FULL_FRAGMENT or (not last and size != FULL_FRAGMENT) or (last and count > 1 and not size):
        return f"fragment {index} of {count} with {size} bytes"
    if index * FULL_FRAGMENT + size > MAX_DATAGRAM:
        return f"a datagram of {index * FULL_FRAGMENT + size} bytes"
    return None
