"""Headers as the wire probe reads them: of both versions of IP, whole or damaged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.protocol.datagrams import SocketAddress
from orchestrator.probes.wire.headers import address_bytes, address_text, read_headers
from orchestrator.simulation.packet import OVERHEAD_IPV6, Packet, to_frame

MAC = bytes(6)
FOUR = (("10.0.0.1", 4433), ("10.0.0.2", 5000))
SIX = (("fd6e:6172:726f::1", 4433), ("fd6e:6172:726f::2", 5000))


@given(st.binary(max_size=100), st.integers(0, 3), st.sampled_from((FOUR, SIX)))
def test_what_the_simulator_writes_is_read(
    payload: bytes, ecn: int, ends: tuple[SocketAddress, SocketAddress]
) -> None:
    source, destination = ends
    frame = to_frame(Packet(source, destination, payload, ecn=ecn), MAC, MAC)
    found = read_headers(memoryview(frame), suspect=True)
    assert found is not None
    assert found.whole
    assert (address_text(found.source), found.source_port) == source
    assert (address_text(found.destination), found.destination_port) == destination
    assert (found.traffic_class & 3, found.length, frame[found.start :]) == (ecn, len(frame) - 14, payload)


@given(st.integers(8 * 22, 8 * (OVERHEAD_IPV6 + 5) - 1))
def test_damage_that_ipv6_cannot_see_is_found_where_links_damage(bit: int) -> None:
    frame = bytearray(to_frame(Packet(*SIX, b"hello"), MAC, MAC))
    frame[bit // 8] ^= 0x80 >> bit % 8
    found = read_headers(memoryview(bytes(frame)), suspect=True)
    assert found is None or not found.whole or frame[60:62] == b"\0\0"


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_are_none(data: bytes) -> None:
    read_headers(memoryview(bytes(12) + b"\x86\xdd" + data), suspect=True)
    read_headers(memoryview(data))


def test_addresses_are_read_with_and_without_their_prefix() -> None:
    assert address_bytes("10.0.0.1/30") == bytes((10, 0, 0, 1))
    assert address_bytes("fd00::1") == b"\xfd" + bytes(14) + b"\x01"
