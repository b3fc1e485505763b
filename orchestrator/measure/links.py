"""Measures all directions of the links of a lab: what is sent, twice where the first answer is a bad one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from node.measuring.streams import Observed, Stream
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
from orchestrator.measure.prober import Prober

#: A sparse stream's frames are small, so that they queue nowhere.
PATH_BYTES = 100
#: Frames of a train at least and at most.
TRAIN_FEWEST, TRAIN_MOST = 40, 4_000
FASTER, LEAST_INTERVAL = 1.5, MILLISECOND // 10
#: A train tells the rate only if it is so much longer than the delays are apart.
LONGER_THAN_JITTER = 10
#: Frames of sparse streams a second, together: each costs who sends and reads it some 30 µs, and who shapes
#: it in user space more. The 75,000 a second that 200 directions would have are more than two cores can do:
#: the measurement would delay what it measures.
FRAMES_A_SECOND = 5_000


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is sent."""

    #: Frames of a sparse stream at most and at least, and how long it may take if they are that few.
    most: int
    fewest: int
    time: int
    #: Waited for frames beyond what the links' delays explain.
    patience: int
    #: Frames of all sparse streams together, of which each has ``fewest`` all the same.
    together: int = 1 << 40


#: A second or so.
SHORT = Effort(most=300, fewest=40, time=800 * MILLISECOND, patience=250 * MILLISECOND, together=20_000)
#: For strict runs: losses of 1 % are told from none.
LONG = Effort(most=1_500, fewest=100, time=3 * SECOND, patience=500 * MILLISECOND, together=100_000)
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
    effort = effort if prober.exact else shared(effort, len(asked))
    asked = {end: _seen(wanted, prober.limits.unseen.get(end, {})) for end, wanted in asked.items()}
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


def shared(effort: Effort, directions: int) -> Effort:
    """Return what is sent over each of so many directions, so that all together can be sent and shaped."""
    most = min(effort.most, max(effort.fewest, effort.together // max(1, directions)))
    return replace(effort, most=most, time=max(effort.time, most * directions * SECOND // FRAMES_A_SECOND))


def path_stream(asked: Asked, effort: Effort) -> Stream:
    """Return the sparse stream for a direction: so sparse that no frame waits for another."""
    serialised = PATH_BYTES * 8 * SECOND // asked.rate if asked.rate else 0
    apart = max(MILLISECOND, 2 * asked.spread, 3 * serialised)
    count = min(effort.most, max(effort.fewest, effort.time // apart))
    # What is left of the time makes the frames no denser than they must be.
    return Stream(count=count, size=PATH_BYTES, interval=max(apart, effort.time // count))


def _seen(asked: Asked, unseen: Mapping[str, str]) -> Asked:
    return replace(asked, unjudged=(*asked.unjudged, *unseen.items()))


async def _trains(prober: Prober, asked: Mapping[str, Asked], effort: Effort) -> dict[str, Observed]:
    wanted = {
        end: direction
        for end, direction in asked.items()
        if direction.rate and (prober.exact or direction.rate <= FASTEST)
    }
    lasting = prober.limits.train_time
    trains = {end: train_stream(direction, lasting=lasting) for end, direction in wanted.items()}
    found: dict[str, Observed] = {}
    rates = {end: direction.rate or 0 for end, direction in wanted.items()}
    for batch in train_batches(trains, rates, together=prober.limits.together):
        linger = _linger({end: wanted[end] for end in batch}, effort) + lasting
        found |= await prober.send({end: trains[end] for end in batch}, linger=linger)
    return found


def train_batches(
    trains: Mapping[str, Stream], rates: Mapping[str, int], *, together: int
) -> list[list[str]]:
    """Return which trains cross at the same time: all of one manner of sending.

    Args:
        together: bits a second that cross at the same time at most, if it is more than one train.

    Those whose frames leave together come last: while one is sent, no other frame can be.
    """
    batches: list[list[str]] = []
    load, before = 0, None
    for end in sorted(trains, key=lambda end: trains[end].together > 1):
        grouped = trains[end].together > 1
        if grouped != before or load + rates[end] > together:
            batches.append([])
            load = 0
        batches[-1].append(end)
        load, before = load + rates[end], grouped
    return batches


def train_stream(asked: Asked, *, lasting: int) -> Stream:
    """Return the train for a direction with a rate; it is to take ``lasting`` ns to pass, or longer."""
    assert asked.rate, "a train is for a direction with a rate"
    size = asked.mtu + 14
    time = max(lasting, 2 * LONGER_THAN_JITTER * asked.spread)
    # Half as fast again as the bottleneck: a short queue then stays full as long as the train lasts, where
    # frames all at once would fill it and be lost.
    interval = max(1, int(8 * size * SECOND / (FASTER * asked.rate)))
    count = max(TRAIN_FEWEST, min(TRAIN_MOST, time // interval))
    # No process can keep a pace of µs, but it can send a few together.
    return Stream(count, size, interval, together=max(1, -(-LEAST_INTERVAL // interval)))


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
