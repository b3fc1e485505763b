"""Captures of a small lab written by hand: a right exchange, and whatever a test does wrong on top of it."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from node.capture.pcapng import Direction, Writer
from node.dissectors import repair
from node.dissectors.protection import crc32c, next_key, seal
from node.dissectors.scapy_layer import (
    Ack,
    FecRepair,
    Frame,
    Frames,
    MaxData,
    MaxStreamData,
    Ping,
    SetUp,
    Stream,
)
from node.dissectors.sealed import SealedPacket, derive_key
from node.dissectors.sealed import seal as seal_datagram
from node.dissectors.varint import encode_varint
from orchestrator.backends.base import Collected
from orchestrator.probes.wire import WireReport, verify
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.topology.planning import make_plan

LAB = """
name: two
topology:
  nodes:
    left: {{kind: host}}
    mid: {{kind: router}}
    right: {{kind: host}}
  links:
    - endpoints: ["left:eth1", "mid:eth1"]
    - endpoints: ["mid:eth2", "right:eth1"]
      netem: {{delay: 1ms{corrupt}}}
workloads:
  - {{name: file, kind: bulk, from: left, to: right, size: 1MB}}
"""
INITIATOR_CID = bytes.fromhex("1111111111111111")
RESPONDER_CID = bytes.fromhex("2222222222222222")
KEYS = (bytes(range(32)), bytes(range(32, 64)))
EARLY_KEY = bytes(range(64, 96))
#: Initial windows of each end: connection, each stream.
WINDOWS = ((10_000, 4_000), (10_000, 4_000))
MILLISECOND = 1_000_000


class Wire:
    """Writes what crosses the lab left – mid – right, step by step, a millisecond apart.

    Args:
        directory: where the captures go.
        profile: integrity profile of the connection.
        corrupt: whether the plan asks the second link to corrupt.
    """

    def __init__(self, directory: Path, *, profile: str = "aead", corrupt: bool = False) -> None:
        lab = LAB.format(corrupt=", corrupt: 1%" if corrupt else "")
        self.plan: DeploymentPlan = make_plan(parse(lab.encode(), file="two.lab.yml"))
        self.left, self.right = self.plan.node("left"), self.plan.node("right")
        self.profile = profile
        self.now = 1_000_000_000
        self.numbers = [0, 0]
        #: The connection IDs that packets carry, by direction.
        self.targets = [RESPONDER_CID, INITIATOR_CID]
        #: Payloads in clear by direction and number.
        self.clear: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
        #: Key phase of each direction's next packets.
        self.phases = [0, 0]
        cids = f"{INITIATOR_CID.hex()} {RESPONDER_CID.hex()}"
        self.key_log = (
            f"STRAIT_EARLY {INITIATOR_CID.hex()} aead {EARLY_KEY.hex()}\n"
            f"STRAIT_DATA {cids} {profile} {KEYS[0].hex()} {KEYS[1].hex()}\n"
            f"STRAIT_WINDOWS {cids} "
            f"{WINDOWS[0][0]} {WINDOWS[0][1]} {WINDOWS[1][0]} {WINDOWS[1][1]}\n"
            f"STRAIT_PARAMETERS {cids} {_parameters(0)} {_parameters(1)}\n"
        )
        self.paths = [directory / f"{link.index}.pcapng" for link in self.plan.links]
        self.writers = [Writer.create(path) for path in self.paths]
        for writer, link in zip(self.writers, self.plan.links, strict=True):
            writer.add_interface(str(link.a))
            writer.add_interface(str(link.b))
        self._log = directory / "keys.log"

    # -- what a test says

    def handshake(self) -> None:
        """INITIATION, RESPONSE, and the PING that validates the initiator."""
        self.send(0, self.setup(0xC1))
        self.send(1, self.setup(0xC2))
        self.data(0, Ping())

    def transfer(self) -> None:
        """Ten packets up to the windows, acknowledgements, larger windows, more data, a retransmission."""
        for index in range(4):
            self.data(0, Stream(stream_id=0, offset=1000 * index, data=_bytes(1000 * index, 1000)))
        for stream in (4, 8):
            for index in range(3):
                self.data(0, Stream(stream_id=stream, offset=1000 * index, data=_bytes(1000 * index, 1000)))
        self.data(1, Ack(largest=10, first_range=4, ranges=[(0, 3)]))
        self.data(1, MaxData(maximum=20_000), MaxStreamData(stream_id=0, maximum=9000))
        self.data(0, Stream(stream_id=4, offset=200, data=_bytes(200, 600)))
        self.data(0, Stream(type=0x0B, stream_id=0, offset=4000, data=_bytes(4000, 1000)))
        self.data(1, Ack(largest=12, first_range=12))

    def setup(self, kind: int, **changes: object) -> bytes:
        """Return a right set-up packet but for ``changes`` of its fields (the CRC is right for them)."""
        source, target = (self.right, self.left) if kind in (0xC2, 0xC4) else (self.left, self.right)
        initiator, responder = (int.from_bytes(cid, "big") for cid in (INITIATOR_CID, RESPONDER_CID))
        target_cid, source_cid = {
            0xC1: (0, initiator),
            0xC2: (initiator, responder),
            0xC3: (responder, initiator),
            0xC4: (initiator, 0),
        }[kind]
        fields: dict[str, object] = {
            "type": kind,
            "target_address": target.address,
            "source_address": source.address,
            "target_cid": target_cid,
            "source_cid": source_cid,
            "cookie": b"\xc0" * 16 if kind == 0xC4 else b"",
            "noise": b"" if kind == 0xC4 else b"\x5a" * 160,
        }
        return bytes(SetUp(**{**fields, **changes}))

    def packet(self, direction: int, *frames: Frame, number: int | None = None) -> bytes:
        """Return the next DATA packet of a direction (0: from left to right)."""
        if number is None:
            number = self.numbers[direction]
            self.numbers[direction] += 1
        clear = bytes(Frames(frames=list(frames)))
        self.clear[direction].setdefault(number, clear)
        return self.sealed(direction, clear, number)

    def repair(self, direction: int, first: int, last: int, *, scheme: int = 1) -> FecRepair:
        """Return the one repair symbol of a block of packets that were made; of what is not there nothing."""
        checked = not self.profile.startswith("aead")
        numbers = range(first, last + 1)
        sources = [
            repair.source_symbol(self.clear[direction].get(number, b""), number, checked=checked)
            for number in numbers
        ]
        symbol = repair.symbol(scheme, sources, total=1, index=0)
        return FecRepair(
            scheme=scheme, first=first, first_range=last - first, total=1, index=0, symbol=symbol
        )

    def early(self, *frames: Frame) -> bytes:
        """Return the next EARLY packet of the initiator."""
        number = self.numbers[0]
        self.numbers[0] += 1
        header = b"\xc8" + INITIATOR_CID + number.to_bytes(4, "big")
        return seal("aead", EARLY_KEY, header, bytes(Frames(frames=list(frames))), number)

    def sealed(self, direction: int, payload: bytes, number: int) -> bytes:
        """Return a DATA packet with any payload."""
        cid = self.targets[direction]
        phase, key = self.phases[direction], KEYS[direction]
        for _ in range(phase):
            key = next_key(key)
        header = (b"\x41", b"\x45")[phase % 2] + cid + (number & 0xFFFF_FFFF).to_bytes(4, "big")
        return seal(self.profile, key, header, payload, number)

    def sealed_datagram(
        self, data: bytes, *, index: int = 0, count: int = 1, packet_number: int = 0, **changes: int
    ) -> bytes:
        """Return a SEALED packet from left to right; ``changes``: fields of its header that are wrong."""
        head = SealedPacket(self.right.address, self.left.address, bytes(16), packet_number)
        private = X25519PrivateKey.from_private_bytes(self.left.private_key)
        shared = private.exchange(X25519PublicKey.from_public_bytes(self.right.public_key))
        changed = replace(head, **changes)  # type: ignore[arg-type]
        return seal_datagram(changed, derive_key(shared, changed), index, count, data)

    def data(self, direction: int, *frames: Frame) -> bytes:
        """Send a DATA packet over both links, and return it."""
        packet = self.packet(direction, *frames)
        self.send(direction, packet)
        return packet

    def send(self, direction: int, payload: bytes, *, links: int = 2, start: int = 0, tos: int = 0) -> None:
        """Carry a datagram over links ``start`` up to ``links`` of its way, half a millisecond each."""
        for hop in range(start, links):
            link = hop if direction == 0 else 1 - hop
            frame = self.frame(direction, link, payload, tos=tos)
            self.record(link, direction, frame, left=False)
            self.now += MILLISECOND // 2
            self.record(link, direction, frame, left=True)
        self.now += MILLISECOND

    def record(self, link: int, direction: int, frame: bytes, *, left: bool) -> None:
        """Write a frame to a link's capture, where it enters or leaves the link."""
        interface = direction ^ left
        way = Direction.OUTBOUND if left else Direction.INBOUND
        self.writers[link].write_packet(interface, self.now, frame, direction=way)

    def frame(self, direction: int, link: int, payload: bytes, *, tos: int = 0, ip: str = "") -> bytes:
        """Return a datagram in its Ethernet frame; ``ip`` takes the place of the source's address."""
        source, target = (self.left, self.right) if direction == 0 else (self.right, self.left)
        ends = self.plan.links[link].a, self.plan.links[link].b
        macs = [_mac(self.plan.node(end.node), end.interface) for end in ends]
        addresses = _address(ip or source.ipv4) + _address(target.ipv4)
        head = struct.pack(">BBHHHBBH", 0x45, tos, 28 + len(payload), 0, 0x4000, 64, 17, 0)
        total = sum(struct.unpack(">10H", head + addresses))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        head = head[:10] + struct.pack(">H", total ^ 0xFFFF)
        udp = struct.pack(">HHHH", 4433, 4433, 8 + len(payload), 0)
        return macs[1 - direction] + macs[direction] + b"\x08\x00" + head + addresses + udp + payload

    def verify(self) -> WireReport:
        """End the captures and return the verdict."""
        return verify(self.plan, self.collect())

    def collect(self) -> Collected:
        """End the captures and return the run's files."""
        for writer in self.writers:
            writer.close()
        self._log.write_text(self.key_log, encoding="ascii")
        captures = {link.name: [path] for link, path in zip(self.plan.links, self.paths, strict=True)}
        return Collected(captures=captures, key_logs=[self._log])


def _parameters(end: int) -> str:
    """Return what an end announces, as the key log has it: windows, eight streams of a kind, FEC."""
    data, stream_data = WINDOWS[end]
    numbers = {0x04: data, 0x05: stream_data, 0x06: 8, 0x07: 8, 0x0A: 1452, 0x0E: 2}
    values = {number: encode_varint(value) for number, value in numbers.items()}
    values |= dict.fromkeys((0x02, 0x03, 0x0C, 0x0D), b"\x01")
    return b"".join(bytes((number, len(value))) + value for number, value in values.items()).hex()


def with_crc(packet: bytes) -> bytes:
    """Return a changed set-up packet with the CRC made right."""
    return packet[:-4] + crc32c(packet[:-4]).to_bytes(4, "big")


def _bytes(offset: int, size: int) -> bytes:
    """Return what stands at ``offset`` in every stream of this module."""
    return bytes(at * 7 % 251 for at in range(offset, offset + size))


def _mac(node: NodePlan, interface: str) -> bytes:
    (found,) = [one.mac for one in node.interfaces if one.name == interface]
    return bytes.fromhex(found.replace(":", ""))


def _address(text: str) -> bytes:
    return bytes(map(int, text.split(".")))
