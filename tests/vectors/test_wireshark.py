"""The Wireshark dissector against the wire vectors: tshark is its judge."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from node.capture.pcapng import Writer
from node.dissectors import sealed
from node.dissectors.protection import crc32c
from node.dissectors.scapy_layer import Data, Frames, Message, Ping, Stream, protect

HERE = Path(__file__).parent
DISSECTOR = HERE.parents[1] / "node" / "dissectors" / "wireshark" / "strait.lua"

pytestmark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="no tshark here: install Debian's package tshark"
)

#: One packet as tshark shows it: fields in order, as (name, element).
Shown = list[tuple[str, ET.Element]]


def _load(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((HERE / name).read_text(encoding="utf-8"))
    return vectors


def dissect(datagrams: list[bytes], place: Path, *, port: int = 4433, ip: type = IP) -> list[Shown]:
    """What tshark shows of each datagram below UDP."""
    path = place / "vectors.pcapng"
    with Writer.create(path) as writer:
        writer.add_interface("eth0")
        for number, payload in enumerate(datagrams):
            frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / ip()
            writer.write_packet(0, number * 1000, bytes(frame / UDP(sport=port, dport=port) / payload))
    argv = ["tshark", "-X", f"lua_script:{DISSECTOR}", "-r", str(path), "-T", "pdml"]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=60)
    assert b"Lua" not in done.stderr, done.stderr
    packets = ET.fromstring(done.stdout).findall("packet")
    assert len(packets) == len(datagrams)
    return [
        [
            (str(field.get("name")), field)
            for proto in packet.findall("proto[@name='strait']")
            for field in proto.iter("field")
        ]
        for packet in packets
    ]


def shown(packet: Shown, name: str) -> str:
    """The one field of that name, as tshark shows it."""
    (found,) = [field for key, field in packet if key == name]
    return str(found.get("show"))


def raw(packet: Shown, name: str) -> str:
    """The bytes of the one field of that name, in hex."""
    (found,) = [field for key, field in packet if key == name]
    return str(found.get("value"))


def faults(packet: Shown) -> list[str]:
    """What the dissector finds wrong."""
    texts = [str(field.get("showname")) for key, field in packet if key == "_ws.expert.message"]
    return texts + [
        str(field.get("show")) for key, field in packet if key in ("strait.malformed", "strait.bad_crc")
    ]


def _in_packet(frames: bytes) -> bytes:
    header = bytes(Data(target_cid=7, packet_number=1))
    return header + frames + crc32c(bytes(4) + header + frames).to_bytes(4, "big")


def _number(packet: Shown, name: str) -> int:
    return int(shown(packet, name), 0)


#: Field of a vector → how to find it in what is shown, where it is no field of the same name.
SPECIAL: dict[str, Callable[[Shown, dict[str, Any]], bool]] = {
    "intervals": lambda packet, vector: _intervals(packet, vector) == vector["fields"]["intervals"],
    "fin": lambda packet, vector: (shown(packet, "strait.fin") in ("1", "True")) is vector["fields"]["fin"],
    "unidirectional": lambda packet, vector: (
        (_number(packet, "strait.frame_type") & 1 == 1) is vector["fields"]["unidirectional"]
    ),
}


def _intervals(packet: Shown, vector: dict[str, Any]) -> list[list[int]]:
    prefix = f"strait.{vector['name'].lower()}."
    pairs = [
        int(str(field.get("show")))
        for key, field in packet
        if key in ("strait.range.gap", "strait.range.length")
    ]
    first = _number(packet, prefix + "first_range")
    if vector["name"] == "FEC_REPAIR":
        low = _number(packet, prefix + "first")
        found = [[low, low + first]]
        for gap, length in zip(pairs[::2], pairs[1::2], strict=True):
            low = found[-1][1] + gap + 2
            found.append([low, low + length])
        return found
    high = _number(packet, prefix + "largest")
    found = [[high - first, high]]
    for gap, length in zip(pairs[::2], pairs[1::2], strict=True):
        high = found[-1][0] - gap - 2
        found.append([high - length, high])
    return found


def test_every_frame_is_shown_with_its_fields(tmp_path: Path) -> None:
    vectors = [vector for vector in _load("frames.json") if vector["name"] != "PADDING"]
    for packet, vector in zip(
        dissect([_in_packet(bytes.fromhex(v["wire"])) for v in vectors], tmp_path), vectors, strict=True
    ):
        name = vector["name"].lower()
        assert faults(packet) == [], vector
        assert _number(packet, "strait.frame_type") == vector["type"]
        for key, value in vector["fields"].items():
            if key in SPECIAL:
                assert SPECIAL[key](packet, vector), (vector, key)
            elif isinstance(value, int):
                assert _number(packet, f"strait.{name}.{key}") == value, (vector, key)
            elif value:
                wanted = value.encode().hex() if key == "reason" else value
                assert raw(packet, f"strait.{name}.{key}") == wanted, (vector, key)


def test_set_up_packets_are_shown_with_their_fields(tmp_path: Path) -> None:
    vectors = _load("setup.json")
    packets = dissect([bytes.fromhex(vector["wire"]) for vector in vectors], tmp_path)
    for packet, vector in zip(packets, vectors, strict=True):
        assert faults(packet) == []
        for key in ("type", "version", "suite", "packet_number"):
            assert _number(packet, f"strait.{key}") == vector[key], (vector, key)
        for key in ("target_address", "source_address", "target_cid", "source_cid", "cookie", "noise"):
            if vector[key]:
                assert raw(packet, f"strait.{key}") == vector[key], (vector, key)


def test_the_profile_of_data_is_found_out_by_its_check(tmp_path: Path) -> None:
    # A CRC-32C is over the number's upper half, too, which no packet shows: there it looks sealed.
    vectors = [vector for vector in _load("data.json") if vector["packet_number"] < 1 << 32]
    packets = dissect([bytes.fromhex(vector["wire"]) for vector in vectors], tmp_path)
    assert {vector["profile"] for vector in vectors} >= {"aead", "crc32c", "xor"}
    for packet, vector in zip(packets, vectors, strict=True):
        profile = vector["profile"].partition("-")[0]
        assert shown(packet, "strait.profile") == profile
        assert raw(packet, "strait.target_cid" if vector["type"] != 0xC8 else "strait.source_cid")
        names = [key for key, _ in packet]
        assert ("strait.frame" in names) is (profile != "aead")


def test_sealed_packets_and_resets_are_shown(tmp_path: Path) -> None:
    packets = [
        bytes.fromhex(vector["wire"]) for name in ("sealed.json", "reset.json") for vector in _load(name)
    ]
    vector = _load("sealed.json")[-1]
    clear = packets[0][: sealed.HEADER_BYTES] + bytes([0, 1, 0, 3]) + b"a fragment"
    opened = clear + bytes(12) + crc32c(clear).to_bytes(4, "big")
    *closed, first_reset, _, in_clear = dissect([*packets, opened], tmp_path)
    assert raw(closed[-1], "strait.sealed.packet_number") == f"{vector['packet_number']:016x}"
    assert raw(closed[-1], "strait.sealed.epoch") == vector["epoch"]
    assert raw(first_reset, "strait.reset_token") == _load("reset.json")[0]["token"]
    assert [_number(in_clear, f"strait.sealed.{key}") for key in ("index", "count")] == [1, 3]
    assert raw(in_clear, "strait.sealed.data") == b"a fragment".hex()


@pytest.mark.parametrize(
    ("datagram", "found"),
    [
        (bytes.fromhex(_load("setup.json")[0]["wire"])[:-1] + b"\0", "CRC-32C is wrong"),
        (bytes.fromhex(_load("setup.json")[0]["wire"])[:40], "a set-up packet of 40 bytes"),
        (b"\x41" + bytes(8), "a DATA packet of 9 bytes"),
        (b"\x42" + bytes(20), "a STATELESS_RESET of 21 bytes"),
        (b"\x51" + bytes(20), "a SEALED packet of 21 bytes"),
        (_in_packet(b"\x2f"), "unknown frame type 0x2f"),
        (_in_packet(b"\x10\x40"), "a varint is cut off"),
        (_in_packet(b"\x0a\x00\x00\x05ab"), "data runs out of the packet"),
        (_in_packet(b"\x02\x09\x00\xbf\xff\xff\xff\x00"), "more ranges than bytes"),
    ],
)
def test_damage_is_said_and_nothing_breaks(datagram: bytes, found: str, tmp_path: Path) -> None:
    (packet,) = dissect([datagram], tmp_path)
    assert any(found in fault for fault in faults(packet)), faults(packet)


@pytest.mark.parametrize("ip", [IP, IPv6])
def test_other_ports_are_known_by_the_first_packet(ip: type, tmp_path: Path) -> None:
    frames = Frames(
        frames=[Ping(), Message(stream_id=2, data=b"hi"), Stream(type=0x08, stream_id=0, data=b"all")]
    )
    data = protect(Data(target_cid=7, packet_number=3) / frames, "xor")
    setup = bytes.fromhex(_load("setup.json")[0]["wire"])
    first, second = dissect([setup, data], tmp_path, port=5001, ip=ip)
    assert shown(first, "strait.type") == "0xc1"
    assert [str(field.get("showname")) for key, field in second if key == "strait.frame"] == [
        "PING",
        "MESSAGE 2 [0, 2)",
        "STREAM 0 [0, 3)",
    ]
