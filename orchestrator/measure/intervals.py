"""Confidence intervals: of shares (Clopper and Pearson 1934), of means (Student 1908), of medians."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

#: Halvings of an interval: beyond what a float tells apart.
_STEPS = 60


def share_interval(hits: int, count: int, *, confidence: float) -> tuple[float, float]:
    """Return the binomial interval of a share, exact (Clopper–Pearson); (0, 1) for nothing counted."""
    if not count:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    # The share at which so many hits, or more, are as rare as the tail; and so many, or fewer.
    low = 0.0 if not hits else _solve(lambda p: 1 - _at_most(hits - 1, count, p), tail)
    high = 1.0 if hits == count else _solve(lambda p: 1 - _at_most(hits, count, p), 1 - tail)
    return low, high


def mean_interval(values: Sequence[float], *, confidence: float) -> tuple[float, float]:
    """Return the interval of a mean by Student's t; of one value, that value twice."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, mean
    half = student(len(values) - 1, confidence) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def median_interval(values: Sequence[float], *, confidence: float) -> tuple[float, float]:
    """Return the interval of a median by order statistics, which no single wild value moves."""
    ordered = sorted(values)
    half = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(len(ordered)) / 2
    low = max(0, math.floor(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + half))
    return ordered[low], ordered[high]


def deviation_interval(values: Sequence[float], *, confidence: float) -> tuple[float, float]:
    """Return the interval of a standard deviation, by the fourth moment: right for uniform values too."""
    count = len(values)
    if count < 4:
        return 0.0, math.inf
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    if not deviation:
        return 0.0, 0.0
    kurtosis = statistics.fmean(((value - mean) / deviation) ** 4 for value in values)
    # Var(s²) ≈ (κ - (n-3)/(n-1)) σ⁴ / n; half of its relative size is that of s.
    spread = math.sqrt(max(0.0, kurtosis - (count - 3) / (count - 1)) / count) / 2
    half = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * spread * deviation
    return max(0.0, deviation - half), deviation + half


def student(freedom: int, confidence: float) -> float:
    """Return the quantile of Student's t for a two-sided interval.

    Args:
        freedom: degrees of freedom, at least 1.
        confidence: 0.95 for the usual interval.
    """
    wanted = (1 + confidence) / 2
    low, high = 0.0, 1e6
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _student_below(middle, freedom) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _student_below(t: float, freedom: int) -> float:
    """Return P(T < t) for t ≥ 0 (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    theta = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(theta), math.sin(theta)
    if freedom == 1:
        return 0.5 + theta / math.pi
    term, total = (1.0, 1.0) if freedom % 2 == 0 else (cosine, cosine)
    for step in range(2 if freedom % 2 == 0 else 3, freedom - 1, 2):
        term *= (step - 1) / step * cosine**2
        total += term
    if freedom % 2 == 0:
        return 0.5 + sine * total / 2
    return 0.5 + (theta + sine * total) / math.pi


def _at_most(hits: int, count: int, share: float) -> float:
    """Return P(X ≤ hits) of a binomial."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return float(hits >= count)
    log_share, log_rest = math.log(share), math.log1p(-share)
    total = math.lgamma(count + 1)
    return math.fsum(
        math.exp(
            total - math.lgamma(k + 1) - math.lgamma(count - k + 1) + k * log_share + (count - k) * log_rest
        )
        for k in range(hits + 1)
    )


def _solve(rising: Callable[[float], float], wanted: float) -> float:
    """Return where a function that rises over shares reaches a value."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
