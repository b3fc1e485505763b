"""What a traced connection tells (SPEC 16): every fact once, in order, and nothing that did not happen."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from node.protocol import trace
from node.protocol.configuration import Configuration
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.fec_frames import FecRepair
from node.protocol.wire.frames import Ack
from node.qlog.writer import QlogWriter
from tests.support import qvis
from tests.support.pair import Pair, hostile, perfect
from tests.support.sealed import acquainted

SIZE = 400_000


def transferred(pair: Pair, size: int = SIZE) -> Pair:
    """Send ``size`` bytes from left to right, and close."""
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, b"x" * size, end=True)
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == size)
    pair.run_for(SECOND)  # until the last acknowledgement is there
    connection.close(now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    return pair


def numbers(events: list[trace.PacketSent] | list[trace.PacketReceived], kind: str = "data") -> list[int]:
    return [number for e in events if e.kind == kind for number in range(e.first, e.first + e.count)]


def numbers_of(ranges: Iterable[trace.Range]) -> list[int]:
    return [number for low, high in ranges for number in range(low, high)]


@pytest.mark.parametrize("coalesce", [False, True])
@pytest.mark.parametrize("integrity", ["aead", "crc32c", "xor"])
def test_clean_transfer_has_no_trouble(coalesce: bool, integrity: str) -> None:
    configuration = Configuration(integrity=integrity)
    pair = transferred(Pair(left=configuration, coalesce=coalesce, traced=True))
    pair.expect_quiet(trace.ConnectionClosed)


def test_each_sent_packet_is_told_once_and_arrives_once() -> None:
    """SPEC 16-5."""
    pair = transferred(Pair(coalesce=True, traced=True))
    for left in (True, False):
        sent = numbers(pair.traced(trace.PacketSent, left=left))
        assert sent == sorted(set(sent))
        assert sent[-1] < 1.02 * len(sent)  # numbers are skipped but rarely (SPEC 4-5)
        assert numbers(pair.traced(trace.PacketReceived, left=not left)) == sent


def test_lost_packets_are_those_that_did_not_arrive() -> None:
    pair = transferred(Pair(to_right=hostile(loss=0.03), coalesce=True, traced=True))
    sent = set(numbers(pair.traced(trace.PacketSent, left=True)))
    arrived = set(numbers(pair.traced(trace.PacketReceived, left=False)))
    lost = {
        n
        for e in pair.traced(trace.PacketLost, left=True)
        for low, high in e.ranges
        for n in range(low, high)
    }
    assert lost
    assert lost <= sent - arrived
    assert pair.connection.statistics().packets_lost == len(lost)
    marked = sum(high - low for e in pair.traced(trace.MarkedForRetransmit) for low, high in e.ranges)
    assert marked > 0
    with pytest.raises(AssertionError, match="PacketLost"):
        pair.expect_no(trace.PacketLost)


def test_losses_that_were_none_are_told() -> None:
    """SPEC 8-6."""
    pair = Pair(to_right=hostile(reorder=0.3), to_left=perfect(), coalesce=True, traced=True)
    transferred(pair)
    told = pair.traced(trace.SpuriousLoss, left=True)
    count = sum(len(numbers_of(event.ranges)) for event in told)
    assert count == pair.connection.statistics().spurious_losses > 0
    lost = {n for event in pair.traced(trace.PacketLost, left=True) for n in numbers_of(event.ranges)}
    assert {n for event in told for n in numbers_of(event.ranges)} <= lost
    assert told[-1].packet_threshold > 3 or told[-1].time_threshold_eighths > 9
    assert any(event.undone for event in told)


def test_damaged_and_doubled_packets_are_dropped_with_the_reason() -> None:
    """SPEC 16-5."""
    pair = transferred(Pair(to_right=hostile(corrupt=0.05, duplicate=0.05), traced=True))
    drops = pair.traced(trace.PacketDropped, left=False)
    assert {"decryption_failure", "duplicate"} <= {event.trigger for event in drops}
    assert pair.accepted is not None
    statistics = pair.accepted.statistics()
    told = [sum(e.trigger == t for e in drops) for t in ("decryption_failure", "duplicate")]
    assert told == [statistics.integrity_failures, statistics.duplicate_packets]
    with pytest.raises(AssertionError, match="PacketDropped"):
        pair.expect_quiet(trace.PacketLost, trace.ConnectionClosed)


def test_five_steps_of_a_packet_are_in_the_trace() -> None:
    """Split, header, send, check, reassemble."""
    pair = transferred(Pair(traced=True), size=3000)
    split = [e for e in pair.traced(trace.DataMoved, left=True) if not e.to_application]
    assert [(e.offset, e.length) for e in split] == [(0, 3000)]
    runs = [e.run for e in pair.traced(trace.PacketSent, left=True) if e.run is not None]
    assert (runs[0].offset, runs[0].size) == (0, 1410)
    sent = pair.traced(trace.DatagramsSent, left=True)
    assert sum(e.size for e in sent) == sum(len(d) for _, left, d in pair.wire if left)
    checked = numbers(pair.traced(trace.PacketReceived, left=False))
    assert checked == numbers(pair.traced(trace.PacketSent, left=True))
    whole = [e for e in pair.traced(trace.DataMoved, left=False) if e.to_application]
    assert whole[0].offset == 0
    assert sum(e.length for e in whole) == 3000


def test_go_back_n_tells_each_step_back_and_all_that_goes_again() -> None:
    """SPEC 7-3."""
    configuration = Configuration(arq="go-back-n")
    pair = transferred(Pair(left=configuration, to_right=hostile(loss=0.02), coalesce=True, traced=True))
    steps = pair.traced(trace.ArqSteppedBack, left=True)
    assert [step.epoch for step in steps] == list(range(1, len(steps) + 1))
    marked = pair.traced(trace.MarkedForRetransmit, left=True)
    assert [event.ranges for event in marked] == [((step.offset, step.end),) for step in steps]
    assert steps


@pytest.mark.parametrize("fec", ["xor", "reed-solomon"])
def test_repair_is_told_at_both_ends_and_lost_stays_lost(fec: str) -> None:
    """SPEC 12-1."""
    both = Configuration(fec=fec, congestion="bbr")
    to_right = hostile(loss=0.1)
    pair = Pair(left=both, right=both, to_right=to_right, to_left=perfect(), coalesce=True, traced=True)
    transferred(pair)
    assert pair.accepted is not None
    rebuilt = pair.traced(trace.FecPacketRebuilt, left=False)
    assert len(rebuilt) == pair.accepted.statistics().fec_packets_rebuilt > 0
    told = [e for e in pair.traced(trace.FecPacketsRecovered, left=True) for _ in numbers_of(e.ranges)]
    assert len(told) == pair.connection.statistics().fec_packets_recovered
    repairs = pair.traced(trace.FecRepairSent, left=True)
    count = sum(event.repairs[1] - event.repairs[0] for event in repairs)
    assert count == pair.connection.statistics().fec_repairs_sent
    sent = pair.traced(trace.PacketSent, left=True)
    in_packets = [frame for event in sent for frame in event.frames if isinstance(frame, FecRepair)]
    assert [frame.index for frame in in_packets] == [n for event in repairs for n in range(*event.repairs)]
    assert any(event.repairs[1] - event.repairs[0] > 1 for event in repairs)  # in one burst
    lost = {n for event in pair.traced(trace.PacketLost, left=True) for n in numbers_of(event.ranges)}
    assert lost & {event.packet_number for event in rebuilt}
    assert not lost & set(numbers(pair.traced(trace.PacketReceived, left=False)))


def test_limits_are_told_when_they_change() -> None:
    pair = transferred(Pair(right=Configuration(stream_window=20_000), traced=True))
    causes = [event.cause for event in pair.traced(trace.LimitUpdated, left=True)]
    assert {"flow-control", "application"} <= set(causes)
    assert all(before != after for before, after in pairwise(causes))


def test_what_ecn_comes_to_is_told() -> None:
    """The pair's network carries no marks unless it is told to."""
    pair = transferred(Pair(traced=True))
    states = [event.new for event in pair.traced(trace.EcnStateUpdated, left=True)]
    assert states[0] == "testing"
    assert states[-1] == pair.connection.statistics().ecn_state
    marked = [event for event in pair.traced(trace.DatagramsSent, left=True) if event.ecn]
    assert sum(event.count for event in marked) >= 10


def test_size_that_a_path_proves_to_carry_is_told() -> None:
    """SPEC 13.4."""
    both = Configuration(max_datagram_size=8972)
    pair = transferred(Pair(left=both, right=both, traced=True))
    told = pair.traced(trace.MtuUpdated, left=True)
    assert told[-1].new == 8972 == pair.connection.statistics().datagram_size
    assert all(event.old != event.new for event in told)


def test_moves_are_told_at_both_ends() -> None:
    """SPEC 13.2, 13.3: the initiator moves by a call, and takes another ID of the peer's."""
    pair = Pair(traced=True)
    connection = pair.established()
    pair.run_for(SECOND)
    pair.left_address = ("left", 9)
    connection.migrate(now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    ours, theirs = (pair.traced(trace.PathUpdated, left=left) for left in (True, False))
    assert [(event.state, event.is_own_move) for event in ours] == [("active", True), ("validated", True)]
    assert (theirs[0].remote, theirs[0].state, theirs[0].is_own_move) == (("left", 9), "active", False)
    assert (("left", 9), "validated") in [(event.remote, event.state) for event in theirs]
    for left in (True, False):
        (updated,) = pair.traced(trace.ConnectionIdUpdated, left=left)
        assert updated.old != updated.new
    pair.expect_quiet()


def test_key_updates_are_told_at_both_ends() -> None:
    pair = Pair(traced=True)
    connection = pair.established()
    stream = connection.open_stream()
    for _ in range(2):
        pair.run_for(SECOND)
        connection.update_keys()
        connection.write(stream, b"under new keys")
        pair.drain()
    pair.run_for(SECOND)
    ours, theirs = (pair.traced(trace.KeyUpdated, left=left) for left in (True, False))
    assert [e.trigger for e in ours if e.owner == "local"] == ["handshake", "local_update", "local_update"]
    assert [e.trigger for e in theirs if e.owner == "local"] == [
        "handshake",
        "remote_update",
        "remote_update",
    ]
    for told in (ours, theirs):
        for owner in ("local", "remote"):
            assert [e.generation for e in told if e.owner == owner] == [0, 1, 2]
    assert [e.generation for e in pair.traced(trace.KeyDiscarded, left=True)] == [0, 1]


def test_windows_are_those_of_the_connection() -> None:
    """SPEC 16-4: W is the intersection of S and R."""
    pair = transferred(Pair(coalesce=True, traced=True, right=Configuration(stream_window=40_000)))
    told = [e for e in pair.traced(trace.WindowsUpdated, left=True) if e.send is not None]
    assert told
    for event in told:
        assert event.send is not None
        low, high = max(event.send[0], event.receive[0]), min(event.send[1], event.receive[1])
        assert event.shared == (low, max(low, high))
    assert [e.receive[1] for e in told] == sorted(e.receive[1] for e in told)
    assert told[-1].receive[1] > 40_000
    # What is on the wire is within W as told before it (SPEC 6.1-1).
    limit = 40_000
    for found in pair.trace:
        if found.left and isinstance(found.event, trace.WindowsUpdated):
            limit = found.event.receive[1]
        if found.left and isinstance(found.event, trace.PacketSent) and found.event.run is not None:
            assert found.event.run.end <= limit


def test_receiver_tells_its_window() -> None:
    pair = transferred(Pair(traced=True))
    told = [e for e in pair.traced(trace.WindowsUpdated, left=False) if e.send is None]
    assert told[-1].receive[0] == SIZE
    assert {e.shared for e in told} == {None}


def test_acknowledgements_and_metrics_are_told() -> None:
    pair = transferred(Pair(traced=True))
    acked = [
        n
        for e in pair.traced(trace.PacketsAcked, left=True)
        for low, high in e.ranges
        for n in range(low, high)
    ]
    assert len(acked) == len(set(acked))
    frames = [f for e in pair.traced(trace.PacketReceived, left=True) for f in e.frames]
    assert any(isinstance(frame, Ack) for frame in frames)
    metrics = pair.traced(trace.MetricsUpdated, left=True)
    assert metrics[-1].min_rtt == 10 * MILLISECOND
    assert max(e.congestion_window for e in metrics) == pair.connection.statistics().congestion_window


@pytest.mark.parametrize("congestion", CONTROLLERS.names())
def test_each_controller_tells_its_phases(congestion: str) -> None:
    configuration = Configuration(congestion=congestion)
    pair = transferred(Pair(left=configuration, to_right=hostile(loss=0.01), traced=True))
    (parameters,) = pair.traced(trace.RecoveryParametersSet, left=True)
    assert (parameters.controller, parameters.max_datagram_size) == (congestion, 1452)
    told = pair.traced(trace.CongestionStateUpdated, left=True)
    assert {event.controller for event in told} == {congestion}
    assert told[0].old is None
    assert told[0].new == ("startup" if congestion == "bbr" else "slow_start")
    assert [event.old for event in told[1:]] == [event.new for event in told[:-1]]
    if congestion != "bbr":
        assert {"recovery", "congestion_avoidance"} <= {event.new for event in told}


def test_life_of_a_connection_is_told_at_both_ends() -> None:
    pair = transferred(Pair(traced=True), size=10)
    for left, first in ((True, "initiating"), (False, "responding")):
        states = pair.traced(trace.ConnectionStateUpdated, left=left)
        assert [states[0].old, *(e.new for e in states)] == [
            first, "established", "closing" if left else "draining", "closed",
        ]  # fmt: skip
        (closed,) = pair.traced(trace.ConnectionClosed, left=left)
        assert closed.owner == ("local" if left else "remote")
        assert pair.traced(trace.ParametersSet, left=left)[1].owner == "remote"
        assert len(pair.traced(trace.ConnectionStarted, left=left)) == 1


def test_probe_timeouts_are_told() -> None:
    silent = False
    pair = Pair(to_right=lambda d, rng: [] if silent else [5 * MILLISECOND], traced=True)
    connection = pair.established()
    pair.run_for(SECOND)
    silent = True
    connection.write(connection.open_stream(), b"hello")
    pair.drain()
    pair.run_for(3 * SECOND)
    timers = pair.traced(trace.LossTimerUpdated, left=True)
    assert {e.timer for e in timers} == {"pto"}
    assert len(timers) == connection.statistics().probe_timeouts
    assert max(e.pto_count for e in pair.traced(trace.MetricsUpdated, left=True)) == len(timers)


def test_what_belongs_to_no_connection_is_in_a_trace_of_the_node(tmp_path: Path) -> None:
    """SPEC 16-7."""
    common: Any = {"reference": 0, "reference_time": 1.0, "on_trouble": pytest.fail}
    writer = QlogWriter(tmp_path, name="right", local=("right", 1), **common)
    pair = Pair(tracers=(None, writer.tracer_of))
    damaged = bytearray(next(d for _, left, d in transferred(Pair(), size=10).wire if left))
    damaged[100] ^= 1
    for datagram in (b"\x41" + bytes(50), b"\xff" * 9, bytes(damaged)):
        pair.inject(datagram, to_right=True)
    writer.close()
    loaded = qvis.load(tmp_path / "node.sqlog")
    assert loaded.vantage_point == "unknown"
    drops = [event["data"] for event in loaded.lookup("transport", "packet_dropped")]
    assert [(drop["trigger"], drop["details"], drop["raw"]["length"]) for drop in drops] == [
        ("connection_unknown", "unknown connection ID", 51),
        ("unsupported", "unknown packet type", 9),
        ("decryption_failure", "wrong CRC-32C", 1200),
    ]
    assert sum(pair.right.drops.counts.values()) == len(drops)


def test_sealed_packets_are_told_by_the_nodes_at_both_ends() -> None:
    node, other = acquainted()
    other.receive(*node.send(other, b"x" * 3000))
    sent = [event for event in node.trace if isinstance(event, trace.PacketSent)]
    received = [event for event in other.trace if isinstance(event, trace.PacketReceived)]
    assert [event.kind for event in received] == ["sealed"] * 3
    assert numbers(sent, "sealed") == numbers(received, "sealed") == [0, 1, 2]


def test_times_never_go_back_whoever_tells_what() -> None:
    """SPEC 16-2: reads and writes come without an instant of their own."""
    pair = Pair(traced=True)
    connection = pair.established()
    assert connection.observer is not None
    pair.now += 7 * MILLISECOND
    connection.observer.limited("congestion", pair.now)
    connection.write(connection.open_stream(), b"x" * 10)
    times = [found.now for found in pair.trace if found.left]
    assert times == sorted(times)
    assert times[-1] == pair.now


def test_untraced_connection_has_no_observer() -> None:
    """SPEC 16-1: off costs the look at one attribute."""
    pair = transferred(Pair(), size=10)
    assert pair.connection.observer is None
    assert pair.trace == []
    with pytest.raises(AssertionError, match="traced=True"):
        pair.expect_no(trace.PacketLost)


def test_tracing_changes_nothing_on_the_wire() -> None:
    """SPEC 16-1."""
    fate = hostile(loss=0.05, reorder=0.1, duplicate=0.02)
    wires = [transferred(Pair(to_right=fate, coalesce=True, traced=on)).wire for on in (False, True)]
    assert wires[0] == wires[1]


def test_files_of_both_ends_load_in_qvis(tmp_path: Path) -> None:
    """SPEC 16-2: as its loader wants them, with what its two main views draw."""
    common: Any = {"reference": 0, "reference_time": 1.0, "on_trouble": pytest.fail}
    writers = [
        QlogWriter(tmp_path / side, name=side, local=(side, 1), **common) for side in ("left", "right")
    ]
    tracers = [writer.tracer_of for writer in writers]
    pair = Pair(to_right=hostile(loss=0.02), to_left=perfect(), coalesce=True, tracers=tracers)
    transferred(pair)
    for writer in writers:
        writer.close()
    client, server = (
        qvis.load(next((tmp_path / side).glob("[0-9a-f]*.sqlog"))) for side in ("left", "right")
    )
    assert (client.vantage_point, server.vantage_point) == ("client", "server")
    groups = {end.header["trace"]["common_fields"]["ODCID"] for end in (client, server)}
    assert groups == {pair.connection.connection_id.hex()}
    arrived, lost = qvis.matched(client, server)
    assert arrived > 250
    assert lost > 0
    assert qvis.matched(server, client)[1] == 0
    for view in ("metrics_updated", "packet_lost"):
        assert client.lookup("recovery", view)
    assert any("congestion_window" in e["data"] for e in client.lookup("recovery", "metrics_updated"))
    assert {e["data"]["owner"] for e in client.lookup("transport", "parameters_set")} == {"local", "remote"}
    frames = {f["frame_type"] for e in client.lookup("transport", "packet_sent") for f in e["data"]["frames"]}
    assert {"ping", "stream", "connection_close"} <= frames
