"""From what became of a stream to figures: delay, jitter, loss, duplicates, order, damage, rate."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.measure.streams import Arrival, Observed


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


def rate_figures(observed: Observed) -> RateFigures:
    """Return the figures of a train.

    The first quarter is left out: buckets of tokens are full when it comes, and queues are empty.
    """
    size = 8 * observed.stream.size
    departures = observed.departures
    sending = departures[-1] - departures[0] if len(departures) > 1 else 0
    sent = size * (len(departures) - 1) * 1e9 / sending if sending else float("inf")
    kept = steady(observed.arrivals)
    span = kept[-1] - kept[0] if len(kept) > 1 else 0
    return RateFigures(size * (len(kept) - 1) * 1e9 / span if span else 0.0, span, sent)


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
