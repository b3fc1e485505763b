"""From what became of a stream to figures: delay, jitter, loss, duplicates, order, damage, rate."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from node.measuring.streams import Arrival, Observed
from orchestrator.measure.intervals import mean_interval

CONFIDENCE = 0.99
#: Parts of a train whose rates are compared.
_BLOCKS = 5


@dataclass(frozen=True, slots=True)
class PathFigures:
    """What a sparse stream shows of one direction."""

    sent: int
    #: Numbers that came at least once.
    came: int
    #: Copies beyond the first.
    duplicates: int
    #: Frames that came after one with a higher number (RFC 4737, type-P-reordered).
    late: int
    #: Copies with flipped bits.
    damaged: int
    #: Delay of the first copy of each, ns, in order of the numbers.
    delays: tuple[int, ...] = field(repr=False, default=())
    oversize: int = 0

    @property
    def lost(self) -> int:
        """Frames that never came."""
        return self.sent - self.came


def path_figures(observed: Observed) -> PathFigures:
    """Return the figures of a sparse stream."""
    first: dict[int, int] = {}
    late, highest, damaged = 0, -1, 0
    for arrival in observed.arrivals:
        damaged += arrival.damaged
        if arrival.number in first or not 0 <= arrival.number < len(observed.departures):
            continue
        first[arrival.number] = arrival.at
        if arrival.number < highest:
            late += 1
        highest = max(highest, arrival.number)
    copies = sum(0 <= arrival.number < len(observed.departures) for arrival in observed.arrivals)
    return PathFigures(
        sent=len(observed.departures),
        came=len(first),
        duplicates=copies - len(first),
        late=late,
        damaged=damaged,
        delays=tuple(first[number] - observed.departures[number] for number in sorted(first)),
        oversize=observed.oversize,
    )


@dataclass(frozen=True, slots=True)
class RateFigures:
    """What a train of frames, sent as fast as they go, shows of one direction."""

    #: Bits a second at which it came; 0: too few came.
    rate_bps: float
    #: Over how long that was seen, ns.
    span: int
    #: Bits a second at which it was sent.
    sent_bps: float
    #: The interval of the rate, from how different parts of the train differ.
    low_bps: float = 0.0
    high_bps: float = 0.0


def rate_figures(observed: Observed) -> RateFigures:
    """Return the figures of a train.

    The first quarter is left out: buckets of tokens are full when it comes, and queues are empty. The rate is
    the slope of frames over time by least squares: one frame that came late at either end hardly moves it.
    """
    size = 8 * observed.stream.size
    departures = observed.departures
    sending = departures[-1] - departures[0] if len(departures) > 1 else 0
    sent = size * (len(departures) - 1) * 1e9 / sending if sending else float("inf")
    kept = steady(observed.arrivals)
    span = kept[-1] - kept[0] if len(kept) > 1 else 0
    if not span:
        return RateFigures(0.0, span, sent)
    gap = _slope(kept)
    part = max(1, len(kept) // _BLOCKS)
    blocks = [kept[at : at + part + 1] for at in range(0, len(kept), part)]
    gaps = [(block[-1] - block[0]) / (len(block) - 1) for block in blocks[:_BLOCKS] if len(block) > 1]
    low, high = mean_interval(gaps, confidence=CONFIDENCE)
    half = (high - low) / 2
    slowest = size * 1e9 / (gap + half)
    fastest = size * 1e9 / (gap - half) if gap > half else float("inf")
    return RateFigures(size * 1e9 / gap, span, sent, slowest, fastest)


def _slope(instants: Sequence[int]) -> float:
    """Return the mean time from one instant to the next, by least squares."""
    middle_at = (len(instants) - 1) / 2
    start = instants[0]
    above = sum((at - middle_at) * (instant - start) for at, instant in enumerate(instants))
    return above / sum((at - middle_at) ** 2 for at in range(len(instants)))


def steady(arrivals: Sequence[Arrival]) -> list[int]:
    """Return the instants at which a train came, without its first quarter."""
    instants = sorted(arrival.at for arrival in arrivals)
    return instants[len(instants) // 4 :]


def middle(values: Sequence[float]) -> float:
    """Return the median; of nothing, not a number."""
    return statistics.median(values) if values else float("nan")


def deviation_by_quartiles(values: Sequence[float], *, factor: float) -> float:
    """Return the standard deviation that the quartiles' distance stands for, whatever a few wild values say.

    Args:
        values: at least four.
        factor: the distance of the quartiles of the distribution, in its standard deviations.
    """
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / factor
