"""What netem can do beside delay, loss and rate, in the model; `tests/parity` compares it with kernels."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from random import Random

import pytest

from node.links.fates import GivenCopy
from node.links.impairments.chance import DISTRIBUTIONS, TABLE_SCALE, table_of
from node.links.impairments.drop import Drop
from node.links.model import Delivery, LinkModel
from node.links.settings import NONE, Impairments, ImpairmentsError
from node.protocol.time import MILLISECOND
from tests.support.intervals import binomial_interval

PACKETS = 40_000


def model(seed: int = 1, /, **words: object) -> LinkModel:
    given = {name.replace("_", "-"): value for name, value in words.items()}
    return LinkModel(Impairments.parse(given), Random(seed))


def lost(link: LinkModel, packets: int = PACKETS) -> list[bool]:
    return [not link.enqueue(1000, number * MILLISECOND) for number in range(packets)]


def runs(losses: list[bool]) -> list[int]:
    return [len(list(group)) for gone, group in itertools.groupby(losses) if gone]


@pytest.mark.parametrize(("loss", "burst"), [(0.01, 3), (0.05, 1.5), (0.2, 10)])
def test_bursts_have_the_mean_loss_and_the_mean_length_that_were_asked(loss: float, burst: float) -> None:
    found = lost(model(loss=f"{loss * 100}%", burst=f"{burst}p"))
    lengths = runs(found)
    # A burst's length is geometric: its deviation is its mean, nearly; bursts are independent.
    assert statistics.mean(lengths) == pytest.approx(burst, abs=4 * burst / len(lengths) ** 0.5)
    assert sum(found) / PACKETS == pytest.approx(loss, rel=4 * (2 / len(lengths)) ** 0.5)


def test_gilbert_elliott_loses_by_its_stationary_state() -> None:
    """Bad a quarter of the time, where 80 % are lost; 1 % of the rest."""
    found = lost(model(gemodel="10% 30% 80% 1%"))
    assert sum(found) / PACKETS == pytest.approx(0.25 * 0.8 + 0.75 * 0.01, rel=0.05)


def test_two_parameters_are_gilberts_model() -> None:
    assert Impairments.parse({"gemodel": "1% 25%"}) == Impairments.parse({"gemodel": "1% 25% 100% 0%"})


def test_four_states_lose_alone_and_in_bursts() -> None:
    """With p14 alone every loss is alone; with p13 and p31 alone they come in bursts of 1/p31."""
    assert set(runs(lost(model(loss_state="0% 100% 0% 0% 5%")))) == {1}
    lengths = runs(lost(model(loss_state="1% 25% 0% 0% 0%")))
    assert statistics.mean(lengths) == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name != "uniform"])
def test_tables_are_those_of_iproute2(name: str) -> None:
    """Where iproute2 is installed its files are read, tails aside; everywhere the moments are checked."""
    table = table_of(name)
    assert list(table) == sorted(table)
    assert abs(statistics.mean(table)) < 0.04 * TABLE_SCALE
    assert statistics.pstdev(table) == pytest.approx(TABLE_SCALE, rel=0.2)
    for directory in (Path("/usr/lib/x86_64-linux-gnu/tc"), Path("/usr/lib/tc"), Path("/usr/share/tc")):
        file = directory / f"{name}.dist"
        if file.is_file():
            lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
            theirs = [int(word) for line in lines for word in line.split()]
            assert max(abs(a - b) for a, b in zip(table[8:-8], theirs[8:-8], strict=True)) < 300


@pytest.mark.parametrize(
    ("distribution", "deviation"), [("normal", 1.0), ("pareto", 0.82), ("paretonormal", 0.834)]
)
def test_jitter_is_the_deviation_of_its_distribution(distribution: str, deviation: float) -> None:
    link = model(delay="200ms", jitter="10ms", distribution=distribution)
    delays = [link.enqueue(1000, n * 300 * MILLISECOND)[0].at - n * 300 * MILLISECOND for n in range(PACKETS)]
    assert statistics.pstdev(delays) == pytest.approx(deviation * 10 * MILLISECOND, rel=0.03)
    assert statistics.mean(delays) == pytest.approx(200 * MILLISECOND, abs=0.5 * MILLISECOND)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_order_is_kept_whatever_the_distribution(distribution: str) -> None:
    link = model(delay="20ms", jitter="10ms", distribution=distribution)
    instants = [link.enqueue(1000, number * 1000)[0].at for number in range(5_000)]
    assert instants == sorted(instants)


def test_a_gap_with_certainty_lets_exactly_each_such_packet_overtake() -> None:
    link = model(delay="20ms", reorder="100%", gap="5p")
    early = [link.enqueue(1000, number)[0].at == number for number in range(1, 51)]
    assert [place for place, is_early in enumerate(early, 1) if is_early] == list(range(5, 51, 5))


def test_slots_gather_packets() -> None:
    """One waits 2 ms for its slot; those that come until then go with it, three at a time."""
    link = model(slot="2ms 2ms 3p")
    out = [link.enqueue(1000, number * MILLISECOND // 4)[0].at for number in range(5)]
    assert out == [2 * MILLISECOND] * 3 + [4 * MILLISECOND] * 2
    bytes_ = model(slot="2ms 2ms 2kB")
    assert [bytes_.enqueue(1000, 1)[0].at for _ in range(4)] == [2_000_001, 2_000_001, 4_000_001, 4_000_001]


def test_exactly_the_listed_packets_are_lost() -> None:
    link = model(drop="2-4, 7, 9-9")
    assert [number for number, gone in enumerate(lost(link, 12), 1) if gone] == [2, 3, 4, 7, 9]
    # Numbers count from the start of the run.
    link.begin(now=0)
    assert [number for number, gone in enumerate(lost(link, 12), 1) if gone] == [2, 3, 4, 7, 9]
    assert link.counters().lost == 10


def test_a_list_of_drops_draws_nothing() -> None:
    """The other packets have the fates they would have without it."""
    plain = lost(model(loss="20%"), 200)
    listed = lost(model(loss="20%", drop="1-3"), 200)
    assert listed[:3] == [True] * 3
    assert listed[3:] == plain[:-3]


def test_drop_lists_are_kept_in_order_and_merged() -> None:
    assert Drop.parse("9, 2-4, 5,3").format() == "2-5, 9"


def test_fates_from_outside_go_before_the_impairments() -> None:
    """What a recording of a link would give: lost, twice, damaged and marked, by number."""
    given = {
        1: (),
        2: (GivenCopy(5), GivenCopy(9, corrupt_bit=3)),
        3: (GivenCopy(12, marked=True),),
    }
    link = LinkModel(Impairments.parse({"delay": "1ms"}), Random(1), fates=given.get)
    out = [list(link.enqueue(1000, 100, item="x")) for _ in range(4)]
    assert out == [
        [],
        [Delivery(105, None, False, "x"), Delivery(109, 3, False, "x")],
        [Delivery(112, None, True, "x")],
        [Delivery(1_000_100, None, False, "x")],
    ]
    counters = link.counters()
    assert (counters.lost, counters.duplicated, counters.corrupted, counters.marked) == (1, 1, 1, 1)


def test_a_seed_makes_chance_its_own() -> None:
    words = {"loss": "30%", "seed": 7}
    assert lost(model(1, **words), 500) == lost(model(2, **words), 500)
    assert lost(model(1, **words), 500) != lost(model(1, loss="30%"), 500)
    assert lost(model(1, **words), 500) != lost(model(1, loss="30%", seed=8), 500)


def test_losses_are_marks_for_those_that_may_be_marked() -> None:
    link = model(loss="10%", ecn=True)
    out = [link.enqueue(1000, number, ecn_capable=number % 2 == 0) for number in range(PACKETS)]
    low, high = binomial_interval(PACKETS // 2, 0.1, confidence=0.999)
    assert all(out[::2])
    assert low <= sum(found[0].marked for found in out[::2]) <= high
    assert low <= sum(not found for found in out[1::2]) <= high
    assert not any(copy.marked for found in out[1::2] for copy in found)


@pytest.mark.parametrize(
    ("words", "key", "advice"),
    [
        ({"loss-correlation": "25%"}, "loss-correlation", "burst: 3p"),
        ({"burst": "3p"}, "burst", "add loss:"),
        ({"loss": "80%", "burst": "2p"}, "burst", "at most 66.67%"),
        ({"loss": "1%", "gemodel": "1% 20%"}, "gemodel", "take one of them out"),
        ({"loss-state": "1% 2% 3% 4% 5%", "gemodel": "1% 20%"}, "gemodel", "take one of them out"),
        ({"aqm": "codel"}, "aqm", "add rate:"),
        ({"rate": "1Mbit", "ce-threshold": "1ms"}, "ce-threshold", "add ecn: true"),
        ({"rate": "1Mbit", "ce-threshold": "1ms", "ecn": True, "aqm": "pie"}, "ce-threshold", "take one"),
        ({"rate": "1Mbit", "queue": "2bdp"}, "queue", "add delay:"),
        ({"rate": "1Mbit", "queue": "20kB", "aqm": "codel"}, "queue", "100p"),
        ({"rate": "1Mbit", "queue": "20kB", "ecn": True}, "queue", "100p"),
        ({"gap": "5p"}, "gap", "add reorder:"),
        ({"distribution": "normal"}, "distribution", "add jitter:"),
        ({"delay": "5ms", "delay-correlation": "5%"}, "delay-correlation", "add jitter:"),
        ({"slot": "1ms", "delay": "5ms", "reorder": "5%"}, "slot", "take one of them out"),
        ({"delay": "5ms", "ecn": True}, "ecn", "add loss: or rate:"),
        ({"drop": "5-2"}, "drop", "small to large"),
        ({"drop": "0"}, "drop", "count from 1"),
        ({"slot": "2ms 1ms"}, "slot", "short to long"),
        ({"gemodel": "1%"}, "gemodel", "2 to 4"),
        ({"loss-state": "60% 1% 1% 1% 50%"}, "loss-state", "p13 + p14"),
        ({"seed": "1.5"}, "seed", "whole number"),
        ({"rate": "1Mbit", "queue": "x2bdp"}, "queue", "1.5bdp"),
        ({"delay": "5ms", "jitter": "1ms", "distribution": "gauss"}, "distribution", "paretonormal"),
    ],
)
def test_contradictions_are_told_with_advice(words: dict[str, object], key: str, advice: str) -> None:
    with pytest.raises(ImpairmentsError) as caught:
        Impairments.parse(words)
    assert list(caught.value.problems) == [key]
    assert advice in caught.value.problems[key]


def test_a_link_that_marks_nothing_stays_a_link_that_does_nothing() -> None:
    assert Impairments.parse({"ecn": False}) == NONE
