"""A peer that breaks the rules: packets with any payload, sealed with the right keys, from the key log."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.dissectors.protection import next_key
from node.protocol.wire.crc32c import crc32c
from node.protocol.wire.frames import Frame, parse_frames
from tests.support.pair import Pair

HEADER_BYTES = 13
TAG_BYTES = {"aead": 16, "crc32c": 4, "xor": 1}


class Forger:
    """Writes packets in the name of the left end of a pair, and reads what the right end sends."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        keys = next(line for line in pair.key_log if line.startswith("STRAIT_DATA"))
        _, _, right_id, self.profile, forward, back = keys.split()
        #: The connection ID that packets carry.
        self.target = bytes.fromhex(right_id)
        self._forward_key = bytes.fromhex(forward)
        self._forward = AESGCM(self._forward_key)
        #: What opens the right end's packets, by type: phases 0 and 1.
        keys_back = {0x41: bytes.fromhex(back), 0x45: next_key(bytes.fromhex(back))}
        self._back = {kind: AESGCM(key) for kind, key in keys_back.items()}
        #: The type of the packets made, which tells their key phase.
        self.kind = 0x41
        #: The number of the next packet.
        self.number = pair.connection.recovery.next_packet_number

    def packet(self, payload: bytes, *, number: int | None = None) -> bytes:
        """Return a sealed packet; without ``number`` it takes the next one."""
        if number is None:
            number, self.number = self.number, self.number + 1
        return self.seal(payload, number)

    def seal(self, payload: bytes, number: int) -> bytes:
        """Return a packet with this payload and full packet number."""
        header = bytes((self.kind,)) + self.target + (number & 0xFFFF_FFFF).to_bytes(4, "big")
        if self.profile == "aead":
            return header + self._forward.encrypt(number.to_bytes(12, "big"), payload, header)
        clear = header + payload
        if self.profile == "crc32c":
            return clear + crc32c(clear, (number >> 32).to_bytes(4, "big")).to_bytes(4, "big")
        check = 0
        for byte in clear:
            check ^= byte
        return clear + bytes((check,))

    def update_keys(self) -> None:
        """Seal in the next key phase from now on (SPEC 4.2)."""
        self._forward_key = next_key(self._forward_key)
        self._forward = AESGCM(self._forward_key)
        self.kind ^= 0x04

    def send(self, *frames: Frame, number: int | None = None) -> None:
        """Hand the right end a packet of these frames now."""
        payload = b"".join(frame.encode() for frame in frames)
        self.pair.inject(self.packet(payload, number=number), to_right=True)

    def answers(self, since: int = 0) -> list[Frame]:
        """Return the frames of the packets that the right end sent, from ``pair.wire[since]`` on."""
        found: list[Frame] = []
        for _, from_left, datagram in self.pair.wire[since:]:
            if not from_left and datagram[0] in self._back:
                found += parse_frames(memoryview(self.open(datagram)))
        return found

    def open(self, datagram: bytes) -> bytes:
        """Return the payload of a packet of the right end (numbers below 2^32)."""
        header, rest = datagram[:HEADER_BYTES], datagram[HEADER_BYTES:]
        if self.profile != "aead":
            return rest[: -TAG_BYTES[self.profile]]
        return self._back[datagram[0]].decrypt(header[9:].rjust(12, b"\x00"), rest, header)
