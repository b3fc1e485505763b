"""Intervals in which a fair draw stays."""

from __future__ import annotations

import math
from statistics import NormalDist


def binomial_interval(draws: int, probability: float, *, confidence: float) -> tuple[int, int]:
    """Return the numbers of successes between which a binomial count stays with this confidence.

    The normal approximation, one wider on each side: for the thousands of draws here they are the same.
    """
    deviation = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(
        draws * probability * (1 - probability)
    )
    mean = draws * probability
    return max(0, math.floor(mean - deviation) - 1), min(draws, math.ceil(mean + deviation) + 1)
