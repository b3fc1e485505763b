"""Fates given from outside: what becomes of the packet with a certain number, without chance.

A list of drops is the first use. A recording of a real link is another: who has one gives the model a
function from a packet's number (from 1, in the direction, from the start of the run) to what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from node.links.settings import Impairments
from node.protocol.time import Duration


@dataclass(frozen=True, slots=True)
class GivenCopy:
    """One copy of a packet that arrives, whatever the impairments say."""

    #: From when the packet was sent to when its last bit arrives, ns.
    delay: Duration
    #: Bit of the frame that is flipped, counted from the first; None: it is unharmed.
    corrupt_bit: int | None = None
    #: Whether it arrives with Congestion Experienced.
    marked: bool = False
    #: Whether it may arrive before packets that were sent earlier; if not, it waits for them.
    overtakes: bool = False
    #: How long after the packet before it, at least, ns: what the bottleneck took for it.
    spacing: Duration = 0


#: Copies of the packet with a number that arrive, none if it is lost; None: the impairments decide.
Fates: TypeAlias = Callable[[int], Sequence[GivenCopy] | None]


def dropped_by(impairments: Impairments) -> Fates | None:
    """Return the fates that a set's list of drops gives; None: it has none."""
    if not impairments.drop.ranges:
        return None
    drops = impairments.drop.drops
    return lambda number: () if drops(number) else None
