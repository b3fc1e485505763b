"""What a link reads of frames, and the mark that it writes."""

from __future__ import annotations

import pytest

from node.links.frames import ecn_capable, flow_of, mark_frame
from orchestrator.simulation.packet import Packet, from_frame, internet_checksum, to_frame

MACS = bytes(6), bytes(6)


def udp(ecn: int, port: int = 5) -> bytes:
    return to_frame(Packet(("10.0.0.1", port), ("10.0.0.2", 7), b"hello", ecn=ecn), *MACS)


def udp6(ecn: int) -> bytes:
    header = (6 << 28 | ecn << 20).to_bytes(4, "big") + (8).to_bytes(2, "big") + b"\x11\x40"
    return bytes(12) + b"\x86\xdd" + header + bytes(range(32)) + bytes.fromhex("0005000700080000")


@pytest.mark.parametrize("ecn", range(4))
def test_a_marked_packet_is_right_again(ecn: int) -> None:
    marked = mark_frame(udp(ecn))
    assert internet_checksum(marked[14:34]) == 0
    packet = from_frame(marked)
    assert packet is not None
    assert (packet.ecn, packet.payload) == (3, b"hello")
    # Marking twice changes nothing more.
    assert mark_frame(marked) == marked


@pytest.mark.parametrize("ecn", range(4))
def test_ipv6_is_marked_in_its_traffic_class(ecn: int) -> None:
    frame = udp6(ecn)
    assert ecn_capable(frame) == (ecn != 0)
    marked = mark_frame(frame)
    assert marked == udp6(3)


def test_ecn_capable_is_ect_and_ce() -> None:
    assert [ecn_capable(udp(ecn)) for ecn in range(4)] == [False, True, True, True]


def test_what_is_no_ip_is_left_alone() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    for frame in (arp, b"", bytes(13), bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd\x60"):
        assert mark_frame(frame) == frame
        assert not ecn_capable(frame)
        flow_of(frame)


def test_flows_differ_by_their_ports() -> None:
    assert flow_of(udp(0, 5)) == flow_of(udp(3, 5))
    assert flow_of(udp(0, 5)) != flow_of(udp(0, 6))
    assert len(flow_of(udp6(0))) > 32
