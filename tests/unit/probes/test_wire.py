"""The wire probe on captures written by hand: a right exchange passes, a wrong one is caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.dissectors.reset import derive_token
from node.dissectors.scapy_layer import (
    Ack,
    Close,
    MaxData,
    MaxStreamData,
    Message,
    NewConnectionId,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    Stream,
)
from orchestrator.errors import ProbeError
from orchestrator.probes.wire import verify
from orchestrator.probes.wire.sightings import INJECTED_DSCP
from tests.support.wire import INITIATOR_CID, MILLISECOND, RESPONDER_CID, Wire, with_crc

PROFILES = ["aead", "aead-chacha20-poly1305", "crc32c", "xor"]


@pytest.fixture(params=PROFILES)
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Wire:
    """A connection of each profile that has transferred some data."""
    made = Wire(tmp_path, profile=request.param)
    made.handshake()
    made.transfer()
    return made


def test_right_exchange_has_no_violation(wire: Wire) -> None:
    report = wire.verify()
    assert [str(violation) for violation in report.violations] == []
    assert report.complete
    assert report.notes == []
    assert report.connections == 1
    assert report.distinct == 18
    assert report.frames == 4 * report.distinct
    assert report.links["left:eth1--mid:eth1"].entered == {"left:eth1": 14, "mid:eth1": 4}
    assert report.to_json()["violations"] == 0


def _number_reused(wire: Wire) -> None:
    wire.send(0, wire.packet(0, Ping(), Padding(), number=5))


def _acknowledges_unsent(wire: Wire) -> None:
    wire.data(1, Ack(largest=13, first_range=0))


def _acknowledges_skipped(wire: Wire) -> None:
    wire.numbers[0] += 3
    wire.data(0, Ping())
    wire.data(1, Ack(largest=16, first_range=1))


def _stream_overrun(wire: Wire) -> None:
    wire.data(0, Stream(stream_id=4, offset=3500, data=b"x" * 501))


def _connection_overrun(wire: Wire) -> None:
    for stream in range(12, 12 + 4 * 4, 4):
        wire.data(0, Stream(stream_id=stream, offset=1000, data=b"y" * 1251))


def _reset_overrun(wire: Wire) -> None:
    wire.data(0, ResetStream(stream_id=4, final_size=4001))


def _announcement_lost_on_the_last_link(wire: Wire) -> None:
    late = wire.packet(1, MaxStreamData(stream_id=4, maximum=9000))
    wire.send(1, late, links=1)
    wire.data(0, Stream(stream_id=4, offset=3500, data=b"x" * 501))


def _different_bytes(wire: Wire) -> None:
    wire.data(0, Stream(stream_id=4, offset=0, data=b"\xff"))


def _beyond_final_size(wire: Wire) -> None:
    wire.data(0, Stream(stream_id=0, offset=5000, data=b"!"))


def _wrong_tag(wire: Wire) -> None:
    packet = bytearray(wire.packet(0, Ping()))
    packet[-1] ^= 1
    wire.send(0, bytes(packet))


def _unknown_frame(wire: Wire) -> None:
    wire.send(0, wire.sealed(0, b"\x01\x1f\x00", 13))


def _truncated_frame(wire: Wire) -> None:
    wire.send(0, wire.sealed(0, b"\x0a\x00\x00\x05hell", 13))


def _no_frame(wire: Wire) -> None:
    wire.send(0, wire.sealed(0, b"", 13))


def _negative_acknowledgement(wire: Wire) -> None:
    wire.data(1, Ack(largest=3, first_range=4))


def _too_many_ranges(wire: Wire) -> None:
    for _ in range(130):
        wire.data(0, Ping())
    wire.data(1, Ack(largest=140, first_range=0, ranges=[(0, 0)] * 64))


def _unknown_connection(wire: Wire) -> None:
    packet = wire.packet(0, Ping())
    wire.send(0, packet[:1] + b"\x77" * 8 + packet[9:])


def _other_host_answers(wire: Wire) -> None:
    frame = wire.frame(0, 0, wire.packet(0, Ping()), ip="10.0.0.2")
    wire.record(0, 0, frame, left=False)


def _unknown_type(wire: Wire) -> None:
    wire.send(0, b"\x43 what is this?")


def _empty(wire: Wire) -> None:
    wire.send(0, b"")


def _wrong_version(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, version=0x53545202, packet_number=1))


def _stranger(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, source_address=99, packet_number=1))


def _address_of_another(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, source_address=wire.right.address, packet_number=1))


def _unknown_suite(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, suite=0x04, packet_number=1))


def _short_hybrid(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, suite=0x81, packet_number=1, padding=bytes(991)))


def _short_message(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, packet_number=1, noise=bytes(95)))


def _hybrid_without_a_key(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, suite=0x81, packet_number=1, source_cid=5, noise=bytes(1279)))


def _completion_of_ik(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC3, packet_number=1))


def _response_of_another_suite(wire: Wire) -> None:
    wire.send(1, wire.setup(0xC2, suite=0x11, source_cid=5))


def _response_with_a_cookie(wire: Wire) -> None:
    wire.send(1, wire.setup(0xC2, cookie=bytes(16)))


def _retry_to_nobody(wire: Wire) -> None:
    wire.send(1, wire.setup(0xC4, target_cid=5))


def _retry_to_no_initiation(wire: Wire) -> None:
    wire.send(1, wire.setup(0xC4, packet_number=9))


def _cookie_from_nowhere(wire: Wire) -> None:
    wire.send(1, wire.setup(0xC4))
    wire.send(0, wire.setup(0xC1, packet_number=1, cookie=bytes(16)))


def _early_acknowledgement(wire: Wire) -> None:
    wire.send(0, wire.early(Ack(largest=0, first_range=0)))


def _early_with_another_key(wire: Wire) -> None:
    wire.send(0, wire.early(Ping())[:-1] + b"?")


def _early_number_reused(wire: Wire) -> None:
    wire.send(0, wire.early(Ping()))
    wire.numbers[0] -= 1
    wire.data(0, Ping())


def _bad_padding(wire: Wire) -> None:
    packet = wire.setup(0xC1, packet_number=1)
    wire.send(0, with_crc(packet[:1000] + b"\x01" + packet[1001:]))


def _bad_size(wire: Wire) -> None:
    wire.send(0, with_crc(wire.setup(0xC1, packet_number=1) + bytes(1)))


def _bad_crc(wire: Wire) -> None:
    packet = wire.setup(0xC1, packet_number=1)
    wire.send(0, packet[:-1] + bytes([packet[-1] ^ 0x80]))


def _setup_number_reused(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, noise=b"\x5b" * 160))


def _repeated_with_other_bytes(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, packet_number=1, noise=b"\x5b" * 160))


def _initiation_with_target(wire: Wire) -> None:
    wire.send(0, wire.setup(0xC1, packet_number=1, target_cid=1))


def _response_to_nobody(wire: Wire) -> None:
    wire.send(1, wire.setup(0xC2, packet_number=1, target_cid=1))


def _burst(wire: Wire) -> None:
    wire.record(0, 0, wire.frame(0, 0, wire.packet(0, Ping(), Padding(more=1500))), left=False)


def _message_on_a_bidirectional_stream(wire: Wire) -> None:
    wire.data(0, Message(stream_id=12, offset=0, data=b"x"))


def _message_on_a_stream_of_bytes(wire: Wire) -> None:
    wire.data(0, Stream(stream_id=2, offset=0, data=b"x"))
    wire.data(0, Message(stream_id=2, offset=1, data=b"x"))


def _reset_too_long(wire: Wire) -> None:
    token = derive_token(wire.left.private_key, INITIATOR_CID)
    wire.send(0, b"\x42" + INITIATOR_CID + token + b"!")


def _reset_with_the_token_of_another(wire: Wire) -> None:
    wire.send(0, b"\x42" + INITIATOR_CID + derive_token(wire.right.private_key, INITIATOR_CID))


def _sealed_too_long(wire: Wire) -> None:
    wire.send(0, wire.sealed_datagram(b"x" * 1136))


def _sealed_of_another_version(wire: Wire) -> None:
    wire.send(0, wire.sealed_datagram(b"x", version=0x53545202))


def _sealed_by_a_stranger(wire: Wire) -> None:
    wire.send(0, wire.sealed_datagram(b"x", source_address=99))


def _sealed_in_the_name_of_another(wire: Wire) -> None:
    wire.send(0, wire.sealed_datagram(b"x", source_address=wire.right.address))


def _sealed_wrong(wire: Wire) -> None:
    packet = wire.sealed_datagram(b"x")
    wire.send(0, packet[:-1] + bytes([packet[-1] ^ 1]))


def _sealed_number_reused(wire: Wire) -> None:
    wire.send(0, wire.sealed_datagram(b"x"))
    wire.send(0, wire.sealed_datagram(b"y"))


def _sealed_fragment_too_short(wire: Wire) -> None:
    wire.send(0, wire.sealed_datagram(b"x", index=0, count=2))


def _sealed_fragment_too_many(wire: Wire) -> None:
    wire.send(0, wire.sealed_datagram(b"x", index=2, count=2, packet_number=9))


def _sealed_fragments_that_contradict(wire: Wire) -> None:
    wire.send(0, wire.sealed_datagram(b"x" * 1135, index=0, count=3))
    wire.send(0, wire.sealed_datagram(b"x", index=1, count=2, packet_number=1))


WRONG: list[tuple[Callable[[Wire], None], str]] = [
    (_number_reused, "4-1"),
    (_acknowledges_unsent, "5-2"),
    (_acknowledges_skipped, "5-2"),
    (_stream_overrun, "6-2"),
    (_connection_overrun, "6-2"),
    (_reset_overrun, "6-2"),
    (_announcement_lost_on_the_last_link, "6-2"),
    (_different_bytes, "6-3"),
    (_beyond_final_size, "6"),
    (_wrong_tag, "4.1-4"),
    (_unknown_frame, "5-1"),
    (_truncated_frame, "5-1"),
    (_no_frame, "4"),
    (_negative_acknowledgement, "5-1"),
    (_too_many_ranges, "5-3"),
    (_unknown_connection, "2-3"),
    (_other_host_answers, "2-3"),
    (_unknown_type, "1-2"),
    (_empty, "1-2"),
    (_wrong_version, "3"),
    (_unknown_suite, "3.3"),
    (_short_hybrid, "3-1"),
    (_short_message, "3.1"),
    (_hybrid_without_a_key, "3.1"),
    (_completion_of_ik, "3.1-5"),
    (_response_of_another_suite, "3.3-2"),
    (_response_with_a_cookie, "3.4-4"),
    (_retry_to_nobody, "3.4-1"),
    (_retry_to_no_initiation, "3.4-1"),
    (_cookie_from_nowhere, "3.4-4"),
    (_early_acknowledgement, "15-3 15-3"),
    (_early_with_another_key, "4.1-4"),
    (_early_number_reused, "4-1 15-3"),
    (_stranger, "2-2"),
    (_address_of_another, "2-1"),
    (_bad_padding, "3-1"),
    (_bad_size, "3-1"),
    (_bad_crc, "3-2"),
    (_setup_number_reused, "3-4"),
    (_repeated_with_other_bytes, "3-3"),
    (_initiation_with_target, "3"),
    (_response_to_nobody, "3"),
    (_burst, "1-1"),
    (_message_on_a_bidirectional_stream, "6.2-1"),
    (_message_on_a_stream_of_bytes, "6.2-1"),
    (_reset_too_long, "4.3-5"),
    (_reset_with_the_token_of_another, "4.3-1"),
    (_sealed_too_long, "14-2"),
    (_sealed_of_another_version, "14-1"),
    (_sealed_by_a_stranger, "2-4"),
    (_sealed_in_the_name_of_another, "2-4"),
    (_sealed_wrong, "14.1-2"),
    (_sealed_number_reused, "14-3"),
    (_sealed_fragment_too_short, "14.2-1"),
    (_sealed_fragment_too_many, "14.2-1"),
    (_sealed_fragments_that_contradict, "14.2-2"),
]


@pytest.mark.parametrize(("mistake", "rule"), WRONG, ids=[mistake.__name__[1:] for mistake, _ in WRONG])
def test_one_mistake_is_one_violation_of_its_rule(
    wire: Wire, mistake: Callable[[Wire], None], rule: str
) -> None:
    mistake(wire)
    report = wire.verify()
    assert sorted(violation.rule for violation in report.violations) == sorted(rule.split())
    assert report.damaged == 0


def test_ids_that_an_end_has_issued_are_right_on_packets_to_it(wire: Wire) -> None:
    """SPEC 13.1-1: from the frame on, and only in that direction."""
    issued = bytes.fromhex("3333333333333333")
    wire.data(1, NewConnectionId(sequence=1, connection_id=issued, reset_token=bytes(16)))
    wire.targets[0] = issued
    wire.data(0, PathChallenge(data=b"whereru?"), Padding(more=1180))
    wire.data(1, PathResponse(data=b"whereru?"), Padding(more=1180))
    assert [str(violation) for violation in wire.verify().violations] == []


def test_an_id_that_was_never_issued_is_caught(wire: Wire) -> None:
    wire.targets[0] = bytes.fromhex("3333333333333333")
    wire.data(0, Ping())
    [violation] = wire.verify().violations
    assert violation.rule == "2-3"


def test_right_key_updates_have_no_violation(tmp_path: Path) -> None:
    """SPEC 4.2: three updates, with a packet of the phase before that comes late."""
    wire = Wire(tmp_path)
    wire.handshake()
    wire.transfer()
    late = wire.packet(0, Ping())
    wire.send(0, late, links=1)
    for phase in (1, 2, 3):
        wire.phases = [phase, phase]
        wire.data(0, Ping())
        if phase == 1:
            wire.send(0, late, start=1)
        wire.data(1, Ack(largest=13 + phase, first_range=0))
    assert wire.verify().passed


def test_old_keys_after_new_ones_are_caught(tmp_path: Path) -> None:
    """SPEC 4.2-4."""
    wire = Wire(tmp_path)
    wire.handshake()
    wire.data(1, Ack(largest=0, first_range=0))
    wire.phases[0] = 1
    wire.data(0, Ping())
    wire.phases[0] = 0
    wire.data(0, Ping())
    assert [violation.rule for violation in wire.verify().violations] == ["4.2-4"]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_key_phase_without_its_key_is_caught(tmp_path: Path, profile: str) -> None:
    """SPEC 4.2-1, 4.2-2: the bit alone makes no phase."""
    wire = Wire(tmp_path, profile=profile)
    wire.handshake()
    wire.phases[0] = 3 if profile.startswith("aead") else 1
    wire.data(0, Ping())
    assert [violation.rule for violation in wire.verify().violations] == ["4.1-4"]


def test_a_right_reset_is_no_violation(wire: Wire) -> None:
    """SPEC 4.3."""
    wire.data(1, Ping(), Padding(more=30))
    wire.send(0, b"\x42" + INITIATOR_CID + derive_token(wire.left.private_key, INITIATOR_CID))
    assert wire.verify().passed


def test_right_datagrams_have_no_violation(wire: Wire) -> None:
    """SPEC 14: whole ones and fragments, out of order."""
    packets = [wire.sealed_datagram(b""), wire.sealed_datagram(b"x" * 1135, packet_number=1)]
    for index, size in ((1, 1135), (0, 1135), (2, 1)):
        packets.append(wire.sealed_datagram(bytes(size), index=index, count=3, packet_number=2 + index))
    for packet in packets:
        wire.send(0, packet)
    assert wire.verify().passed


def test_a_handshake_with_cookie_and_third_message_is_right(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    wire.send(0, wire.setup(0xC1, suite=0x02))
    wire.send(1, wire.setup(0xC4, suite=0x02))
    wire.send(0, wire.setup(0xC1, suite=0x02, packet_number=1, cookie=b"\xc0" * 16))
    wire.send(1, wire.setup(0xC2, suite=0x02))
    wire.send(0, wire.setup(0xC3, suite=0x02, packet_number=2))
    wire.data(1, Ping())
    wire.data(0, Ping())
    assert wire.verify().violations == []


def test_early_data_before_the_handshake_is_right_and_validates_nobody(tmp_path: Path) -> None:
    """SPEC 15-3, 15-6."""
    wire = Wire(tmp_path)
    wire.send(0, wire.setup(0xC1))
    wire.send(0, wire.early(Stream(stream_id=0, offset=0, data=b"early")))
    wire.send(1, wire.setup(0xC2))
    wire.data(0, Stream(stream_id=0, offset=0, data=b"early"))
    wire.data(1, Ack(largest=1, first_range=0))
    assert wire.verify().violations == []

    (tmp_path / "more").mkdir()
    wire = Wire(tmp_path / "more")
    wire.send(0, wire.setup(0xC1))
    wire.send(0, wire.early(Ping()))
    wire.send(1, wire.setup(0xC2))
    wire.data(1, Ack(largest=0, first_range=0))
    wire.data(0, Ping())
    assert [violation.rule for violation in wire.verify().violations] == ["3.1-3"]


def test_early_data_without_its_key_is_noted(tmp_path: Path) -> None:
    """SPEC 11-4."""
    wire = Wire(tmp_path)
    wire.key_log = wire.key_log.partition("\n")[2]
    wire.send(0, wire.setup(0xC1))
    wire.send(0, wire.early(Ping()))
    wire.send(1, wire.setup(0xC2))
    wire.data(0, Ping())
    assert any("no key log for the early data" in note for note in wire.verify().notes)


def test_a_number_shared_by_initiation_and_completion_is_caught(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    for kind in (0xC1, 0xC2, 0xC3):
        wire.send(kind == 0xC2, wire.setup(kind, suite=0x02))
    assert [violation.rule for violation in wire.verify().violations] == ["3-4"]


@pytest.mark.parametrize("profile", PROFILES)
def test_windows_hold_to_the_last_byte(tmp_path: Path, profile: str) -> None:
    wire = Wire(tmp_path, profile=profile)
    wire.handshake()
    for stream, size in ((0, 4000), (4, 4000), (8, 2000)):
        wire.data(0, Stream(stream_id=stream, offset=size - 1, data=b"e"))
    wire.data(1, MaxData(maximum=10_001))
    wire.data(0, Stream(stream_id=8, offset=2000, data=b"e"))
    assert wire.verify().passed


def test_amplification_before_validation_is_caught(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    wire.send(0, wire.setup(0xC1))
    for number in range(3):
        wire.send(1, wire.setup(0xC2, packet_number=number))
    wire.data(0, Ping())
    assert wire.verify().passed

    (tmp_path / "more").mkdir()
    wire = Wire(tmp_path / "more")
    wire.send(0, wire.setup(0xC1))
    for number in range(4):
        wire.send(1, wire.setup(0xC2, packet_number=number))
    wire.data(0, Ping())
    report = wire.verify()
    assert [violation.rule for violation in report.violations] == ["3-3"]


def test_responder_data_before_validation_is_caught(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    wire.send(0, wire.setup(0xC1))
    wire.send(1, wire.setup(0xC2))
    wire.data(1, Ping())
    wire.data(0, Ping())
    assert [violation.rule for violation in wire.verify().violations] == ["3.1-3"]


def test_duplicates_made_by_a_link_are_no_violation(wire: Wire) -> None:
    packet = wire.data(0, Ping())
    wire.send(0, packet, start=1)
    report = wire.verify()
    assert report.passed
    assert report.distinct == 19


def test_a_packet_that_its_node_sends_twice_is_caught(wire: Wire) -> None:
    """SPEC 4-1: as it is, it has the number of another."""
    packet = wire.data(0, Ping())
    wire.send(0, packet)
    assert [violation.rule for violation in wire.verify().violations] == ["4-1"]


def test_a_reset_that_nothing_asked_for_is_caught(tmp_path: Path) -> None:
    """SPEC 4.3-3: none of the packets to that connection is longer than a reset."""
    wire = Wire(tmp_path, profile="xor")
    wire.handshake()
    wire.data(1, Ack(largest=0, first_range=0))
    wire.send(0, b"\x42" + INITIATOR_CID + derive_token(wire.left.private_key, INITIATOR_CID))
    assert [violation.rule for violation in wire.verify().violations] == ["4.3-3"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("bit", [3, 70, 100, 130, 400])
def test_copy_damaged_by_a_corrupting_link_is_counted(tmp_path: Path, profile: str, bit: int) -> None:
    wire = Wire(tmp_path, profile=profile, corrupt=True)
    wire.handshake()
    wire.transfer()
    packet = wire.packet(0, Stream(stream_id=0, offset=0, data=bytes(at * 7 % 251 for at in range(300))))
    wire.send(0, packet, links=1)
    damaged = bytearray(packet)
    damaged[bit // 8] ^= 1 << bit % 8
    wire.record(1, 0, wire.frame(0, 1, packet), left=False)
    wire.record(1, 0, wire.frame(0, 1, bytes(damaged)), left=True)
    report = wire.verify()
    assert report.passed
    assert (report.damaged, report.slipped) == (1, 0)


def test_damage_that_xor_does_not_see_is_counted_as_slipped(tmp_path: Path) -> None:
    wire = Wire(tmp_path, profile="xor", corrupt=True)
    wire.handshake()
    wire.transfer()
    packet = wire.data(0, Stream(stream_id=8, offset=3000, data=b"abcdefgh" * 40))
    damaged = bytearray(packet)
    damaged[100] ^= 4
    damaged[200] ^= 4
    wire.record(1, 0, wire.frame(0, 1, bytes(damaged)), left=True)
    report = wire.verify()
    assert report.passed
    assert (report.damaged, report.slipped) == (1, 1)


def test_a_node_that_sends_rubbish_is_not_excused_by_a_corrupting_link(tmp_path: Path) -> None:
    wire = Wire(tmp_path, corrupt=True)
    wire.handshake()
    wire.send(0, b"\x41" + RESPONDER_CID + bytes(100))
    report = wire.verify()
    assert [violation.rule for violation in report.violations] == ["4.1-4"]
    assert report.damaged == 0


def test_broken_ip_header_is_damage_only_where_it_was_asked_for(tmp_path: Path) -> None:
    for corrupt in (False, True):
        directory = tmp_path / str(corrupt)
        directory.mkdir()
        wire = Wire(directory, corrupt=corrupt)
        wire.handshake()
        frame = bytearray(wire.frame(0, 1, wire.packet(0, Ping())))
        frame[20] ^= 0x20
        wire.record(1, 0, bytes(frame), left=True)
        report = wire.verify()
        assert (report.violation_count, report.damaged) == (not corrupt, corrupt)


@pytest.mark.parametrize(("byte", "comes"), [(0, False), (6, True), (40, False)], ids=["to", "from", "sum"])
def test_damage_beside_the_datagram_decides_whether_its_host_takes_it(
    byte: int, comes: bool, tmp_path: Path
) -> None:
    """SPEC 9-1: of fifty connections one went on after a CLOSE whose frame was for another MAC address."""
    wire = Wire(tmp_path, corrupt=True)
    wire.handshake()
    close = wire.packet(0, Close())
    wire.send(0, close, links=1)
    wire.record(1, 0, wire.frame(0, 1, close), left=False)
    damaged = bytearray(wire.frame(0, 1, close))
    damaged[byte] ^= 8
    wire.record(1, 0, bytes(damaged), left=True)
    wire.now += 1000 * MILLISECOND
    wire.data(1, Ping())
    assert [violation.rule for violation in wire.verify().violations] == ["9-1"] * comes


def test_injected_packets_are_counted_apart(wire: Wire) -> None:
    wire.send(0, b"\x41 rubbish from a probe", tos=INJECTED_DSCP << 2)
    report = wire.verify()
    assert report.passed
    assert report.injected == 1


def test_other_traffic_is_counted_apart(wire: Wire) -> None:
    wire.record(0, 0, b"\xff" * 6 + b"\x02" * 6 + b"\x08\x06" + bytes(28), left=False)
    report = wire.verify()
    assert report.passed
    assert report.links["left:eth1--mid:eth1"].other == 1


def test_capture_that_missed_the_handshake_is_noted(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    wire.numbers = [700, 300]
    wire.data(0, Stream(stream_id=0, offset=90_000, data=b"late"))
    wire.data(1, Ack(largest=700, first_range=500))
    report = wire.verify()
    assert report.passed
    assert any("handshake" in note for note in report.notes)
    assert any("order was not checked" in note for note in report.notes)


def test_without_a_key_log_packets_are_noted_and_not_judged(wire: Wire) -> None:
    wire.key_log = ""
    report = wire.verify()
    assert report.passed
    assert any(INITIATOR_CID.hex() in note for note in report.notes)


def test_kernel_drops_are_noted_and_order_is_not_judged(wire: Wire) -> None:
    _acknowledges_unsent(wire)
    wire.writers[0].write_statistics(0, wire.now, received=100, dropped=7)
    report = wire.verify()
    assert report.passed
    assert not report.complete
    assert report.links["left:eth1--mid:eth1"].dropped == 7
    assert any("lost 7 frames" in note for note in report.notes)


def test_truncated_capture_is_noted(wire: Wire) -> None:
    collected = wire.collect()
    path = wire.paths[1]
    path.write_bytes(path.read_bytes()[:-10])
    report = verify(wire.plan, collected)
    assert report.passed
    assert not report.complete
    assert report.links["mid:eth2--right:eth1"].truncated


def test_damaged_capture_gives_no_verdict(wire: Wire) -> None:
    collected = wire.collect()
    path = wire.paths[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ProbeError, match="at offset"):
        verify(wire.plan, collected)


def test_missing_capture_is_noted(wire: Wire) -> None:
    collected = wire.collect()
    collected.captures.popitem()
    report = verify(wire.plan, collected)
    assert not report.complete
    assert any("there is no capture" in note for note in report.notes)


def test_only_the_first_violations_are_described(wire: Wire) -> None:
    for index in range(150):
        wire.send(0, b"\x43" + index.to_bytes(2, "big"))
    report = wire.verify()
    assert len(report.violations) == 100
    assert report.violation_count == 150
    assert report.violations[0].link == "left:eth1--mid:eth1"
