"""Confidence intervals are those of the books, and cover as often as they say."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.measure.intervals import (
    deviation_interval,
    mean_interval,
    median_interval,
    share_interval,
    student,
)


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (100, 1.984)]
)
def test_quantiles_of_student(freedom: int, quantile: float) -> None:
    assert student(freedom, 0.95) == pytest.approx(quantile, abs=0.001)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(1, 10, 0.0025, 0.4450), (0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (50, 100, 0.3983, 0.6017)],
)
def test_exact_interval_of_a_share(hits: int, count: int, low: float, high: float) -> None:
    assert share_interval(hits, count, confidence=0.95) == pytest.approx((low, high), abs=0.0001)


def test_nothing_counted_says_nothing() -> None:
    assert share_interval(0, 0, confidence=0.99) == (0.0, 1.0)


def test_interval_of_a_mean() -> None:
    low, high = mean_interval([4.0, 5.0, 6.0], confidence=0.95)
    assert (low, high) == pytest.approx((5 - 4.303 / 3**0.5, 5 + 4.303 / 3**0.5), abs=0.001)
    assert mean_interval([7.0], confidence=0.95) == (7.0, 7.0)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng, covered = Random(1), [0, 0, 0]
    for _ in range(300):
        values = [rng.uniform(-1, 1) for _ in range(60)]
        found = (
            (mean_interval(values, confidence=0.9), 0.0),
            (median_interval(values, confidence=0.9), 0.0),
            (deviation_interval(values, confidence=0.9), 3**-0.5),
        )
        for number, ((low, high), true) in enumerate(found):
            covered[number] += low <= true <= high
    # 270 of 300, give or take four deviations of 5.2; the median's steps make it a little wider.
    assert all(249 <= count <= 295 for count in covered), covered
