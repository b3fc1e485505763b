"""The integrity profiles: how the payload of DATA packets is protected (SPEC 4.1).

A profile seals a whole burst in place, and opens packets one by one: the sender knows that its
packets are alike, the receiver must believe nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from node.protocol.arena import Slot
from node.protocol.wire.crc32c import crc32c

DATA_HEADER_BYTES = 13


class PacketProtection(Protocol):
    """One profile with the keys of one connection."""

    #: Bytes of the tag behind the payload.
    tag_size: int
    #: So many packets with a wrong tag end the connection (SPEC 4.2-8).
    integrity_limit: int

    def seal(self, slots: list[Slot], first_packet_number: int) -> None:
        """Protect packets in place: header and payload are in their slots, the tag is added."""
        ...

    def open(self, packet_number: int, packets: memoryview, start: int, end: int) -> bool:
        """Check the packet at ``[start, end)`` and decrypt its payload in place; False: damaged or forged.

        After False the bytes of the packet mean nothing any more. Offsets instead of a slice of its
        own spare the hot path an object a packet.
        """
        ...

    def open_slot(self, packet_number: int, slot: Slot) -> bool:
        """Do as ``open`` does, with the packet in a slot of an arena."""
        ...


#: Nonce, sealed payload, associated data, and where the payload goes; raises InvalidTag.
Decrypt: TypeAlias = Callable[..., int]


def open_with(decrypt: Decrypt, packet_number: int, packet: memoryview) -> bool:
    """Open a whole packet of the ``aead`` profile in place; False: damaged or forged."""
    header, sealed = packet[:DATA_HEADER_BYTES], packet[DATA_HEADER_BYTES:]
    try:
        decrypt(packet_number.to_bytes(12, "big"), sealed, header, sealed[:-16])
    except InvalidTag:
        return False
    return True


#: Damage is no attack on a checksum: it has no limit.
_NO_LIMIT = 1 << 62
#: The ciphers of the ``aead`` profile by their names in a suite (SPEC 3.3-5): same nonce, same tag.
CIPHERS: dict[str, type[AESGCM | ChaCha20Poly1305]] = {
    "aes-gcm": AESGCM,
    "chacha20-poly1305": ChaCha20Poly1305,
}


class AeadProtection:
    """AES-256-GCM or ChaCha20-Poly1305 (SPEC 4.1-1)."""

    tag_size = 16
    #: RFC 9001 §6.6, of AES-GCM: packets sealed with one key, and forgeries tried on a connection.
    confidentiality_limit = 1 << 23
    integrity_limit = 1 << 52

    def __init__(self, *, send_key: bytes, receive_key: bytes, cipher: str = "aes-gcm") -> None:
        self._cipher = CIPHERS[cipher]
        self._encrypt_into = self._cipher(send_key).encrypt_into
        self._decrypt_into = self._cipher(receive_key).decrypt_into
        if cipher != "aes-gcm":
            self.confidentiality_limit, self.integrity_limit = _NO_LIMIT, 1 << 36

    def use_send_key(self, key: bytes) -> None:
        """Seal with another key from now on."""
        self._encrypt_into = self._cipher(key).encrypt_into

    def use_receive_key(self, key: bytes) -> Decrypt:
        """Open with another key from now on; return what opens with the one before."""
        before, self._decrypt_into = self._decrypt_into, self.decrypter(key)
        return before

    def decrypter(self, key: bytes) -> Decrypt:
        """Return what opens packets with ``key``."""
        return self._cipher(key).decrypt_into

    def seal(self, slots: list[Slot], first_packet_number: int) -> None:
        encrypt_into = self._encrypt_into
        number = first_packet_number
        for slot in slots:
            # Twelve bytes of the packet number are the nonce: four zero bytes and eight of number.
            encrypt_into(number.to_bytes(12, "big"), slot.payload, slot.header, slot.sealed)
            number += 1

    def open(self, packet_number: int, packets: memoryview, start: int, end: int) -> bool:
        payload = start + DATA_HEADER_BYTES
        nonce = packet_number.to_bytes(12, "big")
        try:
            self._decrypt_into(
                nonce, packets[payload:end], packets[start:payload], packets[payload : end - 16]
            )
        except InvalidTag:
            return False
        return True

    def open_slot(self, packet_number: int, slot: Slot) -> bool:
        try:
            self._decrypt_into(packet_number.to_bytes(12, "big"), slot.sealed, slot.header, slot.payload)
        except InvalidTag:
            return False
        return True


class Crc32cProtection:
    """CRC-32C and no secrecy (SPEC 4.1-2): for trusted links and teaching."""

    tag_size = 4
    integrity_limit = _NO_LIMIT

    def seal(self, slots: list[Slot], first_packet_number: int) -> None:
        number = first_packet_number
        for slot in slots:
            check = crc32c(slot.clear, (number >> 32).to_bytes(4, "big"))
            slot.packet[-4:] = check.to_bytes(4, "big")
            number += 1

    def open(self, packet_number: int, packets: memoryview, start: int, end: int) -> bool:
        check = crc32c(packets[start : end - 4], (packet_number >> 32).to_bytes(4, "big"))
        return packets[end - 4 : end] == check.to_bytes(4, "big")

    def open_slot(self, packet_number: int, slot: Slot) -> bool:
        return self.open(packet_number, slot.packet, 0, len(slot.packet))


class XorProtection:
    """The XOR of all bytes (SPEC 4.1-3): finds every single flipped bit and little else."""

    tag_size = 1
    integrity_limit = _NO_LIMIT

    def seal(self, slots: list[Slot], first_packet_number: int) -> None:
        for slot in slots:
            slot.packet[-1] = xor_of(slot.clear)

    def open(self, packet_number: int, packets: memoryview, start: int, end: int) -> bool:
        return xor_of(packets[start:end]) == 0

    def open_slot(self, packet_number: int, slot: Slot) -> bool:
        return xor_of(slot.packet) == 0


def xor_of(data: bytes | bytearray | memoryview) -> int:
    """Return the XOR of all bytes: the number is folded in half until one byte is left."""
    value = int.from_bytes(data, "big")
    bits = max(8, 1 << (len(data) * 8 - 1).bit_length()) if data else 8
    while bits > 8:
        bits >>= 1
        value = (value >> bits) ^ (value & ((1 << bits) - 1))
    return value
