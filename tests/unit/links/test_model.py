"""The link model against what the impairments' definitions say."""

from __future__ import annotations

import statistics
from random import Random

import pytest

from node.links.model import Delivery, LinkModel
from node.links.settings import NONE, Impairments
from node.protocol.time import MILLISECOND, SECOND
from tests.support.intervals import binomial_interval

PACKETS = 20_000
FULL = 1514


def link(seed: str = "test", /, **impairments: str) -> LinkModel:
    words = {name.replace("_", "-"): value for name, value in impairments.items()}
    return LinkModel(Impairments.parse(words), Random(seed))


def send(model: LinkModel, packets: int, *, gap: int = MILLISECOND, size: int = FULL) -> list[Delivery]:
    """Send packets ``gap`` ns apart; return all deliveries in order of enqueueing."""
    return [found for number in range(packets) for found in model.enqueue(size, number * gap)]


def test_a_clean_link_delivers_at_once() -> None:
    assert LinkModel(NONE, Random(1)).enqueue(FULL, 7) == (Delivery(7, None),)


def test_delay_is_exact() -> None:
    model = link(delay="20ms")
    assert [found.at for found in send(model, 3)] == [20_000_000, 21_000_000, 22_000_000]


def test_rate_is_exact_over_a_busy_period() -> None:
    """Rounding never adds up: n packets take ceil-or-floor of n times their time, whatever the rate."""
    for rate, text in ((1_000_000_000, "1Gbit"), (7_777_000, "7777kbit"), (3_000, "3kbit")):
        model = link(rate=text, queue="1000p")
        sent = [model.enqueue(FULL, 0)[0].at for _ in range(1000)]
        assert sent == [8 * FULL * number * SECOND // rate for number in range(1, 1001)]


def test_an_idle_bottleneck_starts_anew() -> None:
    model = link(rate="8Mbit")
    assert model.enqueue(1000, 0)[0].at == MILLISECOND
    assert model.enqueue(1000, 5 * MILLISECOND)[0].at == 6 * MILLISECOND


def test_queue_holds_as_many_as_asked_and_drops_the_next() -> None:
    model = link(rate="8Mbit", queue="3p")
    fates = [len(model.enqueue(1000, 0)) for _ in range(5)]
    assert fates == [1, 1, 1, 0, 0]
    assert model.counters().overflowed == 2
    # A place is free the moment that the first packet has left, not before.
    assert model.enqueue(1000, MILLISECOND - 1) == ()
    assert model.enqueue(1000, MILLISECOND)[0].at == 4 * MILLISECOND


def test_the_queue_is_the_bottlenecks_not_the_delay_lines() -> None:
    """A thousand packets in flight on a long line, never more than one in the queue."""
    model = link(delay="1s", rate="8Mbit", queue="1p")
    assert len(send(model, 1000, gap=MILLISECOND, size=1000)) == 1000


def test_loss_is_inside_its_interval() -> None:
    for text, ratio in (("1%", 0.01), ("10%", 0.1), ("50%", 0.5)):
        model = link(loss=text)
        low, high = binomial_interval(PACKETS, ratio, confidence=0.99)
        assert low <= PACKETS - len(send(model, PACKETS)) <= high
        counters = model.counters()
        assert counters.lost == PACKETS - counters.delivered


def test_no_and_total_loss_are_exact() -> None:
    assert len(send(link(loss="0%"), 100)) == 100
    assert send(link(loss="100%"), 100) == []


def test_duplicates_are_inside_their_interval_and_arrive_together() -> None:
    model = link(duplicate="5%", delay="3ms")
    deliveries = send(model, PACKETS)
    extra = len(deliveries) - PACKETS
    low, high = binomial_interval(PACKETS, 0.05, confidence=0.99)
    assert low <= extra <= high
    assert model.counters().duplicated == extra
    assert len({found.at for found in deliveries}) == PACKETS


def test_each_duplicate_is_lost_on_its_own() -> None:
    model = link(duplicate="100%", loss="50%")
    sizes = [len(model.enqueue(FULL, number)) for number in range(PACKETS)]
    for copies, ratio in ((0, 0.25), (1, 0.5), (2, 0.25)):
        low, high = binomial_interval(PACKETS, ratio, confidence=0.99)
        assert low <= sizes.count(copies) <= high


def test_corruption_names_any_bit_of_the_frame() -> None:
    model = link(corrupt="10%")
    bits = [found.corrupt_bit for found in send(model, PACKETS, size=100) if found.corrupt_bit is not None]
    low, high = binomial_interval(PACKETS, 0.1, confidence=0.99)
    assert low <= len(bits) <= high
    assert model.counters().corrupted == len(bits)
    assert min(bits) < 20
    assert 780 <= max(bits) < 800
    assert statistics.mean(bits) == pytest.approx(399.5, abs=800 / 12**0.5 / len(bits) ** 0.5 * 3)


def test_jitter_is_uniform_around_the_delay() -> None:
    """Far apart, so that keeping order changes nothing: mean the delay, deviation jitter / √3."""
    model = link(delay="20ms", jitter="6ms")
    late = [
        found.at - number * 100 * MILLISECOND
        for number, found in enumerate(send(model, PACKETS, gap=100 * MILLISECOND))
    ]
    assert min(late) >= 14 * MILLISECOND
    assert max(late) < 26 * MILLISECOND
    deviation = 6 * MILLISECOND / 3**0.5
    assert statistics.mean(late) == pytest.approx(20 * MILLISECOND, abs=3 * deviation / PACKETS**0.5)
    assert statistics.pstdev(late) == pytest.approx(deviation, rel=0.02)
    quarters = [
        sum(low <= found < low + 3 * MILLISECOND for found in late)
        for low in range(14 * MILLISECOND, 26 * MILLISECOND, 3 * MILLISECOND)
    ]
    low, high = binomial_interval(PACKETS, 0.25, confidence=0.99)
    assert all(low <= quarter <= high for quarter in quarters)


def test_jitter_keeps_order() -> None:
    instants = [found.at for found in send(link(delay="20ms", jitter="20ms"), 5000, gap=1000)]
    assert instants == sorted(instants)


def test_jitter_shows_behind_a_free_bottleneck() -> None:
    """It does not vanish under a rate, as it does in one netem with both."""
    model = link(delay="20ms", jitter="6ms", rate="1Gbit")
    late = [
        found.at - number * 100 * MILLISECOND
        for number, found in enumerate(send(model, 5000, gap=100 * MILLISECOND))
    ]
    assert statistics.pstdev(late) == pytest.approx(6 * MILLISECOND / 3**0.5, rel=0.05)


def test_reordered_packets_skip_the_delay_and_only_they_overtake() -> None:
    model = link(delay="20ms", reorder="10%")
    deliveries = [model.enqueue(FULL, number * MILLISECOND)[0].at for number in range(PACKETS)]
    early = sum(at == number * MILLISECOND for number, at in enumerate(deliveries))
    low, high = binomial_interval(PACKETS, 0.1, confidence=0.99)
    assert low <= early <= high
    assert model.counters().reordered == early
    rest = [at for number, at in enumerate(deliveries) if at != number * MILLISECOND]
    assert rest == sorted(rest)


def test_the_rate_holds_when_packets_overtake() -> None:
    """Work is conserved over a busy period: the last packet leaves when all bits have been sent."""
    model = link(delay="5ms", reorder="20%", rate="8Mbit", queue="100000p")
    instants = sorted(found.at for found in send(model, 5000, gap=MILLISECOND // 2, size=1000))
    assert len(instants) == 5000
    busy = instants[-1] - instants[0]
    assert busy == pytest.approx(5000 * MILLISECOND, rel=0.01)


def test_a_queue_drops_when_packets_overtake() -> None:
    model = link(delay="5ms", reorder="20%", rate="8Mbit", queue="10p")
    delivered = len(send(model, 5000, gap=MILLISECOND // 2, size=1000))
    assert delivered == pytest.approx(2500, rel=0.02)
    assert model.counters().overflowed == 5000 - delivered


def test_replacing_keeps_the_fate_of_packets_on_their_way() -> None:
    model = link(delay="20ms")
    before = model.enqueue(FULL, 0)[0].at
    model.replace(Impairments.parse({"delay": "1ms"}))
    # The line keeps order: what is sent later does not overtake.
    assert model.enqueue(FULL, MILLISECOND)[0].at == before
    assert model.enqueue(FULL, before)[0].at == before + MILLISECOND


def test_taking_the_bottleneck_away_does_not_overtake_what_is_in_it() -> None:
    model = link(rate="8kbit", queue="10p")
    last = [model.enqueue(1000, 0)[0].at for _ in range(3)][-1]
    model.replace(NONE)
    assert model.enqueue(1000, 1)[0].at == last


def test_the_same_seed_gives_the_same_fates() -> None:
    every = {
        "delay": "10ms", "jitter": "2ms", "loss": "2%", "duplicate": "1%", "corrupt": "1%",
        "reorder": "3%", "rate": "20Mbit", "queue": "50p",
    }  # fmt: skip
    assert send(link("a", **every), 5000) == send(link("a", **every), 5000)
    assert send(link("a", **every), 5000) != send(link("b", **every), 5000)


def test_counters_add_up() -> None:
    model = link(delay="10ms", loss="5%", duplicate="5%", rate="10Mbit", queue="5p", corrupt="5%")
    delivered = len(send(model, PACKETS, gap=MILLISECOND))
    counters = model.counters()
    assert counters.sent == PACKETS
    assert counters.delivered == delivered
    assert counters.sent + counters.duplicated == delivered + counters.lost + counters.overflowed
