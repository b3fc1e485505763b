"""What a connection counts of itself (SPEC 16-6), checked against what the network saw."""

from __future__ import annotations

import pytest

from node.protocol.configuration import Configuration
from node.protocol.limits import CAUSES, Limits
from node.protocol.statistics import Statistics
from node.protocol.time import MILLISECOND, SECOND
from tests.support.pair import Pair, hostile, perfect


def sent(pair: Pair, size: int) -> Statistics:
    """Send so many bytes from left to right, and return the sender's statistics."""
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, b"x" * size, end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == size)
    return connection.statistics()


def largest(statistics: Statistics) -> str:
    """Return what the sender was limited by for longest."""
    return max(CAUSES, key=lambda cause: statistics.limited_time[cause])


def test_all_of_the_time_has_a_cause() -> None:
    pair = Pair(to_right=hostile(loss=0.02))
    found = sent(pair, 500_000)
    assert set(found.limited_time) == set(CAUSES)
    assert sum(found.limited_time.values()) == pytest.approx(pair.now, abs=50 * MILLISECOND)
    assert 0 < found.busy_time <= sum(found.limited_time.values())


def test_sender_without_data_is_limited_by_its_application() -> None:
    pair = Pair()
    connection = pair.established()
    stream = connection.open_stream()
    for _ in range(40):
        connection.write(stream, b"x" * 1000)
        pair.drain()
        pair.run_for(100 * MILLISECOND)
    found = connection.statistics()
    assert largest(found) == found.limited_by == "application"
    assert found.limited_time["application"] > 3 * SECOND
    # Each kilobyte is in flight for a round trip of 10 ms, or with the acknowledgement's delay 35.
    assert 40 * 10 * MILLISECOND <= found.busy_time <= 45 * 35 * MILLISECOND


def test_sender_that_waits_for_credit_is_limited_by_flow_control() -> None:
    pair = Pair(right=Configuration(stream_window=20_000), to_right=perfect(50 * MILLISECOND))
    found = sent(pair, 400_000)
    assert largest(found) == "flow-control"
    assert found.limited_time["flow-control"] > SECOND


def test_stream_whose_credit_is_used_up_is_limited_until_there_is_more() -> None:
    pair = Pair(right=Configuration(stream_window=20_000), read=False)
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, b"x" * 50_000)
    pair.drain()
    pair.run_for(SECOND)
    assert connection.statistics().limited_by == "flow-control"
    assert connection.statistics().send_backlog == 30_000
    assert pair.accepted is not None
    assert pair.accepted.statistics().receive_backlog == 20_000
    for _ in range(5):
        pair.accepted.read(stream)
        pair.drain()
        pair.run_for(SECOND)
    found = connection.statistics()
    assert (found.limited_by, found.send_backlog) == ("application", 0)


def test_stop_and_wait_is_limited_by_its_mode() -> None:
    found = sent(Pair(left=Configuration(arq="stop-and-wait")), 50_000)
    assert largest(found) == "arq"


def test_small_window_on_a_long_path_limits_by_congestion() -> None:
    found = sent(Pair(to_right=perfect(200 * MILLISECOND)), 300_000)
    assert found.limited_time["congestion"] > SECOND // 2


def test_driver_that_comes_late_shows_as_cpu() -> None:
    """The core has no clock and needs none: a burst was due before the driver asked for it."""
    limits = Limits(0)
    limits.drained(("pacing", 10, True), now=4)
    limits.drained(("application", None, False), now=25)
    limits.count(30)
    assert (limits.times["pacing"], limits.times["cpu"]) == (6, 15)
    assert limits.times["application"] == 4 + 5
    assert limits.busy == 21


def test_prompt_driver_shows_no_cpu() -> None:
    found = sent(Pair(to_right=hostile(loss=0.02)), 500_000)
    assert found.limited_time["pacing"] > 0
    assert found.limited_time["cpu"] == 0


def test_repeated_bytes_are_those_sent_more_than_once() -> None:
    pair = Pair(to_right=hostile(loss=0.05))
    found = sent(pair, 500_000)
    assert pair.accepted is not None
    lost = found.bytes_sent - pair.accepted.statistics().bytes_received
    assert found.retransmitted_packets > 10
    assert 0 < found.retransmitted_bytes <= found.retransmitted_packets * 1410
    assert found.retransmitted_bytes == pytest.approx(lost, rel=0.25)


def test_late_packets_and_how_late() -> None:
    pair = Pair(to_right=hostile(reorder=0.2))
    sent(pair, 200_000)
    assert pair.accepted is not None
    found = pair.accepted.statistics()
    assert found.late_packets > 5
    assert 1 <= found.reordering <= found.packets_received
    quiet = Pair()
    sent(quiet, 200_000)
    assert quiet.accepted is not None
    assert (quiet.accepted.statistics().late_packets, quiet.accepted.statistics().reordering) == (0, 0)


def test_acknowledgements_are_counted_at_both_ends() -> None:
    pair = Pair()
    found = sent(pair, 200_000)
    pair.run_for(SECOND)
    assert pair.accepted is not None
    assert pair.connection.statistics().acks_received == pair.accepted.statistics().acks_sent > 10
    assert found.delivery_rate > 100_000
    assert found.pacing_rate > 0


def test_credit_and_streams_are_what_is_left() -> None:
    pair = Pair(right=Configuration(connection_window=100_000), read=False)
    connection = pair.established()
    streams = [connection.open_stream() for _ in range(3)]
    connection.write(streams[0], b"x" * 30_000)
    pair.drain()
    pair.run_for(SECOND)
    found = connection.statistics()
    assert (found.streams_open, found.send_credit, found.datagram_size) == (3, 70_000, 1452)
    assert pair.accepted is not None
    assert pair.accepted.statistics().receive_credit == 70_000


def test_before_the_handshake_all_is_zero() -> None:
    pair = Pair(to_right=lambda datagram, rng: [])
    found = pair.connect().statistics()
    assert (found.smoothed_rtt, found.congestion_window, found.ssthresh) == (0, 0, None)
    assert found.limited_by == "application"
