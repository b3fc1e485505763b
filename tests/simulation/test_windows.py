"""Receive windows follow the path's bandwidth-delay product, within bounds (SPEC 6.3)."""

from __future__ import annotations

import pytest

from node.protocol.configuration import Configuration
from node.protocol.errors import LocalProtocolError
from node.protocol.events import StreamAcknowledged
from node.protocol.streams.flow_control import ReceiveWindow, WindowBudget, window_of_path
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import MaxData, MaxStreamData, Stream
from tests.support.forge import Forger
from tests.support.pair import Pair, perfect

SMALL = Configuration(
    initial_connection_window=30_000, initial_stream_window=20_000, connection_window=6_000_000,
    stream_window=4_000_000, idle_timeout=0,
)  # fmt: skip
RTT = 100 * MILLISECOND


def used_up(window: ReceiveWindow, count: int, *, every: int, start: int = 0) -> list[int]:
    """Read ``count`` bytes every ``every`` ns, ten times; return the size of the window after each."""
    sizes = []
    for step in range(10):
        if window.consume(count):
            window.raise_maximum(rtt=RTT, now=start + step * every)
        sizes.append(window.size)
    return sizes


def test_a_window_doubles_when_a_whole_one_lasts_less_than_two_round_trips() -> None:
    """SPEC 6.3-1: both sides of the bound; the first announcement only starts the clock."""
    assert used_up(ReceiveWindow(1000, 8000), 500, every=RTT)[:3] == [1000, 1000, 1000]
    assert used_up(ReceiveWindow(1000, 8000), 500, every=RTT - 1)[:3] == [1000, 2000, 2000]


def test_a_window_stops_at_its_bound_and_never_shrinks() -> None:
    """SPEC 6.3-1."""
    window = ReceiveWindow(1000, 3000)
    assert used_up(window, 3000, every=MILLISECOND) == [1000, 2000, *[3000] * 8]
    maximum = window.maximum
    assert used_up(window, 3000, every=100 * SECOND, start=SECOND)[-1] == 3000
    assert window.maximum > maximum


def test_a_window_without_a_bound_of_its_own_stays_as_it_is() -> None:
    assert used_up(ReceiveWindow(1000), 1000, every=1) == [1000] * 10


def test_windows_share_what_they_may_grow_into() -> None:
    """SPEC 6.3-4: the rest goes to who comes first, and comes back when a connection is over."""
    budget = WindowBudget(2500)
    one, two = ReceiveWindow(1000, 9000, budget), ReceiveWindow(1000, 9000, budget)
    one.grow_to(3000)
    two.grow_to(3000)
    assert (one.size, two.size, budget.left) == (3000, 1500, 0)
    budget.give_back(one.grown)
    two.grow_to(9000)
    assert (two.size, budget.left) == (3500, 0)


def transfer(configuration: Configuration, *, delay: int = 50 * MILLISECOND) -> Pair:
    """Move 5 MB to a reader that reads at once, with the windows of ``configuration`` there."""
    pair = Pair(right=configuration, left=Configuration(idle_timeout=0), to_right=perfect(delay))
    connection = pair.established()
    connection.write(connection.open_stream(), bytes(5_000_000), end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(0) in pair.left_events)
    return pair


def test_a_transfer_outgrows_small_windows() -> None:
    """SPEC 6.3-1, 6.3-2: in a few more round trips than with wide ones, instead of hundreds."""
    fixed = Configuration(connection_window=30_000, stream_window=20_000, idle_timeout=0)
    wide = Configuration(initial_connection_window=6_000_000, initial_stream_window=4_000_000)
    grown, slow, fast = (transfer(one).now for one in (SMALL, fixed, wide))
    assert fast <= grown < fast + 12 * RTT
    assert slow > 20 * SECOND


def test_windows_of_the_sender_are_what_the_receiver_announced() -> None:
    """SPEC 6.1-1: R of windows() is the last MAX_STREAM_DATA and MAX_DATA that came, to the byte."""
    pair = Pair(right=SMALL, left=Configuration(idle_timeout=0))
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, bytes(2_000_000))
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 2_000_000)
    pair.run_for(SECOND)
    forger = Forger(pair)
    announced = [frame for frame in forger.answers() if isinstance(frame, MaxStreamData | MaxData)]
    of_stream = max(frame.maximum for frame in announced if isinstance(frame, MaxStreamData))
    of_connection = max(frame.maximum for frame in announced if isinstance(frame, MaxData))
    windows = connection.windows(stream)
    assert windows.receive == (2_000_000, min(of_stream, of_connection))
    assert windows.shared == (2_000_000, min(windows.send[1], windows.receive[1]))
    maxima = [frame.maximum for frame in announced if isinstance(frame, MaxStreamData)]
    assert maxima == sorted(maxima)


def test_a_long_path_begins_with_wide_windows() -> None:
    """SPEC 6.3-5: 600 ms at 100 MB/s are 60 MB; on a short path nothing more is announced."""
    for delay, stream_window in ((300, 60_000_000), (20, Configuration().first_stream_window)):
        pair = Pair(to_right=perfect(delay * MILLISECOND))
        connection = pair.established()
        stream = connection.open_stream()
        connection.write(stream, b"first")
        pair.drain()
        pair.run_for(2 * SECOND)
        low, high = connection.windows(stream).receive
        assert (low, high) == (5, stream_window)
        announced = [frame for frame in Forger(pair).answers() if isinstance(frame, MaxStreamData | MaxData)]
        assert len(announced) == (2 if delay == 300 else 0)


def test_a_peer_that_lets_its_answer_wait_gets_a_quarter_of_what_is_left() -> None:
    """SPEC 6.3-5."""
    budget = WindowBudget(4_000_000)
    window = ReceiveWindow(1_000_000, 100_000_000, budget)
    assert window.begin_with(window_of_path(3600 * SECOND))
    assert (window.size, budget.left) == (2_000_000, 3_000_000)
    assert window_of_path(3600 * SECOND) == window_of_path(2 * SECOND) == 200_000_000


def test_a_slow_reader_holds_its_first_windows_and_no_more() -> None:
    """SPEC 6.3-3: nothing read, nothing grown: 20 kB a stream, 30 kB in all, on a path of 0.2 ms."""
    fate = perfect(MILLISECOND // 10)
    pair = Pair(right=SMALL, left=Configuration(idle_timeout=0), to_right=fate, read=False)
    connection = pair.established()
    for _ in range(20):
        connection.write(connection.open_stream(), bytes(1_000_000))
    pair.drain()
    pair.run_for(60 * SECOND)
    assert pair.accepted is not None
    assert pair.accepted.statistics().receive_credit == 0
    assert connection.statistics().stream_bytes_acked == 30_000


def test_a_peer_that_fills_all_it_may_costs_the_bound_and_no_more() -> None:
    """SPEC 6.3-3: windows grown to 2 MB, then a reader that stops."""
    right = Configuration(
        initial_connection_window=30_000, initial_stream_window=20_000, connection_window=2_000_000,
        stream_window=2_000_000, idle_timeout=0,
    )  # fmt: skip
    pair = Pair(right=right, left=Configuration(idle_timeout=0), to_right=perfect(50 * MILLISECOND))
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, bytes(8_000_000))
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) >= 6_000_000)
    pair.read = False
    pair.wire.clear()
    connection.write(stream, bytes(20_000_000))
    pair.drain()
    pair.run_for(60 * SECOND)
    assert pair.accepted is not None
    held = pair.accepted.streams.receivers[stream].buffer
    assert pair.accepted.statistics().receive_credit == 0
    assert 1_400_000 < len(held) <= 2_000_000


def test_a_receiver_that_is_overrun_after_growth_still_closes() -> None:
    """SPEC 6-2: what was announced is the bound, however it came about."""
    pair = Pair(right=SMALL)
    pair.established()
    pair.run_for(SECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    forger = Forger(pair)
    forger.send(Stream(0, 20_000 - 5, b"fives"))
    assert pair.closed(right=True) is None
    forger.send(Stream(4, 20_000, b"!"))
    assert pair.closed(right=True) is not None


def test_the_settings_are_checked_and_the_bound_wins() -> None:
    assert Configuration(stream_window=5000).first_stream_window == 5000
    assert Configuration(connection_window=5000).first_connection_window == 5000
    with pytest.raises(LocalProtocolError, match="initial_stream_window"):
        Configuration(initial_stream_window=1199)
