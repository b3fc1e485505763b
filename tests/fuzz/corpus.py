"""What fuzzing begins with: the wire vectors, real packets, and inputs kept because they found something."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from node.control.codec import encode_command
from node.control.messages import Command
from node.protocol.configuration import Configuration
from node.protocol.wire.parameters import TransportParameters
from tests.lanes.machine import ROOT
from tests.support.pair import Pair

VECTORS = ROOT / "tests/vectors"
#: Inputs that are kept: a directory a target, a file an input, in hexadecimal.
KEPT = Path(__file__).parent / "kept"


def inputs(name: str) -> list[bytes]:
    """Return all inputs of a target's corpus."""
    kept = [bytes.fromhex(path.read_text()) for path in sorted((KEPT / name).glob("*.hex"))]
    return [*_made(name), *kept]


def _made(name: str) -> list[bytes]:
    frames = [bytes.fromhex(one["wire"]) for one in json.loads((VECTORS / "frames.json").read_text())]
    if name in ("frames", "scapy"):
        return [*frames, b"".join(frame for frame in frames if frame[0] not in (0x08, 0x09, 0x30))]
    if name == "varint":
        return [bytes.fromhex(text) for text in ("19", "7bbd", "9d7f3e7d", "c2197c5eff14e88c", "40", "")]
    if name == "parameters":
        return [TransportParameters.of(Configuration(fec="xor"), b"abcdefgh").encode()]
    if name == "control":
        return [encode_command(Command("open_flow", {"size": 1}), 7), b"{}", b"[1]", b'{"id": true}']
    if name in ("setup", "endpoint"):
        packets = _set_up_packets()
        return (
            packets if name == "setup" else [b"".join(map(_piece, packets)), _piece(b""), _piece(b"\x41junk")]
        )
    if name == "pcapng":
        return [bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000")]
    if name in ("sealed", "sealed-header"):
        wires = [bytes.fromhex(one["wire"]) for one in json.loads((VECTORS / "sealed.json").read_text())]
        fragments = [struct.pack(">HH", index, 2) + bytes(1135) for index in range(2)]
        return wires if name == "sealed-header" else [b"".join(map(_piece, fragments)), _piece(wires[0])]
    return [
        b"".join(_piece(b"\x00" + frame) for frame in frames[begin : begin + 6]) for begin in (0, 6, 12, 18)
    ]


def _piece(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _set_up_packets() -> list[bytes]:
    found = []
    for settings in (
        Configuration(),
        Configuration(handshake="xx"),
        Configuration(cipher="chacha20-poly1305"),
    ):
        pair = Pair(left=settings, right=Configuration(retry_threshold=0))
        pair.established()
        found += [datagram for _, _, datagram in pair.wire if datagram[0] >= 0xC1]
    return found
