"""Traces: how the rate or the delay of a direction changes over time, as text and as data.

Two forms of file are read. *Steps*: a line for each instant that something changes, as ``5s 1Mbit 40ms``: the
time from the start of the run, then a rate, a delay, or both. *mahimahi's*: a whole number a line, the ms at
which one more full frame may go; after the last one the trace begins anew, as in mahimahi's mm-link.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from node.links.units import (
    UnitError,
    format_duration,
    format_rate,
    parse_duration,
    parse_rate,
)
from node.protocol.time import MILLISECOND, Duration

#: An hour of changes every 10 ms, and some minutes of 100 Mbit/s: longer ones are to be cut.
MAX_STEPS = 360_000
MAX_OPPORTUNITIES = 2_000_000
#: What begins the text of a trace, in settings that hold it as a whole.
STEPS, MAHIMAHI = "steps", "mahimahi"
#: Bits of a full Ethernet frame without FCS: what one opportunity takes.
FRAME_BITS = 8 * 1_514
_RUN = re.compile(r"(\d{1,10})(?:x(\d{1,7}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at`` on, ns after the start: a rate in bit/s, a delay in ns; None: as before."""

    at: Duration
    rate: int | None = None
    delay: Duration | None = None


@dataclass(frozen=True, slots=True)
class TraceData:
    """What a trace says; one of the two is empty."""

    steps: tuple[Step, ...] = ()
    #: When a full frame may go, in ms, in order; the last one is the period.
    opportunities: tuple[int, ...] = ()

    @property
    def sets_rate(self) -> bool:
        """Whether it says how fast packets go."""
        return bool(self.opportunities) or any(step.rate is not None for step in self.steps)

    @property
    def first_rate(self) -> int:
        """Rate with which it begins, bit/s; for mahimahi's form the mean; 0: it begins with none."""
        if self.opportunities:
            return max(1, len(self.opportunities) * FRAME_BITS * 1_000 // self.opportunities[-1])
        return (self.steps[0].rate or 0) if self.steps and self.steps[0].at == 0 else 0


#: Rate and delay stay as they are.
NO_TRACE = TraceData()


def read_trace(text: str) -> TraceData:
    """Return the trace in a file's text.

    Raises:
        UnitError: it is neither form; the message names the line.
    """
    lines = [(number, line.split("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise UnitError("the trace is empty; write lines as 5s 1Mbit, or one number of ms a line (mahimahi)")
    if all(line.isascii() and line.isdigit() for _, line in lines):
        for number, line in lines:
            if _RUN.fullmatch(line) is None:
                raise UnitError(
                    f"line {number}: {line[:40]} ms is longer than any run; cut the trace before it"
                )
        return TraceData(opportunities=_opportunities([(int(line), 1) for _, line in lines]))
    steps: list[Step] = []
    for number, line in lines:
        try:
            steps.append(_step(line.split()))
        except UnitError as error:
            raise UnitError(f"line {number}: {error}") from error
    return TraceData(steps=_in_order(steps))


def parse_trace(text: str) -> TraceData:
    """Return the trace in a setting's text, as ``format_trace`` writes it.

    Raises:
        UnitError: it is none.
    """
    form, _, rest = text.partition(" ")
    if form == STEPS:
        return TraceData(steps=_in_order([_step(part.split()) for part in rest.split(";")]))
    matches = [_RUN.fullmatch(word) for word in rest.split()]
    if form != MAHIMAHI or not matches or None in matches:
        raise UnitError(f"{text[:40]!r} is no trace; write steps 0s 10Mbit; 5s 1Mbit, or give a file")
    found = [(int(match[1]), int(match[2] or 1)) for match in matches if match is not None]
    return TraceData(opportunities=_opportunities(found))


def format_trace(trace: TraceData) -> str:
    """Return the text that holds the whole trace."""
    if trace.steps:
        return f"{STEPS} " + "; ".join(map(_format_step, trace.steps))
    words: list[str] = []
    count = 0
    for place, at in enumerate(trace.opportunities):
        count += 1
        if place + 1 == len(trace.opportunities) or trace.opportunities[place + 1] != at:
            words.append(f"{at}x{count}" if count > 1 else str(at))
            count = 0
    return f"{MAHIMAHI} " + " ".join(words)


class Opportunities:
    """mahimahi's link: frames go when the trace lets them, and what is not used is lost."""

    def __init__(self, at_ms: Sequence[int], *, start: int) -> None:
        self._at = [at * MILLISECOND for at in at_ms]
        self._period = self._at[-1]
        self._frame = FRAME_BITS // 8
        self._start = start
        self._next = 0
        # Bytes left of the opportunity before the next one, and when that was.
        self._left, self._left_at = 0, -1

    def finish(self, at: int, size: int) -> int:
        """Return when a packet has gone whose service begins at ``at``; ``at`` never goes back."""
        if self._left_at != at:
            self._left = 0
        if self._left == 0:
            self._skip_before(at)
        while self._left < size:
            self._left_at = self._instant(self._next)
            self._left += self._frame
            self._next += 1
        self._left -= size
        return max(at, self._left_at)

    def _instant(self, number: int) -> int:
        rounds, place = divmod(number, len(self._at))
        return self._start + rounds * self._period + self._at[place]

    def _skip_before(self, at: int) -> None:
        if at > self._start:
            whole = (at - self._start) // self._period - 1
            self._next = max(self._next, whole * len(self._at))
        while self._instant(self._next) < at:
            self._next += 1


def _step(words: Sequence[str]) -> Step:
    if not 2 <= len(words) <= 3:
        raise UnitError(
            f"{' '.join(words)!r} is no step; write a time, then a rate or a delay, as 5s 1Mbit 40ms"
        )
    rate: int | None = None
    delay: Duration | None = None
    for word in words[1:]:
        if word.rstrip("/s").endswith("bit"):
            rate = parse_rate(word)
            if not rate:
                raise UnitError(
                    f"{word!r} would stop the link; write a higher rate, or cut it in the timeline"
                )
        else:
            delay = parse_duration(word)
    return Step(parse_duration(words[0]), rate, delay)


def _format_step(step: Step) -> str:
    words = [format_duration(step.at)]
    words += [format_rate(step.rate)] if step.rate is not None else []
    words += [format_duration(step.delay)] if step.delay is not None else []
    return " ".join(words)


def _in_order(steps: Sequence[Step]) -> tuple[Step, ...]:
    if any(later.at <= earlier.at for earlier, later in itertools.pairwise(steps)):
        raise UnitError("the times of a trace must grow from step to step; sort the lines")
    if len(steps) > MAX_STEPS:
        raise UnitError(f"a trace of {len(steps)} steps is too long; cut it to {MAX_STEPS}")
    return tuple(steps)


def _opportunities(runs: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    if sum(count for _, count in runs) > MAX_OPPORTUNITIES:
        raise UnitError(f"the trace is too long; cut it to {MAX_OPPORTUNITIES} lines")
    found = tuple(at for at, count in runs for _ in range(count))
    if any(later < earlier for earlier, later in itertools.pairwise(found)):
        raise UnitError("the times of a trace must not go back; sort the lines")
    if found[-1] == 0:
        raise UnitError("the trace ends at 0 ms, so it has no length; add later times")
    return found
