"""Opens the packets of a capture: the same frames, with payloads in clear and a comment on each.

A packet that was sealed by ``aead`` comes out under the CRC-32C of SPEC 4.1-2, number and all, so every
dissector of the ``crc32c`` profile reads it. A SEALED packet (SPEC 14) keeps its layout; its tag becomes
twelve zeros and a CRC-32C. IP and UDP lengths and checksums are made to fit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node.capture.pcapng import LINKTYPE_ETHERNET, Capture, Direction, Writer
from node.dissectors import sealed
from node.dissectors.protection import HEADER_BYTES, TagError, crc32c, full_packet_number, opener, seal
from node.dissectors.scapy_layer import (
    DATA,
    DATA_ODD,
    EARLY,
    Frame,
    MalformedError,
    NewConnectionId,
    dissect_frames,
)
from orchestrator.errors import ProbeError
from orchestrator.probes.wire.headers import LAYER2_BYTES, read_headers
from orchestrator.probes.wire.key_log import Secrets, read_key_logs
from orchestrator.probes.wire.phases import PhaseReader
from orchestrator.probes.wire.report import WireReport
from orchestrator.simulation.packet import internet_checksum

_UDP_BYTES = 8
_UDP = 17
#: IPv4, without options.
_PLAIN_HEADER = 0x45
_IPV6_BYTES = 40


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet in clear."""

    payload: bytes
    #: What is in it, for people.
    comment: str
    #: Its frames; None: they are malformed, or it is a SEALED packet, which has none.
    frames: list[Frame] | None = None


@dataclass(slots=True)
class Counts:
    """What became of the packets of a capture."""

    frames: int = 0
    #: Packets that were opened.
    opened: int = 0
    #: Packets that no key opened: of other connections, or damaged on the way.
    closed: int = 0


@dataclass(slots=True, eq=False)
class _Way:
    """One direction of one connection."""

    secrets: Secrets
    direction: int
    reader: PhaseReader
    largest: int = -1


@dataclass(slots=True)
class Keys:
    """What key logs tell."""

    connections: dict[tuple[bytes, bytes], Secrets]
    #: Source address, target address, epoch → key (SPEC 11-3).
    sealed: dict[tuple[int, int, bytes], bytes]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Keys:
        """Read key logs.

        Raises:
            ProbeError: one cannot be read, or there is not one key in all of them.
        """
        files = list(paths)
        report = WireReport()
        logs = read_key_logs(files, report)
        keys = cls(logs.connections, logs.sealed, report.notes)
        if not keys.connections and not keys.sealed:
            named = ", ".join(map(str, files)) or "none was given"
            raise ProbeError(f"no keys in the key logs ({named}): each node writes one beside the captures")
        return keys


class Opener:
    """Opens the packets of one capture, in its order."""

    def __init__(self, keys: Keys) -> None:
        self._sealed = keys.sealed
        self._ways: dict[bytes, _Way] = {}
        self._early: dict[bytes, Secrets] = {}
        for (initiator, responder), secrets in keys.connections.items():
            # SPEC 2-3: a packet carries its target's ID.
            for direction, cid in enumerate((responder, initiator)):
                reader = PhaseReader(secrets.profile, secrets.keys[direction])
                self._ways[cid] = _Way(secrets, direction, reader)
            if secrets.early is not None:
                self._early[initiator] = secrets

    def open(self, packet: bytes) -> Opened | None:
        """Return a UDP payload in clear; None: it is no protected packet, or no key opens it."""
        kind = packet[0] if packet else 0
        if kind in (DATA, DATA_ODD) and len(packet) > HEADER_BYTES:
            return self._data(packet)
        if kind == EARLY and len(packet) > HEADER_BYTES:
            return self._early_data(packet)
        if kind == sealed.SEALED and len(packet) >= sealed.SMALLEST_BYTES:
            return self._datagram(packet)
        return None

    def _data(self, packet: bytes) -> Opened | None:
        way = self._ways.get(packet[1:9])
        if way is None:
            return None
        number = full_packet_number(way.largest, int.from_bytes(packet[9:HEADER_BYTES], "big"))
        try:
            clear = way.reader.open(packet, number)
        except TagError:
            return None
        way.largest = max(way.largest, number)
        frames, names = self._frames(clear, way)
        sender = ("initiator", "responder")[way.direction]
        comment = f"packet {number} of the {sender} of {way.secrets.initiator_cid.hex()}: {names}"
        return Opened(_in_clear(packet, clear, number, way.secrets.profile), comment, frames)

    def _early_data(self, packet: bytes) -> Opened | None:
        secrets = self._early.get(packet[1:9])
        if secrets is None or secrets.early is None:
            return None
        number = int.from_bytes(packet[9:HEADER_BYTES], "big")
        try:
            clear = bytes(opener(*secrets.early)(packet, number))
        except TagError:
            return None
        frames, names = self._frames(clear, None)
        comment = f"early packet {number} of the initiator of {secrets.initiator_cid.hex()}: {names}"
        return Opened(_in_clear(packet, clear, number, secrets.profile), comment, frames)

    def _datagram(self, packet: bytes) -> Opened | None:
        header = sealed.SealedPacket.of(packet)
        key = self._sealed.get((header.source_address, header.target_address, header.epoch))
        if key is None:
            return None
        try:
            index, count, data = sealed.unseal(packet, key)
        except TagError:
            return None
        clear = packet[: sealed.HEADER_BYTES] + struct.pack(">HH", index, count) + data
        comment = (
            f"datagram packet {header.packet_number}: fragment {index + 1} of {count}, {len(data)} bytes"
        )
        return Opened(clear + bytes(12) + crc32c(clear).to_bytes(4, "big"), comment)

    def _frames(self, clear: bytes, way: _Way | None) -> tuple[list[Frame] | None, str]:
        """Return the frames and their names in words, and learn the connection IDs among them."""
        try:
            frames = dissect_frames(clear)
        except MalformedError as error:
            return None, f"malformed, {error}"
        for frame in frames:
            if way is not None and isinstance(frame, NewConnectionId):
                self._learn(bytes(frame.connection_id), way)
        return frames, ", ".join(dict.fromkeys(frame.name for frame in frames))

    def _learn(self, cid: bytes, way: _Way) -> None:
        """A new ID is for packets that go the other way, under the numbers and keys of that way."""
        back = way.secrets.initiator_cid if way.direction == 0 else way.secrets.responder_cid
        self._ways.setdefault(cid, self._ways[back])


def decrypt(capture: Capture, writer: Writer, keys: Keys, notes: Mapping[int, str] | None = None) -> Counts:
    """Write a capture anew with its packets in clear.

    Args:
        capture: to read; a last block that was cut off ends it.
        writer: for the capture in clear.
        keys: of the nodes.
        notes: frame number → what else to say of it, in front of what is in it.

    Raises:
        CaptureError: the capture is damaged, or the disk is full.
    """
    opening, counts = Opener(keys), Counts()
    declared = 0
    for frame in capture:
        for interface in capture.interfaces[declared:]:
            writer.add_interface(interface.name, snaplen=interface.snaplen)
            declared += 1
        counts.frames += 1
        data = bytes(frame.data)
        whole = frame.original_length == len(data)
        is_ethernet = capture.interfaces[frame.interface].link_type == LINKTYPE_ETHERNET
        found = _udp_payload(data) if whole and is_ethernet else None
        opened = opening.open(data[found:]) if found else None
        said = [] if notes is None or frame.number not in notes else [notes[frame.number]]
        if found and opened is not None:
            counts.opened += 1
            said.append(opened.comment)
            data = _with_payload(data[:found], opened.payload)
        elif found and data[found] in (DATA, DATA_ODD, EARLY, sealed.SEALED):
            counts.closed += 1
        writer.write_packet(
            frame.interface,
            frame.at,
            data,
            original_length=len(data) if whole else frame.original_length,
            direction=Direction(frame.direction),
            comment="; ".join(said),
        )
    return counts


def _in_clear(packet: bytes, clear: bytes, number: int, profile: str) -> bytes:
    if not profile.startswith("aead"):
        return packet
    return seal("crc32c", b"", packet[:HEADER_BYTES], clear, number)


def _udp_payload(frame: bytes) -> int | None:
    """Return where the UDP payload of an Ethernet frame begins; None: there is none, or not all of it."""
    headers = read_headers(memoryview(frame))
    # A frame that is padded to Ethernet's least size, or a fragment, is no packet of ours.
    if headers is None or headers.length + LAYER2_BYTES != len(frame) or headers.start == len(frame):
        return None
    options = frame[12:14] == b"\x08\x00" and frame[LAYER2_BYTES] != _PLAIN_HEADER
    return None if options else headers.start


def _with_payload(headers: bytes, payload: bytes) -> bytes:
    """Return the frame of Ethernet, IP and UDP headers with another payload: lengths and checksums fit."""
    frame = bytearray(headers + payload)
    udp = len(headers) - _UDP_BYTES
    length = len(frame) - udp
    struct.pack_into(">HH", frame, udp + 4, length, 0)
    if frame[12:14] == b"\x08\x00":
        struct.pack_into(">H", frame, 16, len(frame) - LAYER2_BYTES)
        struct.pack_into(">H", frame, 24, 0)
        struct.pack_into(">H", frame, 24, internet_checksum(bytes(frame[LAYER2_BYTES:udp])))
        addresses = frame[26:34]
    else:
        struct.pack_into(">H", frame, 18, length)
        addresses = frame[22 : LAYER2_BYTES + _IPV6_BYTES]
    pseudo = bytes(addresses) + struct.pack(">IHH", length, 0, _UDP)
    # RFC 768: a sum of zero is sent as all ones; zero says that there is none.
    struct.pack_into(">H", frame, udp + 6, internet_checksum(bytes(pseudo + frame[udp:])) or 0xFFFF)
    return bytes(frame)
