"""Queues that decide when they serve, against what their RFCs and the paper say."""

from __future__ import annotations

from random import Random

import pytest

from node.links.model import Delivery, LinkModel
from node.links.queues.red import MAX_PROBABILITY, RedThresholds
from node.links.settings import Impairments
from node.protocol.time import MILLISECOND, SECOND, Duration

FULL = 1_514
#: What a full frame takes at 10 Mbit/s.
FRAME_TIME = 1_211_200


class Bottleneck:
    """A link of 10 Mbit/s with a queue, and everything that comes out of it."""

    def __init__(self, **words: object) -> None:
        given: dict[str, object] = {"rate": "10Mbit"}
        given |= {name.replace("_", "-"): value for name, value in words.items()}
        self.model = LinkModel(Impairments.parse(given), Random(1))
        self.out: list[Delivery] = []
        self.sent: dict[int, int] = {}

    def send(
        self,
        count: int,
        *,
        gap: Duration,
        start: int = 0,
        ecn: bool = False,
        flow: object = 0,
        size: int = FULL,
    ) -> None:
        """Send packets at a steady pace; their items are their numbers."""
        for place in range(count):
            now, number = start + place * gap, len(self.sent)
            self.out += self.model.advance(now)
            self.sent[number] = now
            self.out += self.model.enqueue(size, now, item=number, ecn_capable=ecn, flow=flow)

    def finish(self) -> list[Delivery]:
        """Return all that arrived, in order of arrival."""
        self.out += self.model.advance(10_000 * SECOND)
        return sorted(self.out, key=lambda found: found.at)

    def waits(self) -> list[Duration]:
        """Return how long each packet that arrived took, ns."""
        return [found.at - self.sent[int(str(found.item))] for found in self.finish()]


@pytest.mark.parametrize("words", [{"aqm": "codel"}, {"aqm": "fq_codel"}, {"aqm": "pie"}, {"aqm": "red"}])
def test_a_queue_that_is_not_full_is_a_wire_of_that_rate(words: dict[str, object]) -> None:
    link = Bottleneck(**words)
    link.send(100, gap=2 * FRAME_TIME)
    assert link.waits() == [FRAME_TIME] * 100
    assert link.model.counters().overflowed == 0
    assert link.model.next_at() is None


@pytest.mark.parametrize("words", [{"aqm": "codel"}, {"aqm": "fq_codel"}, {"aqm": "pie"}, {"aqm": "red"}])
def test_work_is_conserved(words: dict[str, object]) -> None:
    """However many are dropped, the server never idles while something waits."""
    link = Bottleneck(**words, queue="1000p")
    link.send(5_000, gap=FRAME_TIME * 4 // 5)
    arrived = link.finish()
    assert arrived[-1].at - arrived[0].at == pytest.approx((len(arrived) - 1) * FRAME_TIME, abs=len(arrived))
    counters = link.model.counters()
    assert counters.delivered == len(arrived) == 5_000 - counters.overflowed


def test_codel_leaves_a_burst_alone() -> None:
    """RFC 8289 §3.2: a good queue goes within an interval; 60 packets at once take 73 ms."""
    link = Bottleneck(aqm="codel", queue="1000p")
    link.send(60, gap=0)
    assert len(link.finish()) == 60


def test_codel_drops_one_packet_an_interval_after_the_target_was_missed() -> None:
    """RFC 8289 §5: first when the wait was above 5 ms for 100 ms, then ever sooner by the square root."""
    link = Bottleneck(aqm="codel", queue="1000p")
    link.send(300, gap=FRAME_TIME // 2)
    arrived = [int(str(found.item)) for found in link.finish()]
    missing = [number for number in range(300) if number not in set(arrived)]
    at = {int(str(found.item)): found.at for found in link.out}
    # A packet is dropped when the one before it has been sent.
    times = [at[number - 1] for number in missing[:4] if number - 1 in at]
    # The wait grows by half of the time that passes, so it is at 5 ms after 10 ms.
    assert times[0] == pytest.approx(110 * MILLISECOND, abs=2 * FRAME_TIME)
    assert times[1] - times[0] == pytest.approx(100 * MILLISECOND, abs=2 * FRAME_TIME)
    assert times[2] - times[1] == pytest.approx(100 * MILLISECOND / 2**0.5, abs=2 * FRAME_TIME)


def test_codel_holds_the_wait_of_a_flow_that_reacts_to_nothing_below_that_of_a_full_queue() -> None:
    tail, codel = Bottleneck(queue="1000p"), Bottleneck(aqm="codel", queue="1000p")
    for link in (tail, codel):
        link.send(8_000, gap=FRAME_TIME * 9 // 10)
    assert max(codel.waits()[-500:]) < max(tail.waits()[-500:]) / 2


def test_codel_marks_instead_of_dropping_what_may_be_marked() -> None:
    link = Bottleneck(aqm="codel", queue="1000p", ecn=True)
    link.send(2_000, gap=FRAME_TIME * 9 // 10, ecn=True)
    arrived = link.finish()
    assert len(arrived) == 2_000
    assert link.model.counters().marked == sum(found.marked for found in arrived) > 5


def test_codel_drops_what_may_not_be_marked() -> None:
    link = Bottleneck(aqm="codel", queue="1000p", ecn=True)
    link.send(2_000, gap=FRAME_TIME * 9 // 10)
    assert link.model.counters().marked == 0
    assert len(link.finish()) < 2_000


def test_fq_codel_lets_a_sparse_flow_pass_a_fat_one() -> None:
    """RFC 8290 §1: a flow that sends less than its share does not wait behind the others."""
    link = Bottleneck(aqm="fq_codel", queue="1000p")
    for place in range(1_000):
        link.send(1, gap=0, start=place * FRAME_TIME // 2, flow="fat")
        if place % 50 == 0:
            link.send(1, gap=0, start=place * FRAME_TIME // 2, flow="sparse", size=200)
    numbers = {number for number in link.sent if number % 51 == 1}
    waits = {int(str(found.item)): found.at - link.sent[int(str(found.item))] for found in link.finish()}
    assert max(waits[number] for number in numbers) < 3 * FRAME_TIME
    assert max(waits.values()) > 50 * MILLISECOND


def test_fq_codel_shares_equally() -> None:
    link = Bottleneck(aqm="fq_codel", queue="400p")
    for place in range(4_000):
        # One sends three times as much as the other, and both too much.
        link.send(1, gap=0, start=place * FRAME_TIME // 4, flow="greedy" if place % 4 else "fair")
    first = link.finish()[500:1_000]
    greedy = sum(int(str(found.item)) % 4 != 0 for found in first)
    assert greedy == pytest.approx(250, abs=15)


def test_fq_codel_drops_from_the_fattest_flow_when_it_is_full() -> None:
    link = Bottleneck(aqm="fq_codel", queue="50p")
    link.send(10, gap=0, flow="thin")
    link.send(200, gap=0, flow="fat")
    arrived = {int(str(found.item)) for found in link.finish()}
    assert set(range(10)) <= arrived
    assert len(arrived) < 60


def test_red_marks_within_its_thresholds_as_the_paper_says() -> None:
    """Between the thresholds the gaps between marks are uniform up to one over the chance."""
    thresholds = RedThresholds(200_000)
    assert thresholds.upper == pytest.approx(3 * thresholds.lower, rel=0.001)
    link = Bottleneck(aqm="red", queue="200kB", ecn=True)
    # A queue of 30 packets, kept: so the average is that.
    link.send(30, gap=0, ecn=True)
    link.send(20_000, gap=FRAME_TIME, start=FRAME_TIME, ecn=True)
    # One leaves before the next is looked at.
    average = 29 * FULL
    chance = MAX_PROBABILITY * (average - thresholds.lower) / (thresholds.upper - thresholds.lower)
    assert thresholds.lower < average < thresholds.upper
    assert link.model.counters().overflowed == 0
    assert link.model.counters().marked == pytest.approx(20_000 / (0.5 / chance + 0.5), rel=0.05)


def test_red_drops_all_above_the_upper_threshold() -> None:
    link = Bottleneck(aqm="red", queue="200kB")
    link.send(4_000, gap=FRAME_TIME // 3)
    assert max(link.waits()) < 200_000 / FULL * FRAME_TIME / 2


def test_pie_holds_its_target_for_a_load_a_little_too_high() -> None:
    """RFC 8033 §4.2: it settles at the target of 15 ms, where drop-tail fills all of the queue."""
    link = Bottleneck(aqm="pie", queue="1000p")
    link.send(20_000, gap=FRAME_TIME * 9 // 10)
    waits = link.waits()[-6_000:]
    assert sum(waits) / len(waits) == pytest.approx(15 * MILLISECOND, rel=0.25)
    counters = link.model.counters()
    assert counters.overflowed / counters.sent == pytest.approx(0.1, rel=0.2)


def test_pie_lets_a_first_burst_through() -> None:
    """RFC 8033 §4.4: nothing is dropped in the first 150 ms."""
    link = Bottleneck(aqm="pie", queue="1000p")
    link.send(100, gap=FRAME_TIME // 2)
    assert len(link.finish()) == 100


def test_pie_marks_only_while_drops_would_be_rare() -> None:
    """RFC 8033 §5.1: above 10 % it drops."""
    calm, flood = (Bottleneck(aqm="pie", queue="1000p", ecn=True) for _ in range(2))
    # Who does not react to marks makes the queue grow on, until they no longer do.
    calm.send(3_000, gap=FRAME_TIME * 99 // 100, ecn=True)
    flood.send(5_000, gap=FRAME_TIME // 2, ecn=True)
    assert calm.model.counters().marked > 5
    assert calm.model.counters().overflowed == 0
    assert flood.model.counters().overflowed > 500


def test_a_threshold_marks_exactly_what_waited_for_longer() -> None:
    link = Bottleneck(ecn=True, ce_threshold="5ms", queue="50p")
    link.send(40, gap=0, ecn=True)
    # The n-th of a burst waits for n frames.
    marked = [int(str(found.item)) for found in link.finish() if found.marked]
    assert marked == [number for number in range(40) if number * FRAME_TIME > 5 * MILLISECOND]


def test_without_a_threshold_half_a_full_queue_marks() -> None:
    link = Bottleneck(ecn=True, queue="20p")
    link.send(20, gap=0, ecn=True)
    marked = [int(str(found.item)) for found in link.finish() if found.marked]
    assert marked == list(range(11, 20))


def test_a_full_queue_drops_what_may_be_marked_too() -> None:
    link = Bottleneck(ecn=True, queue="20p")
    link.send(25, gap=0, ecn=True)
    assert len(link.finish()) == 20
    assert link.model.counters().overflowed == 5


def test_a_queue_of_bytes_counts_bytes() -> None:
    link = Bottleneck(queue="10kB")
    link.send(100, gap=0, size=100)
    link.send(1, gap=0, size=99)
    link.send(1, gap=0, size=FULL)
    assert len(link.finish()) == 100
    big = Bottleneck(queue="10kB")
    big.send(100, gap=0, size=FULL)
    assert len(big.finish()) == 10_000 // FULL


def test_a_queue_of_a_product_is_that_many_full_packets() -> None:
    """1.5 × 10 Mbit/s × 2 × 20 ms = 75 kB, rounded up to whole packets."""
    asked = Impairments.parse({"rate": "10Mbit", "delay": "20ms", "queue": "1.5bdp"})
    assert asked.queue == -(-75_000 // FULL)
    link = Bottleneck(delay="20ms", queue="1.5bdp")
    link.send(200, gap=0)
    assert len(link.finish()) == asked.queue


def test_another_queue_takes_over_what_waits() -> None:
    link = Bottleneck(aqm="codel", queue="100p")
    link.send(50, gap=0)
    link.model.replace(Impairments.parse({"rate": "20Mbit", "aqm": "fq_codel"}))
    link.send(10, gap=0, start=1)
    arrived = [int(str(found.item)) for found in link.finish()]
    assert arrived == list(range(60))
    # The first is being served at the old rate.
    assert link.finish()[-1].at == FRAME_TIME + 59 * FRAME_TIME // 2


def test_what_waits_is_not_overtaken_when_the_queue_is_taken_away() -> None:
    link = Bottleneck(aqm="codel")
    link.send(20, gap=0)
    link.model.replace(Impairments())
    link.send(1, gap=0, start=1)
    assert [int(str(found.item)) for found in link.finish()] == list(range(21))


def test_who_wants_to_know_is_told_of_each_drop() -> None:
    link = Bottleneck(aqm="codel", queue="10p")
    dropped: list[object] = []
    link.model.on_dropped(dropped.append)
    link.send(15, gap=0)
    arrived = {found.item for found in link.finish()}
    assert set(dropped) | arrived == set(range(15))
    assert len(dropped) == 5
