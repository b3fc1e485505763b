"""Paths remembered from earlier connections (SPEC 8-7)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from node.protocol.configuration import Configuration
from node.protocol.congestion.base import initial_window
from node.protocol.recovery.remembered import LIFETIME, MAX_PATHS, PathMemory, RememberedPath
from node.protocol.states import ConnectionState
from node.protocol.time import MILLISECOND, SECOND
from tests.support.pair import Pair, perfect

DELAY = 50 * MILLISECOND
FIRST = initial_window(1452)


def window_of_second(*, remember: bool = True, delay: int = DELAY, congestion: str = "cubic") -> int:
    """Carry some megabytes, close, connect again; return the window that it begins with."""
    size = 3_000_000
    configuration = Configuration(remember_path=remember, congestion=congestion)
    pair = Pair(left=configuration, to_right=perfect(DELAY), coalesce=True)
    first = pair.established()
    stream = first.open_stream()
    first.write(stream, bytes(size), end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == size)
    pair.run_for(SECOND)
    first.close(now=pair.now)
    pair.drain()
    pair.run_for(10 * SECOND)
    pair.to_right = pair.to_left = perfect(delay)
    second = pair.connect()
    pair.run_until(lambda: second.state is ConnectionState.ESTABLISHED)
    return second.statistics().congestion_window


@pytest.mark.parametrize("congestion", ["cubic", "new-reno", "bbr"])
def test_a_second_connection_begins_with_half_of_what_the_first_could_send(congestion: str) -> None:
    window = window_of_second(congestion=congestion)
    assert 5 * FIRST < window < 3_000_000


def test_it_is_off_unless_asked_for() -> None:
    assert window_of_second(remember=False) == FIRST


@pytest.mark.parametrize(("delay", "same"), [(24, False), (25, True), (400, True)])
def test_another_round_trip_is_another_path(delay: int, same: bool) -> None:
    assert (window_of_second(delay=delay * MILLISECOND) > FIRST) is same


@pytest.mark.parametrize(("rtt", "same"), [(49, False), (50, True), (1000, True), (1001, False)])
def test_the_same_path_has_between_half_and_ten_times_its_round_trip(rtt: int, same: bool) -> None:
    path = RememberedPath(rtt=100, bandwidth=10 * SECOND, noted=0)
    assert path.window(rtt, now=1) == (500 if same else 0)


@pytest.mark.parametrize(("age", "fresh"), [(LIFETIME, True), (LIFETIME + 1, False)])
def test_a_path_is_forgotten_after_an_hour(age: int, fresh: bool) -> None:
    path = RememberedPath(rtt=100, bandwidth=10 * SECOND, noted=5)
    assert path.window(100, now=5 + age) == (500 if fresh else 0)


def seen(peer: int, *, peak: int, delivered: int = 1 << 30) -> Any:  # Any: stands for a Connection
    """A connection that runs and has measured something."""
    recovery = SimpleNamespace(
        is_resumed=True,
        rate=SimpleNamespace(peak=peak, delivered=delivered),
        rtt=SimpleNamespace(min_rtt=SECOND),
        last_sent=0,
    )
    return SimpleNamespace(
        parameters=object(), state=ConnectionState.ESTABLISHED, peer_address=peer, remote=("host", 1),
        recovery=recovery,
    )  # fmt: skip


def resumed(memory: PathMemory, peer: int) -> RememberedPath | None:
    """What a new connection to a peer is told."""
    told: list[RememberedPath | None] = []
    connection: Any = seen(peer, peak=0)
    connection.recovery.is_resumed = False
    connection.recovery.resume = told.append
    memory.look(connection)
    return told[0]


def test_a_connection_that_sent_little_says_nothing_against_a_path() -> None:
    memory = PathMemory()
    memory.look(seen(1, peak=1000))
    memory.look(seen(1, peak=10, delivered=1999))
    assert resumed(memory, 1) == RememberedPath(SECOND, 1000, 0)
    memory.look(seen(1, peak=10, delivered=2000))
    assert resumed(memory, 1) == RememberedPath(SECOND, 10, 0)
    memory.look(seen(1, peak=20, delivered=1))
    assert resumed(memory, 1) == RememberedPath(SECOND, 20, 0)


def test_as_many_paths_are_kept_as_stated_and_the_newest_of_them() -> None:
    memory = PathMemory()
    for peer in range(MAX_PATHS + 1):
        memory.look(seen(peer, peak=100))
        memory.look(seen(0, peak=100))
    assert len(memory) == MAX_PATHS
    assert resumed(memory, 0) is not None
    assert resumed(memory, 1) is None
    assert resumed(memory, MAX_PATHS) is not None


def test_a_connection_without_a_sample_is_not_resumed() -> None:
    """An INITIATION that was repeated gives none: nothing confirms that the path is the same."""
    assert window_of_second(delay=600 * MILLISECOND) == FIRST
