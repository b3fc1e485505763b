"""Rates and delays that change over time."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from node.links.model import LinkModel
from node.links.settings import Impairments, ImpairmentsError
from node.links.traces import format_trace, parse_trace, read_trace
from node.links.units import UnitError
from node.protocol.time import MILLISECOND, SECOND
from orchestrator.topology.trace_files import with_trace

FULL = 1_514


def arrivals(link: LinkModel, count: int, *, gap: int, size: int = FULL, start: int = 0) -> list[int]:
    out = []
    for number in range(count):
        now = start + number * gap
        out += link.advance(now=now)
        out += link.enqueue(size, now)
    out += link.advance(now=start + 10_000 * SECOND)
    return sorted(found.at for found in out)


def model(**words: object) -> LinkModel:
    return LinkModel(Impairments.parse(words), Random(1))


def test_the_rate_steps_for_those_that_wait() -> None:
    """1000 bytes take 1 ms at 8 Mbit/s and 2 ms at 4: those in the queue at 10 ms go at the new rate."""
    link = model(trace="steps 0s 8Mbit; 10ms 4Mbit", queue="100p")
    link.begin(now=0)
    found = arrivals(link, 20, gap=0, size=1000)
    assert found == [n * MILLISECOND for n in range(1, 11)] + [
        (10 + 2 * n) * MILLISECOND for n in range(1, 11)
    ]


def test_the_packet_in_service_keeps_its_rate() -> None:
    link = model(rate="8Mbit", trace="steps 500us 1Mbit")
    assert arrivals(link, 2, gap=0, size=1000) == [MILLISECOND, 9 * MILLISECOND]


def test_the_delay_steps_and_order_is_kept() -> None:
    link = model(delay="50ms", trace="steps 10ms 5ms; 100ms 80ms")
    out = [link.enqueue(100, now * MILLISECOND)[0].at // MILLISECOND for now in (0, 9, 10, 60, 99, 100)]
    assert out == [50, 59, 59, 65, 104, 180]


def test_a_trace_begins_with_the_run() -> None:
    link = model(trace="steps 0s 8Mbit; 1s 800kbit")
    assert arrivals(link, 1, gap=0, size=1000, start=5 * SECOND) == [5 * SECOND + MILLISECOND]
    link.begin(now=20_000 * SECOND)
    start = 20_000 * SECOND + SECOND // 2
    assert arrivals(link, 1, gap=0, size=1000, start=start) == [start + MILLISECOND]
    late = start + SECOND
    assert arrivals(link, 1, gap=0, size=1000, start=late) == [late + 10 * MILLISECOND]


def test_mahimahis_opportunities_are_taken_and_lost() -> None:
    """Frames go at 1, 1, 5 and 10 ms of each 10 ms; who comes between takes the next one."""
    link = model(trace="mahimahi 1x2 5 10", queue="100p")
    link.begin(now=0)
    found = [at / MILLISECOND for at in arrivals(link, 6, gap=0)]
    assert found == [1, 1, 5, 10, 11, 11]
    idle = model(trace="mahimahi 1x2 5 10")
    idle.begin(now=0)
    assert [at / MILLISECOND for at in arrivals(idle, 2, gap=6 * MILLISECOND, start=2 * MILLISECOND)] == [
        5,
        10,
    ]


def test_small_packets_share_an_opportunity_and_large_ones_take_several() -> None:
    link = model(trace="mahimahi 1 2 3 4 5", queue="100p")
    link.begin(now=0)
    assert arrivals(link, 4, gap=0, size=FULL // 2) == [MILLISECOND] * 2 + [2 * MILLISECOND] * 2
    jumbo = model(trace="mahimahi 1 2 3 4 5")
    jumbo.begin(now=0)
    assert arrivals(jumbo, 1, gap=0, size=2 * FULL) == [2 * MILLISECOND]


def test_mahimahis_rate_holds_over_many_rounds() -> None:
    """Twelve frames in ten ms."""
    text = "\n".join(str(1 + n * 9 // 11) for n in range(12)) + "\n"
    trace = format_trace(read_trace(text))
    link = LinkModel(Impairments.parse({"trace": trace, "queue": "10000p"}), Random(1))
    link.begin(now=0)
    found = arrivals(link, 6_000, gap=0)
    assert found[-1] == 5 * SECOND


def test_a_long_idle_time_is_skipped_at_once() -> None:
    link = model(trace="mahimahi 1 3")
    link.begin(now=0)
    start = 5_000 * SECOND + 2 * MILLISECOND
    assert arrivals(link, 1, gap=0, start=start)[0] - start <= 3 * MILLISECOND


@pytest.mark.parametrize("text", ["0s 10Mbit\n5s 1Mbit 40ms # slow\n\n7500ms 3ms\n", "1\n1\n5\n9\n", "3\n"])
def test_files_and_settings_say_the_same(text: str) -> None:
    trace = read_trace(text)
    assert parse_trace(format_trace(trace)) == trace
    asked = Impairments.parse(
        {"trace": format_trace(trace), "rate": "1Mbit"} if "s" in text else {"trace": format_trace(trace)}
    )
    assert Impairments.parse(asked.to_mapping()) == asked


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("5s\n", "line 1"),
        ("0s 1Mbit\n1s fast\n", "line 2"),
        ("5s 1Mbit\n1s 2Mbit\n", "grow"),
        ("5\n3\n", "go back"),
        ("0\n0\n", "no length"),
        ("0s 0bit\n", "stop the link"),
    ],
)
def test_a_file_that_is_no_trace_is_explained(text: str, said: str) -> None:
    with pytest.raises(UnitError, match=said):
        read_trace(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"trace": "mahimahi 1 2", "rate": "1Mbit"}, "take rate"),
        ({"trace": "steps 1s 1Mbit"}, "step at 0s"),
        ({"trace": "some.trace"}, "is a file"),
        ({"trace": "steps 0s 1Mbit", "delay": "1ms", "reorder": "5%"}, "take reorder"),
    ],
)
def test_what_does_not_go_with_a_trace_is_told(words: dict[str, object], said: str) -> None:
    with pytest.raises(ImpairmentsError, match=said):
        Impairments.parse(words)


def test_files_are_read_where_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "lte.trace").write_text("1\n2\n2\n")
    (tmp_path / "broken.trace").write_text("0s 1Mbit\nx y\n")
    assert with_trace({"trace": "lte.trace", "delay": "1ms"}, tmp_path) == {
        "trace": "mahimahi 1 2x2",
        "delay": "1ms",
    }
    assert with_trace({"trace": "lte.trace"}, None) == {}
    for name, said in (("none.trace", "cannot be read"), ("broken.trace", "line 2")):
        with pytest.raises(ImpairmentsError, match=said):
            with_trace({"trace": name}, tmp_path)
