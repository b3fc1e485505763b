"""The deadline of a connection is found once and kept until something happens: it is always the true one."""

from __future__ import annotations

import pytest

from node.protocol.configuration import Configuration
from node.protocol.time import MILLISECOND, SECOND, Instant
from tests.support.pair import Pair, hostile


class Watched(Pair):
    """A pair that compares what is kept with what there is, whenever it goes on to the next deadline."""

    compared = 0

    def next_time(self) -> Instant | None:
        for endpoint in (self.left, self.right):
            for connection in endpoint.connections:
                assert connection.deadline() == connection.next_timeout()
                self.compared += 1
        return super().next_time()


CONFIGURATIONS = [
    Configuration(idle_timeout=5 * SECOND, keep_alive=SECOND, key_update_packets=50),
    Configuration(idle_timeout=5 * SECOND, arq="go-back-n", congestion="bbr"),
    Configuration(idle_timeout=5 * SECOND, fec="xor", fec_arq="on-request", early_data=True),
]


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=["keep-alive", "go-back-n", "fec"])
def test_a_deadline_that_is_kept_is_the_one_there_is(configuration: Configuration, *, closes: bool) -> None:
    pair = Watched(
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
    assert pair.compared > 500
