"""pcapng files: what is written is read back, what is damaged is refused with its offset."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import PcapNgReader

from node.capture.pcapng import (
    ENHANCED_PACKET,
    INTERFACE_DESCRIPTION,
    SECTION_HEADER,
    Capture,
    CaptureError,
    Direction,
    Writer,
    block,
    option,
)

FRAMES = [b"\xaa" * 60, b"", b"x", b"yz" * 750]


def _write(path: Path) -> None:
    with Writer.create(path, comment="link a--b") as writer:
        a = writer.add_interface("a:eth1", snaplen=1500)
        b = writer.add_interface("b:eth1", description="the other end")
        for index, frame in enumerate(FRAMES):
            direction = Direction(index % 3)
            writer.write_packet(
                (a, b)[index % 2], 1_700_000_000_123_456_789 + index, frame, direction=direction
            )
        writer.write_packet(b, 7, b"cut", original_length=900, comment="seen here")
        writer.write_statistics(a, 9, received=12, dropped=3)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    _write(path)
    capture = Capture.open(path)
    frames = list(capture)
    assert [bytes(frame.data) for frame in frames] == [*FRAMES, b"cut"]
    assert [frame.interface for frame in frames] == [0, 1, 0, 1, 1]
    assert [frame.direction for frame in frames] == [0, 1, 2, 0, 0]
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5]
    assert frames[1].at == 1_700_000_000_123_456_790
    assert frames[4].original_length == 900
    assert [interface.name for interface in capture.interfaces] == ["a:eth1", "b:eth1"]
    assert (capture.interfaces[0].received, capture.interfaces[0].dropped) == (12, 3)
    assert capture.interfaces[1].dropped is None
    assert capture.interfaces[0].snaplen == 1500
    assert capture.comments == ["link a--b"]
    assert capture.truncated_at is None


def test_scapy_reads_the_same_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    _write(path)
    with PcapNgReader(str(path)) as reader:
        packets = list(reader)
    assert [packet.original for packet in packets] == [*FRAMES, b"cut"]
    assert [packet.sniffed_on for packet in packets[:2]] == ["a:eth1", "b:eth1"]
    assert int(packets[1].time * 10**9) == 1_700_000_000_123_456_790


@given(cut=st.integers(0, 10_000))
def test_a_cut_tail_loses_only_what_it_cuts(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.pcapng"
    _write(path)
    whole = path.read_bytes()
    cut = min(cut, len(whole))
    capture = Capture(memoryview(whole[:cut]))
    frames = list(capture)
    assert [bytes(frame.data) for frame in frames] == [*FRAMES, b"cut"][: len(frames)]
    if capture.truncated_at is None:
        # Cut between two blocks, which cannot be told from a whole file.
        assert list(Capture(memoryview(whole[:cut]))) == frames
    else:
        assert capture.truncated_at <= cut


@given(st.binary(max_size=300), st.integers(0, 299), st.integers(0, 255))
def test_damaged_bytes_raise_nothing_but_capture_errors(data: bytes, position: int, value: int) -> None:
    header = block(SECTION_HEADER, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(INTERFACE_DESCRIPTION, struct.pack("<HHI", 1, 0, 0), option(9, b"\x09"))
    packet = block(ENHANCED_PACKET, struct.pack("<IIIII", 0, 0, 5, 4, 4) + b"abcd", option(2, bytes(4)))
    damaged = bytearray(header + interface + packet + packet)
    damaged[position % len(damaged)] = value
    for content in (data, header + data, bytes(damaged)):
        with contextlib.suppress(CaptureError):
            list(Capture(memoryview(content)))


def test_other_files_are_refused_with_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "old.pcap"
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    with pytest.raises(CaptureError, match=r"old\.pcap: at offset 0: not a pcapng file"):
        list(Capture.open(path))


def test_microseconds_and_big_endian_are_understood() -> None:
    def big(kind: int, body: bytes) -> bytes:
        length = 12 + len(body)
        return struct.pack(">II", kind, length) + body + struct.pack(">I", length)

    content = big(SECTION_HEADER, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
    content += big(INTERFACE_DESCRIPTION, struct.pack(">HHI", 1, 0, 0))
    content += big(ENHANCED_PACKET, struct.pack(">IIIII", 0, 0, 5, 4, 4) + b"abcd")
    (frame,) = Capture(memoryview(content))
    assert frame.at == 5000
    assert bytes(frame.data) == b"abcd"


def test_frame_of_an_interface_that_was_not_described_is_an_error() -> None:
    content = block(SECTION_HEADER, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    content += block(ENHANCED_PACKET, struct.pack("<IIIII", 3, 0, 5, 0, 0))
    with pytest.raises(CaptureError, match="offset 28: frame 1 names interface 3"):
        list(Capture(memoryview(content)))


def test_an_empty_file_is_a_truncated_one(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcapng"
    path.touch()
    capture = Capture.open(path)
    assert list(capture) == []
    assert capture.truncated_at == 0
