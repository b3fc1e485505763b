"""The deadline of a connection is found once and kept until something happens: it is always the true one.

So with what there is to send: a connection that is not asked has nothing (tests/support/watched.py; seeds and
the Hypothesis machine run on such endpoints as well).
"""

from __future__ import annotations

import pytest

from node.protocol.configuration import Configuration
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.timers import Timer
from node.protocol.wire.frames import Ping
from tests.support.pair import hostile
from tests.support.watched import WatchedPair

CONFIGURATIONS = [
    Configuration(idle_timeout=5 * SECOND, keep_alive=SECOND, key_update_packets=50),
    Configuration(idle_timeout=5 * SECOND, arq="go-back-n", congestion="bbr"),
    Configuration(idle_timeout=5 * SECOND, fec="xor", fec_arq="on-request", early_data=True),
]


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=["keep-alive", "go-back-n", "fec"])
def test_a_deadline_that_is_kept_is_the_one_there_is(configuration: Configuration, *, closes: bool) -> None:
    pair = WatchedPair(
        left=configuration, right=configuration, to_right=hostile(loss=0.05), to_left=hostile(loss=0.05)
    )
    connection = pair.established()
    connection.write(connection.open_stream(), bytes(200_000))
    for number in range(5):
        connection.send_message(bytes(5000), pair.now + number * 30 * MILLISECOND, now=pair.now)
    pair.drain()
    pair.run_for(3 * SECOND)
    if closes:
        connection.close(now=pair.now)
        pair.drain()
    else:
        pair.right_address = ("198.51.100.1", 9)  # nobody is there any more
    pair.run_for(60 * SECOND)
    compared, looked = pair.watched
    assert compared > 500
    assert looked > 500


def test_who_sleeps_with_something_to_send_is_found() -> None:
    """The watch can fail: this is a wake that was forgotten."""
    pair = WatchedPair()
    connection = pair.established()
    pair.run_for(SECOND)
    connection.builder.control.append(Ping())
    with pytest.raises(AssertionError, match="slept with"):
        pair.drain()


def test_who_sleeps_past_a_deadline_is_found() -> None:
    pair = WatchedPair()
    connection = pair.established()
    pair.run_for(SECOND)
    pair.next_time()
    connection.timers.set(Timer.IDLE, pair.now)
    with pytest.raises(AssertionError, match="sleeps until"):
        pair.next_time()
