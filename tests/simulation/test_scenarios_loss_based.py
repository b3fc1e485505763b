"""Transfers over typical paths with loss-based controllers: limits in virtual time, whatever the machine."""

from __future__ import annotations

import pytest

from node.protocol.configuration import Configuration
from node.protocol.time import MILLISECOND
from tests.support.scenario import FULL_PACKET, Bottleneck, Flow, Path

MBIT = 1_000_000
MB = 1_000_000


def transfer(path: Path, size: int, congestion: str, *, seed: int = 1) -> Flow:
    """Return one flow over a path, after its end."""
    network = Bottleneck(path, seed=seed)
    flow = network.flow(size, configuration=Configuration(congestion=congestion))
    network.run()
    return flow


def test_no_transfer_is_faster_than_its_link() -> None:
    """Of the scenarios' own measure: handshake, serialisation and the way of the last packet."""
    path = Path(rate=20 * MBIT, delay=25 * MILLISECOND)
    flow = transfer(path, 10 * MB, "new-reno")
    packets = 10 * MB // Configuration().max_datagram_size
    assert flow.seconds > 3 * 0.025 + packets * FULL_PACKET * 8 / path.rate


def test_losses_come_in_runs_and_at_their_rate() -> None:
    path = Path(rate=20 * MBIT, delay=25 * MILLISECOND, loss=0.3, loss_run=3)
    network = Bottleneck(path)
    model = network.forward.model
    fates = [not model.enqueue(100, number * MILLISECOND) for number in range(30_000)]
    runs = "".join("x" if lost else "." for lost in fates).split(".")
    assert sum(fates) == pytest.approx(9000, rel=0.03)
    assert max(map(len, runs)) > 3  # one run may follow another at once
    assert sum(len(run) > 1 for run in runs) > 2000


@pytest.mark.parametrize("congestion", ["new-reno"])
def test_ten_megabytes_over_a_fast_short_path_with_jitter(congestion: str) -> None:
    """Twice what the link and two round trips take."""
    path = Path(rate=1000 * MBIT, delay=4 * MILLISECOND, jitter=2 * MILLISECOND)
    assert transfer(path, 10 * MB, congestion).seconds <= 0.25
