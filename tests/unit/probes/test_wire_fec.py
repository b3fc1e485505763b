"""The wire probe on repair: what was rebuilt was received, and nothing may be named that was never sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.dissectors.scapy_layer import FecRecovered, FecRepair, MaxStreamData, Stream
from tests.support.wire import Wire


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    made = Wire(tmp_path)
    made.handshake()
    made.transfer()
    return made


def test_repair_and_its_report_are_right(wire: Wire) -> None:
    wire.data(0, wire.repair(0, 1, 12))
    wire.data(1, FecRecovered(largest=12, first_range=11))
    assert wire.verify().violations == []


@pytest.mark.parametrize(
    ("rule", "step"),
    [
        ("12.1-1", lambda wire: wire.data(0, wire.repair(0, 1, 14))),
        ("12.1-2", lambda wire: wire.data(0, wire.repair(0, 0, 128))),
        (
            "12.2-1",
            lambda wire: wire.data(0, FecRepair(scheme=1, first=1, total=1, index=1, symbol=b"sum")),
        ),
        ("12.4-5", lambda wire: wire.data(1, FecRecovered(largest=13, first_range=0))),
        (
            "12.4-5",
            lambda wire: wire.data(1, FecRecovered(largest=80, first_range=0, ranges=[(0, 0)] * 32)),
        ),
    ],
)
def test_frames_that_name_what_is_not_are_caught(wire: Wire, rule: str, step: Callable[[Wire], None]) -> None:
    step(wire)
    assert {violation.rule for violation in wire.verify().violations} >= {rule}


@pytest.mark.parametrize(("scheme", "rule"), [(1, "12.2-2"), (2, "12.2-3")])
@pytest.mark.parametrize("right", [False, True])
def test_a_symbol_is_what_follows_from_its_packets(wire: Wire, scheme: int, rule: str, right: bool) -> None:
    """SPEC 12.2-2, 12.2-3, 12.1-4: computed anew; one wrong bit is enough."""
    frame = wire.repair(0, 1, 12, scheme=scheme)
    if not right:
        frame.symbol = frame.symbol[:-1] + bytes([frame.symbol[-1] ^ 0x20])
    wire.data(0, frame)
    assert [violation.rule for violation in wire.verify().violations] == ([] if right else [rule])


@pytest.mark.parametrize("reported", [False, True])
def test_credit_in_a_rebuilt_packet_counts_from_its_report_on(wire: Wire, reported: bool) -> None:
    """SPEC 6.1-1, 12.4-3: the packet with it never arrived, its frames did."""
    number = wire.numbers[1]
    wire.send(1, wire.packet(1, MaxStreamData(stream_id=4, maximum=9000)), links=1)
    wire.data(1, wire.repair(1, number, number))
    if reported:
        wire.data(0, FecRecovered(largest=number, first_range=0))
    wire.data(0, Stream(stream_id=4, offset=3500, data=b"x" * 501))
    rules = [violation.rule for violation in wire.verify().violations]
    assert rules == ([] if reported else ["6-2"])
