"""Measures all directions of the links of a lab: what is sent, twice where the first answer is a bad one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.measure.asked import Asked
from orchestrator.measure.figures import path_figures, rate_figures
from orchestrator.measure.judging import (
    FASTEST,
    MILLISECOND,
    OUTSIDE,
    SECOND,
    Comparison,
    judge_burst,
    judge_path,
    judge_rate,
)
from orchestrator.measure.streams import Observed, Prober, Stream

#: A sparse stream's frames are small, so that they queue nowhere.
PATH_BYTES = 100
#: Frames of a train at least and at most, and how long it takes to pass the bottleneck.
TRAIN_FEWEST, TRAIN_MOST, TRAIN_TIME = 40, 4_000, 100 * MILLISECOND
FASTER, LEAST_INTERVAL = 1.5, MILLISECOND // 10
#: Trains that cross at the same time, bits a second together: what one process can send and read.
TOGETHER = 400_000_000
#: A train tells the rate only if it is so much longer than the delays are apart.
LONGER_THAN_JITTER = 10


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is sent."""

    #: Frames of a sparse stream at most and at least, and how long it may take if they are that few.
    most: int
    fewest: int
    time: int
    #: Waited for frames beyond what the links' delays explain.
    patience: int


#: A second or so.
SHORT = Effort(most=300, fewest=40, time=800 * MILLISECOND, patience=250 * MILLISECOND)
#: For strict runs: losses of 1 % are told from none.
LONG = Effort(most=1_500, fewest=100, time=3 * SECOND, patience=500 * MILLISECOND)
#: Virtual time costs nothing but the packets.
VIRTUAL = Effort(most=1_500, fewest=1_500, time=0, patience=SECOND)


async def measure_links(
    prober: Prober, asked: Mapping[str, Asked], effort: Effort
) -> dict[str, tuple[Comparison, ...]]:
    """Return the comparisons of each direction, by the end that sends.

    What is outside its target is measured once more, and told only if it is outside again: of hundreds of
    quantities some are outside by chance.

    Raises:
        TestbedError: the prober cannot send or receive.
    """
    found = await _once(prober, asked, effort)
    doubted = {end: asked[end] for end, rows in found.items() if any(row.verdict == OUTSIDE for row in rows)}
    if doubted:
        again = await _once(prober, doubted, effort)
        for end, rows in again.items():
            found[end] = tuple(_agreed(first, rows) for first in found[end])
    return found


async def _once(
    prober: Prober, asked: Mapping[str, Asked], effort: Effort
) -> dict[str, tuple[Comparison, ...]]:
    streams = {end: path_stream(wanted, effort) for end, wanted in asked.items()}
    sparse = await prober.send(streams, linger=_linger(asked, effort))
    bursts = await prober.burst(list(asked))
    rows: dict[str, list[Comparison]] = {}
    for end, wanted in asked.items():
        size = streams[end].size
        rows[end] = list(judge_path(wanted, path_figures(sparse[end]), size=size, exact=prober.exact))
        if end in bursts:
            rows[end].append(judge_burst(bursts[end]))
    for end, train in (await _trains(prober, asked, effort)).items():
        rows[end] += judge_rate(_train_told(asked[end], train), rate_figures(train), exact=prober.exact)
    return {end: tuple(found) for end, found in rows.items()}


def path_stream(asked: Asked, effort: Effort) -> Stream:
    """Return the sparse stream for a direction: so sparse that no frame waits for another."""
    serialised = PATH_BYTES * 8 * SECOND // asked.rate if asked.rate else 0
    apart = max(MILLISECOND, 2 * asked.spread, 3 * serialised)
    count = min(effort.most, max(effort.fewest, effort.time // apart))
    # What is left of the time makes the frames no denser than they must be.
    return Stream(count=count, size=PATH_BYTES, interval=max(apart, effort.time // count))


async def _trains(prober: Prober, asked: Mapping[str, Asked], effort: Effort) -> dict[str, Observed]:
    wanted = {
        end: direction
        for end, direction in asked.items()
        if direction.rate and (prober.exact or direction.rate <= FASTEST)
    }
    found: dict[str, Observed] = {}
    batch: dict[str, Asked] = {}
    load = 0
    for end, direction in [*wanted.items(), ("", Asked())]:
        if batch and (not end or load + (direction.rate or 0) > TOGETHER):
            streams = {name: train_stream(one) for name, one in batch.items()}
            found |= await prober.send(streams, linger=_linger(batch, effort) + TRAIN_TIME)
            batch, load = {}, 0
        if end:
            batch[end] = direction
            load += direction.rate or 0
    return found


def train_stream(asked: Asked) -> Stream:
    """Return the train for a direction with a rate."""
    assert asked.rate, "a train is for a direction with a rate"
    size = asked.mtu + 14
    time = max(TRAIN_TIME, 2 * LONGER_THAN_JITTER * asked.spread)
    # Half as fast again as the bottleneck: a short queue then stays full as long as the train lasts, where
    # frames all at once would fill it and be lost. Where no process can keep such a pace, all at once it is.
    interval = int(8 * size * SECOND / (FASTER * asked.rate))
    faster = FASTER if interval >= LEAST_INTERVAL else 1
    count = int(faster * asked.rate * time / (8 * size * SECOND))
    count = max(TRAIN_FEWEST, min(TRAIN_MOST, count))
    return Stream(count, size, interval if interval >= LEAST_INTERVAL else 0)


def _train_told(asked: Asked, train: Observed) -> Asked:
    """Add why a train does not tell the rate, if the delays are too far apart for it."""
    lasted = 8 * train.stream.size * train.stream.count * SECOND // (asked.rate or 1)
    if lasted >= LONGER_THAN_JITTER * asked.spread:
        return asked
    why = ("rate", "delays are further apart than a train is long")
    return replace(asked, unjudged=(*asked.unjudged, why))


def _linger(asked: Mapping[str, Asked], effort: Effort) -> int:
    slowest = max((direction.delay + 2 * direction.spread for direction in asked.values()), default=0)
    rates = [direction.rate for direction in asked.values() if direction.rate]
    last = TRAIN_FEWEST * 1514 * 8 * SECOND // min(rates) if rates else 0
    return effort.patience + 2 * slowest + min(last, 2 * SECOND)


def _agreed(first: Comparison, again: tuple[Comparison, ...]) -> Comparison:
    """Return the second answer where the first one was a bad one."""
    if first.verdict != OUTSIDE:
        return first
    second = next((row for row in again if row.quantity == first.quantity), None)
    return first if second is None else second
