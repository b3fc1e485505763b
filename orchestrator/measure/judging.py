"""Asked against measured, with intervals, by the targets below.

A value is *outside* only when it is further off than its target and the interval of chance together: a short
measurement says less, and never says what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from node.measuring.streams import Burst
from orchestrator.measure.asked import Asked
from orchestrator.measure.figures import CONFIDENCE, PathFigures, RateFigures, deviation_by_quartiles, middle
from orchestrator.measure.intervals import (
    deviation_interval,
    mean_interval,
    median_interval,
    share_interval,
)

MILLISECOND, SECOND = 1_000_000, 1_000_000_000
#: The targets. Delay: 1 % + 0.2 ms of links of 2 ms and more; below, what a busy host's scheduler costs.
DELAY_SHARE, DELAY_GRAIN, SHORT_DELAY, SHORT_GRAIN = 0.01, MILLISECOND // 5, 2 * MILLISECOND, MILLISECOND
#: Jitter: 5 % + 0.2 ms of its standard deviation.
JITTER_SHARE, JITTER_GRAIN = 0.05, MILLISECOND // 5
#: Rate: 1 %, as far as a bottleneck of 1 Gbit/s.
RATE_SHARE, FASTEST = 0.01, SECOND
#: A rate further off than this, in an interval as wide, is not proven; what is too little all the same.
UNEVEN_SHARE, MISSED_SHARE = 0.05, 0.10
#: What a timestamp of a train's first and last frame may be off where time is real, ns.
STAMP_GRAIN = 50_000
#: Of a frame: a bit flipped there makes it one that nobody knows, and so it seems lost.
IDENTITY_BYTES = 20
_FEWEST = 8

OK, OUTSIDE, UNJUDGED = "ok", "outside", "not judged"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One quantity of one direction."""

    quantity: str
    #: ns, ratio or bit/s.
    unit: str
    #: None: nothing was asked that could be compared.
    asked: float | None
    measured: float | None
    #: The interval of the measured value.
    low: float | None
    high: float | None
    verdict: str
    #: Why it is not judged, or what else is worth telling.
    detail: str = ""


def judge_path(asked: Asked, found: PathFigures, *, size: int, exact: bool) -> Iterator[Comparison]:
    """Yield what a sparse stream of frames of ``size`` bytes says."""
    if len(found.delays) >= _FEWEST:
        yield _delay(asked, found, size, exact=exact)
        yield _jitter(asked, found, exact=exact)
    else:
        why = f"{found.came} of {found.sent} frames came"
        yield Comparison("delay", "ns", float(asked.delay), None, None, None, UNJUDGED, why)
    unknown = (asked.damaged or 0.0) * IDENTITY_BYTES / size
    yield _share("loss", asked.loss, found.lost, found.sent, asked, run=asked.loss_run, unknown=unknown)
    yield _share("duplicates", asked.duplicates, found.duplicates, found.sent, asked)
    yield _share("damage", asked.damaged, found.damaged, found.came + found.duplicates, asked)
    yield _order(asked, found)
    if asked.early is not None and asked.delay:
        early = sum(delay < asked.delay / 2 for delay in found.delays)
        yield _share("before their time", asked.early, early, found.came, asked)
    if found.oversize:
        detail = f"{found.oversize} frames are larger than the MTU of {asked.mtu}: bursts that nobody split"
        yield Comparison("size", "count", 0.0, float(found.oversize), None, None, OUTSIDE, detail)


def judge_burst(found: Burst) -> Comparison:
    """Return what a burst says: it must be single packets where the link begins."""
    places = {"at the sender": found.at_sender, "on the link": found.on_link}
    seen = {place: count for place, count in places.items() if count is not None}
    asked, fewest = float(found.datagrams), float(min(seen.values()))
    told = ", ".join(f"{count} {place}" for place, count in seen.items())
    detail = f"{found.datagrams} datagrams of one call were packets: {told}"
    if not found.at_sender:
        return _unjudged("split bursts", "count", asked, None, "the burst was not seen to leave")
    verdict = OK if set(seen.values()) == {found.datagrams} and not found.oversize else OUTSIDE
    if found.oversize:
        detail += f"; {found.oversize} frames larger than the MTU came out"
    if verdict == OUTSIDE:
        detail += ": bursts that nobody split, of which one draw of loss or delay hits many"
    return Comparison("split bursts", "count", asked, fewest, None, None, verdict, detail)


def judge_rate(asked: Asked, found: RateFigures, *, exact: bool) -> Iterator[Comparison]:
    """Yield what a train of frames says."""
    why = asked.why_not("rate")
    if asked.rate == 0:
        return
    if asked.rate is None or why:
        yield _unjudged("rate", "bit/s", None, found.rate_bps or None, why)
        return
    if not found.rate_bps:
        yield _unjudged("rate", "bit/s", float(asked.rate), None, "too few frames of the train came")
        return
    grain = 0 if exact else STAMP_GRAIN
    low = found.rate_bps * found.span / (found.span + grain)
    high = found.rate_bps * found.span / max(1, found.span - grain)
    if not exact:
        # A shaper that was woken late lets go of much at once: then parts of the train differ.
        low, high = min(low, found.low_bps), max(high, found.high_bps)
    if not exact and asked.rate > FASTEST:
        yield _unjudged("rate", "bit/s", float(asked.rate), found.rate_bps, "above 1 Gbit/s")
        return
    missed = found.rate_bps < (1 - MISSED_SHARE) * min(asked.rate, found.sent_bps)
    if found.sent_bps < 1.2 * asked.rate and found.rate_bps < asked.rate and not missed:
        detail = f"frames could be sent at {found.sent_bps / 1e6:.0f} Mbit/s only"
        yield _unjudged("rate", "bit/s", float(asked.rate), found.rate_bps, detail)
        return
    slack = RATE_SHARE * asked.rate
    verdict, detail = OK if low - slack <= asked.rate <= high + slack else OUTSIDE, ""
    uneven = not exact and high - low > 2 * UNEVEN_SHARE * asked.rate
    if uneven and abs(found.rate_bps - asked.rate) > UNEVEN_SHARE * asked.rate:
        # Such an interval holds the right rate and most wrong ones: it must not pass for a proof.
        verdict = OUTSIDE if missed else UNJUDGED
        detail = "parts of the train came at rates too different: whoever shapes it, or the host, is too busy"
    yield Comparison("rate", "bit/s", float(asked.rate), found.rate_bps, low, high, verdict, detail)


def _delay(asked: Asked, found: PathFigures, size: int, *, exact: bool) -> Comparison:
    serialised = size * 8 * SECOND / asked.rate if asked.rate else 0.0
    wanted = asked.delay + serialised
    # A real host holds a frame back now and then; a median does not move for that, and here is the mean.
    measured = sum(found.delays) / len(found.delays) if exact else middle(found.delays)
    interval = mean_interval if exact else median_interval
    low, high = interval(found.delays, confidence=CONFIDENCE)
    why = asked.why_not("delay")
    if why:
        return _unjudged("delay", "ns", wanted, measured, why)
    slack = DELAY_SHARE * wanted + DELAY_GRAIN
    if asked.delay < SHORT_DELAY and not exact:
        slack = SHORT_GRAIN
    outside = not low - slack <= wanted <= high + slack
    return Comparison("delay", "ns", wanted, measured, low, high, OUTSIDE if outside else OK)


def _jitter(asked: Asked, found: PathFigures, *, exact: bool) -> Comparison:
    low, high = deviation_interval(found.delays, confidence=CONFIDENCE)
    measured = (low + high) / 2
    if not exact:
        robust = deviation_by_quartiles(found.delays, factor=asked.quartiles)
        # The same chance, and about half as much again for quartiles.
        half = 1.5 * (high - low) / 2 * (robust / measured if measured else 0.0)
        low, high, measured = max(0.0, robust - half), robust + half, robust
    why = asked.why_not("jitter")
    if asked.deviation is None or why:
        return _unjudged("jitter", "ns", asked.deviation, measured, why)
    slack = JITTER_SHARE * asked.deviation + JITTER_GRAIN
    if asked.delay < SHORT_DELAY and not exact:
        slack = max(slack, SHORT_GRAIN)
    outside = not low - slack <= asked.deviation <= high + slack
    return Comparison("jitter", "ns", asked.deviation, measured, low, high, OUTSIDE if outside else OK)


def _share(
    quantity: str,
    wanted: float | None,
    hits: int,
    count: int,
    asked: Asked,
    *,
    run: float = 1.0,
    unknown: float = 0.0,
) -> Comparison:
    measured = hits / count if count else None
    # Frames that share a draw count as one: so many independent ones there were.
    draws = max(1, round(count / run))
    low, high = share_interval(min(draws, round(hits / run)), draws, confidence=CONFIDENCE)
    why = asked.why_not(quantity)
    if wanted is None or why or measured is None:
        return _unjudged(quantity, "ratio", wanted, measured, why or "nothing came")
    outside = low > wanted + unknown or wanted > high
    return Comparison(quantity, "ratio", wanted, measured, low, high, OUTSIDE if outside else OK)


def _order(asked: Asked, found: PathFigures) -> Comparison:
    measured = found.late / found.came if found.came else None
    low, high = share_interval(found.late, found.came, confidence=CONFIDENCE)
    if asked.reorders:
        return _unjudged("reordering", "ratio", None, measured, "reordering is asked for")
    verdict = OUTSIDE if found.late else OK
    return Comparison("reordering", "ratio", 0.0, measured, low, high, verdict)


def _unjudged(quantity: str, unit: str, asked: float | None, measured: float | None, why: str) -> Comparison:
    return Comparison(quantity, unit, asked, measured, None, None, UNJUDGED, why)
