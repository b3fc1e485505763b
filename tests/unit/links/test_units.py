"""Quantities: what is read, what is refused with advice, and that printing is reading backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.links import units


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("20ms", 20_000_000),
        ("1.5s", 1_500_000_000),
        ("300us", 300_000),
        ("300µs", 300_000),
        ("7ns", 7),
        ("0ms", 0),
        ("2min", 120 * 10**9),
        (" 20 ms ", 20_000_000),
        ("0.1us", 100),
    ],
)
def test_durations_are_whole_nanoseconds(text: str, nanoseconds: int) -> None:
    assert units.parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("10Mbit", 10**7),
        ("10mbit", 10**7),
        ("512kbit", 512_000),
        ("1.5Gbit", 1_500_000_000),
        ("9Mbit/s", 9 * 10**6),
    ],
)
def test_rates_are_bits_per_second(text: str, bits: int) -> None:
    assert units.parse_rate(text) == bits


@pytest.mark.parametrize(
    ("text", "size"),
    [("20MB", 20 * 10**6), ("1kB", 1000), ("1KiB", 1024), ("1.5MiB", 1_572_864), ("64B", 64)],
)
def test_sizes_tell_powers_of_1000_from_powers_of_1024(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("parse", "text", "advice"),
    [
        (units.parse_duration, "20", "20ms"),
        (units.parse_duration, 20, "20ms"),
        (units.parse_duration, "5m", "5min"),
        (units.parse_duration, "-5ms", "5ms"),
        (units.parse_duration, "soon", "20ms"),
        (units.parse_duration, "1e3ms", "ns, us, ms, s"),
        (units.parse_duration, "20 Mbit", "ns, us, ms, s"),
        (units.parse_duration, True, "20ms"),
        (units.parse_duration, None, "20ms"),
        (units.parse_duration, "9" * 40 + "s", "20ms"),
        (units.parse_rate, "10mbps", "10Mbit"),
        (units.parse_rate, "10kbps", "10kbit"),
        (units.parse_rate, "10", "10Mbit"),
        (units.parse_rate, "10M", "Mbit"),
        (units.parse_ratio, "1", "1%"),
        (units.parse_ratio, 0.01, "0.01%"),
        (units.parse_ratio, "100.1%", "0% to 100%"),
        (units.parse_packets, "25", "25p"),
        (units.parse_packets, "2.5p", "2p"),
        (units.parse_size, "20M", "20MB"),
        (units.parse_size, "20Mb", "20MiB"),
        (units.parse_size, "20", "20MB"),
    ],
)
def test_what_is_unclear_is_refused_with_advice(
    parse: Callable[[object], object], text: object, advice: str
) -> None:
    with pytest.raises(units.UnitError) as caught:
        parse(text)
    assert advice in str(caught.value)


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_a_duration_survives_printing(duration: int) -> None:
    assert units.parse_duration(units.format_duration(duration)) == duration


@given(st.integers(min_value=0, max_value=10**14))
def test_a_rate_survives_printing(rate: int) -> None:
    assert units.parse_rate(units.format_rate(rate)) == rate


@given(st.integers(min_value=0, max_value=10**15 - 1))
def test_a_size_survives_printing(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size


@given(st.integers(min_value=0, max_value=10**9))
def test_packets_survive_printing(packets: int) -> None:
    assert units.parse_packets(units.format_packets(packets)) == packets


@given(st.decimals(min_value=0, max_value=100, places=9, allow_nan=False))
def test_a_percentage_survives_printing(percent: object) -> None:
    ratio = units.parse_ratio(f"{percent:f}%")
    assert units.parse_ratio(units.format_ratio(ratio)) == ratio


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (
        units.parse_duration,
        units.parse_rate,
        units.parse_ratio,
        units.parse_packets,
        units.parse_size,
    ):
        try:
            assert parse(text) >= 0
        except units.UnitError:
            pass
