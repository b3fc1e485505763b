"""Traces by the kernel: which it can follow, and where one may have got to.

The bottleneck is an htb with one class: a change of the class's rate holds for the packets that wait
already, as in the model. (A netem has settled their departures; a tbf fills its bucket with each change, and
lets two frames go.) An htb lets a packet go when its time on the wire begins, not when it ends: each is that
much earlier. The delay is the root netem's, which is told to keep order; packets in its line keep their
instants, as in the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from node.links.impairments.delay import MAX_DELAY
from node.links.settings import Impairments
from node.links.traces import TraceData
from node.links.units import format_duration
from node.protocol.time import MILLISECOND, Duration

#: tc takes a millisecond or two, and a busy machine wakes it late: closer steps would not be what is asked.
SHORTEST_STEP = 10 * MILLISECOND


def lack(trace: TraceData) -> str:
    """Return why the kernel cannot follow a trace; empty: it can, or there is none."""
    if trace.opportunities:
        return "no queue of the kernel has mahimahi's single opportunities to send"
    if max((step.delay or 0 for step in trace.steps), default=0) > MAX_DELAY:
        return f"tc does not hold back packets for more than {format_duration(MAX_DELAY)}"
    closest = min(
        (later.at - step.at for step, later in itertools.pairwise(trace.steps)), default=SHORTEST_STEP
    )
    if closest >= SHORTEST_STEP:
        return ""
    shortest = format_duration(SHORTEST_STEP)
    return f"steps of its trace are {format_duration(closest)} apart, tc keeps up with {shortest} and more"


def reached(impairments: Impairments) -> Iterator[tuple[int, Duration]]:
    """Yield rate (bit/s; 0: none) and delay (ns) before the first step of a trace, and after each."""
    rate, delay = impairments.rate, impairments.delay
    yield rate, delay
    for step in impairments.trace.steps:
        rate = step.rate or rate
        delay = delay if step.delay is None else step.delay
        yield rate, delay


def longest_delay(impairments: Impairments) -> Duration:
    """Return the longest delay that a set has in the course of its trace."""
    return max(
        [impairments.delay, *(step.delay for step in impairments.trace.steps if step.delay is not None)]
    )
