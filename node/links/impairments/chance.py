"""Chance as netem draws it: correlated numbers, events, tables of distributions. Not itself an impairment.

netem's ``get_crandom()`` returns ``value · (1 - ρ) + last · ρ``, with ``last`` what it returned before. That
is no longer uniform: values far from the middle become rare, so an event of 1 % with a correlation of 25 %
happens in less than 0.1 % of the packets. It is what the kernel does, so it is what the model does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from statistics import NormalDist
from typing import TypeAlias

from node.protocol.time import Duration

#: A draw: uniform in [0, 2³²) unless correlated.
Draw: TypeAlias = Callable[[Random], int]

#: netem's random numbers have 32 bits.
SCALE = 1 << 32
#: A distribution's table holds standard deviations times this (NETEM_DIST_SCALE).
TABLE_SCALE = 8192
TABLE_SIZE = 4096
_TABLE_LIMIT = 32_767
#: Shape of iproute2's Pareto distribution.
_PARETO_SHAPE = 3.0
DISTRIBUTIONS = ("uniform", "normal", "pareto", "paretonormal")


def draw(correlation: float) -> Draw:
    """Return what draws 32-bit numbers, each correlated with the one before (kernel: get_crandom)."""
    if not correlation:
        return _uniform
    rho = round(correlation * (SCALE - 1)) + 1
    last: list[int] = []

    def correlated(rng: Random) -> int:
        if not last:
            last.append(rng.getrandbits(32))
        last[0] = (rng.getrandbits(32) * (SCALE - rho) + last[0] * rho) >> 32
        return last[0]

    return correlated


def event(ratio: float, correlation: float) -> Callable[[Random], bool]:
    """Return what says whether something of probability ``ratio`` happens this time."""
    if not correlation:
        return lambda rng: rng.random() < ratio
    threshold, number = ratio * SCALE, draw(correlation)
    return lambda rng: number(rng) < threshold


def offset(jitter: Duration, distribution: str, correlation: float) -> Callable[[Random], Duration]:
    """Return what draws by how much a packet's delay differs from the mean, ns (kernel: tabledist)."""
    number = draw(correlation)
    if distribution == "uniform":
        if not correlation:
            return lambda rng: rng.randrange(2 * jitter) - jitter
        # The kernel takes the remainder of the correlated number, which leaves little of its correlation.
        return lambda rng: number(rng) % (2 * jitter) - jitter
    table = table_of(distribution)
    return lambda rng: jitter * table[number(rng) % TABLE_SIZE] // TABLE_SCALE


@cache
def table_of(distribution: str) -> tuple[int, ...]:
    """Return the table of a distribution: its quantiles in standard deviations times TABLE_SCALE.

    The same as iproute2's files, whose makers these formulas are from (netem/normal.c, pareto.c,
    paretonormal.c), up to some units in the tails.
    """
    places = range(TABLE_SIZE)
    match distribution:
        case "normal":
            quantile = NormalDist().inv_cdf
            return tuple(_scaled(quantile((place + 0.5) / TABLE_SIZE)) for place in places)
        case "pareto":
            return tuple(_scaled(_pareto(1 - place / TABLE_SIZE)) for place in places)
        case "paretonormal":
            pairs = zip(table_of("normal"), table_of("pareto"), strict=True)
            return tuple(round(0.25 * normal + 0.75 * pareto) for normal, pareto in pairs)
    raise ValueError(f"no table of {distribution!r}")


def _pareto(above: float) -> float:
    # Mean 1.5 of a Pareto distribution of shape 3 taken off, standard deviation √3/2 nearly made one.
    return float((above ** (-1 / _PARETO_SHAPE) - 1.5) * 4 / 3)


def _scaled(deviations: float) -> int:
    return max(-_TABLE_LIMIT - 1, min(_TABLE_LIMIT, round(deviations * TABLE_SCALE)))


def _uniform(rng: Random) -> int:
    return rng.getrandbits(32)
