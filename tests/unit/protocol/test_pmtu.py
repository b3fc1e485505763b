"""The size of datagrams follows the path: search, black holes, jumbo frames (RFC 8899, SPEC 13.4)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.congestion.base import CONTROLLERS, initial_window
from node.protocol.pmtu import MAX_PROBES, RAISE_INTERVAL, RUNGS, PathMtu, PmtuState
from node.protocol.time import MILLISECOND, SECOND, Duration
from tests.support.pair import LEFT, Fate, Pair

ELSEWHERE = ("elsewhere", 1)


def searched(limit: int, ceiling: int) -> tuple[PathMtu, int]:
    """A search over a path that carries up to ``limit`` bytes, and the probes that it took."""
    mtu, number, probes = PathMtu(initial=1200, ceiling=ceiling), 0, 0
    while (size := mtu.probe_size) is not None:
        mtu.on_probe_sent(number, now=0, patience=SECOND)
        probes += 1
        if size <= limit:
            assert mtu.on_ack(((number, number + 1),), now=0)
        else:
            assert not mtu.on_ack(((number + 1, number + 4),), now=0)
        number += 10
    return mtu, probes


@pytest.mark.parametrize("ceiling", [1201, 1452, 1472, 8972, 65_507])
def test_a_path_that_carries_all_that_is_allowed_takes_one_probe(ceiling: int) -> None:
    """SPEC 13.4-2: the ceiling is tried first."""
    mtu, probes = searched(100_000, ceiling)
    assert (mtu.current, mtu.state, probes) == (ceiling, PmtuState.COMPLETE, 1)


@pytest.mark.parametrize("limit", [1200, 1231, 1232, 1300, 1451, 1452, 1472, 1500, 8951, 8952, 40_000])
def test_the_largest_step_that_fits_is_found(limit: int) -> None:
    mtu, probes = searched(limit, 65_507)
    assert mtu.current == max(size for size in (1200, *RUNGS) if size <= limit)
    assert mtu.state is PmtuState.COMPLETE
    assert probes <= MAX_PROBES * 6


def test_nothing_is_tried_where_no_more_than_the_base_is_allowed() -> None:
    mtu = PathMtu(initial=1200, ceiling=1200)
    assert (mtu.state, mtu.probe_size, mtu.deadline) == (PmtuState.COMPLETE, None, None)


def test_three_probes_of_a_size_must_be_lost_and_two_do_not_tell() -> None:
    """SPEC 13.4-1, 13.4-2."""
    mtu = PathMtu(initial=1200, ceiling=1452)
    for attempt in range(MAX_PROBES):
        assert mtu.probe_size == 1452
        mtu.on_probe_sent(attempt, now=0, patience=SECOND)
        assert mtu.probe_number is not None
        assert not mtu.probe_size  # one at a time
        mtu.handle_timeout(now=SECOND)
    assert mtu.probe_size != 1452


def test_packets_acknowledged_shortly_after_a_probe_do_not_make_it_lost() -> None:
    mtu = PathMtu(initial=1200, ceiling=1452)
    mtu.on_probe_sent(5, now=0, patience=SECOND)
    outcomes = []
    for end in (8, 9):
        mtu.on_ack(((6, end),), now=0)
        outcomes.append(mtu.probe_number)
    assert outcomes == [5, None]


def test_a_smaller_size_is_tried_again_after_ten_minutes() -> None:
    mtu, _ = searched(1300, 1452)
    assert mtu.deadline == RAISE_INTERVAL
    mtu.handle_timeout(now=RAISE_INTERVAL)
    assert mtu.probe_size == 1452


def test_three_detections_without_a_large_packet_in_between_are_a_black_hole() -> None:
    """SPEC 13.4-4."""
    mtu, _ = searched(2000, 1452)
    assert not mtu.on_large_lost(time_sent=10, now=20)
    assert not mtu.on_large_lost(time_sent=15, now=21)  # went out before the first was known
    assert not mtu.on_large_lost(time_sent=30, now=40)
    mtu.on_acked(1452)  # a large one arrives: it was congestion
    assert not mtu.on_large_lost(time_sent=50, now=60)
    assert not mtu.on_large_lost(time_sent=70, now=80)
    assert mtu.on_large_lost(time_sent=90, now=100)
    assert (mtu.current, mtu.state, mtu.probe_size) == (1200, PmtuState.BASE, None)
    mtu.on_acked(1200)
    assert mtu.probe_size == 1452


def test_two_probe_timeouts_in_a_row_are_one_too() -> None:
    mtu, _ = searched(2000, 1452)
    assert not mtu.on_probe_timeouts(1)
    assert mtu.on_probe_timeouts(2)
    assert not mtu.on_probe_timeouts(3)


# Two whole ends


class Carrier:
    """A path of which the largest datagram can change."""

    def __init__(self, limit: int, *, delay: Duration = 20 * MILLISECOND) -> None:
        self.limit = limit
        self.delay = delay
        #: Datagrams that were too long.
        self.swallowed = 0

    def fate(self) -> Fate:
        def fate(datagram: bytearray, rng: Random) -> list[Duration]:
            if len(datagram) > self.limit:
                self.swallowed += 1
                return []
            return [self.delay]

        return fate


def connected(carrier: Carrier, **settings: object) -> Pair:
    """Both ends of a connection over a carrier, both ways."""
    chosen = Configuration(**{"initial_datagram_size": 1200, **settings})  # type: ignore[arg-type]
    pair = Pair(left=chosen, right=chosen, to_right=carrier.fate(), to_left=carrier.fate())
    pair.established()
    return pair


def deliver(pair: Pair, size: int) -> None:
    """Send so many bytes each way; all must arrive."""
    assert pair.accepted is not None
    up, down = pair.connection.open_stream(), pair.accepted.open_stream()
    pair.connection.write(up, bytes(size), end=True)
    pair.accepted.write(down, bytes(size), end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(up, b"")) == len(pair.left_data.get(down, b"")) == size)


def sizes(pair: Pair) -> list[int]:
    assert pair.accepted is not None
    return [c.statistics().datagram_size for c in (pair.connection, pair.accepted)]


@pytest.mark.parametrize("ceiling", [1452, 8972, 65_507])
def test_one_round_trip_after_the_handshake_datagrams_are_as_long_as_allowed(ceiling: int) -> None:
    """SPEC 13.4-2."""
    pair = connected(Carrier(65_507), max_datagram_size=ceiling)
    pair.run_for(60 * MILLISECOND)
    assert sizes(pair) == [ceiling, ceiling]
    deliver(pair, 400_000)
    assert max(len(datagram) for _, _, datagram in pair.wire) == ceiling


@pytest.mark.parametrize("integrity", ["aead", "crc32c", "xor"])
@pytest.mark.parametrize("arq", ["selective-repeat", "stop-and-wait", "go-back-n"])
def test_jumbo_ends_over_an_ordinary_path_find_its_size_and_lose_only_probes(
    arq: str, integrity: str
) -> None:
    """SPEC 13.4-3: a lost probe is no sign of congestion, and nothing is sent again for it."""
    carrier = Carrier(1472)
    pair = connected(carrier, max_datagram_size=8972, arq=arq, integrity=integrity)
    deliver(pair, 30_000 if arq == "stop-and-wait" else 1_000_000)
    pair.run_for(20 * SECOND)
    assert sizes(pair) == [1472, 1472]
    assert pair.accepted is not None
    for connection in (pair.connection, pair.accepted):
        found = connection.statistics()
        assert (found.packets_lost, found.retransmitted_packets, found.probe_timeouts) == (0, 0, 0)
        assert found.ssthresh is None
    assert 0 < carrier.swallowed <= 2 * MAX_PROBES * 6


@pytest.mark.parametrize("congestion", CONTROLLERS.names())
def test_the_window_is_counted_in_packets_that_the_path_carries(congestion: str) -> None:
    """SPEC 8.1-3: jumbo ends over an ordinary path begin with ten of its packets, not with two of theirs."""
    pair = connected(Carrier(1472), max_datagram_size=8972, congestion=congestion)
    assert pair.connection.statistics().congestion_window == initial_window(1200)
    pair.run_for(20 * SECOND)
    assert sizes(pair) == [1472, 1472]
    assert initial_window(1200) <= pair.connection.statistics().congestion_window <= initial_window(1472)


@pytest.mark.parametrize("arq", ["selective-repeat", "stop-and-wait", "go-back-n"])
def test_a_path_whose_mtu_falls_in_mid_transfer_carries_the_transfer_on(arq: str) -> None:
    """Fault: PMTU black hole. Cap: everything arrives, within ten seconds of virtual time of the fall."""
    carrier = Carrier(9000)
    pair = connected(carrier, max_datagram_size=8952, arq=arq)
    pair.run_for(200 * MILLISECOND)
    size = 100_000 if arq == "stop-and-wait" else 3_000_000
    up = pair.connection.open_stream()
    pair.connection.write(up, bytes(size), end=True)
    pair.drain()
    pair.run_for(60 * MILLISECOND)
    assert 0 < len(pair.right_data.get(up, b"")) < size
    fell, carrier.limit = pair.now, 1300
    pair.run_until(lambda: len(pair.right_data[up]) == size)
    assert pair.now - fell < 10 * SECOND
    pair.run_for(5 * SECOND)
    assert sizes(pair)[0] == 1272
    carrier.limit = 9000
    pair.connection.write(pair.connection.open_stream(), bytes(100))
    pair.run_for(RAISE_INTERVAL + SECOND)


def test_a_black_hole_one_way_shows_though_small_packets_go_on_both_ways() -> None:
    """Acknowledgements of small packets keep the probe time-out from firing: the losses must tell."""
    carrier = Carrier(9000)
    pair = connected(carrier, max_datagram_size=1452)
    pair.run_for(200 * MILLISECOND)
    assert pair.accepted is not None
    carrier.limit = 1300
    up, chat = pair.connection.open_stream(), pair.accepted.open_stream()
    pair.connection.write(up, bytes(200_000), end=True)
    pair.drain()
    pair.accepted.write(chat, b"hello")
    pair.drain()
    pair.run_for(50 * MILLISECOND)
    for _ in range(300):
        pair.accepted.write(chat, b"x" * 50)
        pair.connection.write(chat, b"y" * 50)
        pair.drain()
        pair.run_for(10 * MILLISECOND)
    assert len(pair.right_data[up]) == 200_000
    assert 1200 <= sizes(pair)[0] <= 1300


def test_an_outage_costs_one_round_trip_of_small_datagrams_afterwards() -> None:
    carrier = Carrier(9000)
    pair = connected(carrier, max_datagram_size=1452)
    pair.run_for(200 * MILLISECOND)
    stream = pair.connection.open_stream()
    carrier.limit = 0
    pair.connection.write(stream, bytes(100_000))
    pair.drain()
    pair.run_for(3 * SECOND)
    assert sizes(pair)[0] == 1200
    carrier.limit = 9000
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 100_000)
    pair.run_for(200 * MILLISECOND)
    assert sizes(pair)[0] == 1452


def test_another_address_has_a_size_of_its_own_and_another_port_has_not() -> None:
    """SPEC 13.2-6."""
    carrier = Carrier(9000)
    pair = connected(carrier, max_datagram_size=8952)
    pair.run_for(200 * MILLISECOND)
    assert sizes(pair) == [8952, 8952]
    pair.left_address = (LEFT[0], 99)
    deliver(pair, 100)
    assert sizes(pair)[1] == 8952
    carrier.limit = 1472
    pair.left_address = ELSEWHERE
    pair.connection.migrate(now=pair.now)
    pair.drain()
    deliver(pair, 1_000_000)
    pair.run_for(20 * SECOND)
    assert sizes(pair) == [1472, 1472]


def test_probes_wait_until_an_address_is_proven() -> None:
    """SPEC 13.4-1, 13.2-3: they would be most of what may go there."""
    pair = connected(Carrier(9000), max_datagram_size=8952)
    pair.run_for(200 * MILLISECOND)
    pair.left_address = ELSEWHERE
    pair.to_left = lambda datagram, rng: []
    stream, since = pair.connection.open_stream(), len(pair.wire)
    pair.connection.write(stream, b"x")
    pair.drain()
    pair.run_for(2 * SECOND)
    assert all(len(data) <= 1200 for _, from_left, data in pair.wire[since:] if not from_left)


def test_a_configured_first_size_is_used_at_once() -> None:
    pair = connected(Carrier(9000), initial_datagram_size=1452)
    assert sizes(pair) == [1452, 1452]


def test_a_first_size_that_does_not_fit_is_left_again() -> None:
    pair = connected(Carrier(1300), initial_datagram_size=1452)
    deliver(pair, 50_000)
    assert max(sizes(pair)) <= 1300
