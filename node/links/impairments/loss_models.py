"""Loss in bursts: Markov chains as netem walks them; and losses that are marks. Not itself an impairment."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from node.links.impairments.base import Decide, PacketFate

#: Whether the next packet is lost.
Losses: TypeAlias = Callable[[Random], bool]


def losing(losses: Losses, *, ecn: bool) -> Decide:
    """Return what drops packets; with ``ecn``, what marks those that may be marked (netem's ``ecn``)."""

    def decide(packet: PacketFate, rng: Random) -> None:
        if losses(rng):
            if ecn and packet.ecn_capable:
                packet.marked = True
            else:
                packet.dropped = True

    return decide


def burst_transitions(ratio: float, burst: float) -> tuple[float, float]:
    """Return (p, r) of the Gilbert model that loses ``ratio`` of all packets in bursts of mean ``burst``.

    A burst ends after each packet with r, so its mean is 1/r; the share of bad time is p / (p + r).
    p may come out above 1: then there is no such chain.
    """
    end = 1 / burst
    return (end * ratio / (1 - ratio) if ratio < 1 else 2.0), end


def gilbert_elliott(leave: float, end: float, loss_bad: float, loss_good: float) -> Losses:
    """Return the losses of netem's gemodel ``p r 1-h 1-k`` (kernel: loss_gilb_ell).

    The state moves on first, but the packet is lost by the state that it found.
    """
    bad = False

    def lost(rng: Random) -> bool:
        nonlocal bad
        found_bad = bad
        bad = rng.random() >= end if bad else rng.random() < leave
        return rng.random() < (loss_bad if found_bad else loss_good)

    return lost


def four_states(p13: float, p31: float, p32: float, p23: float, p14: float) -> Losses:
    """Return the losses of netem's ``loss state`` (kernel: loss_4state).

    1: received in a gap, 2: received in a burst, 3: lost in a burst, 4: lost in a gap, alone.
    """
    state = 1

    def lost(rng: Random) -> bool:
        nonlocal state
        number = rng.random()
        if state == 1:
            state = 4 if number < p14 else 3 if number < p14 + p13 else 1
        elif state == 2:
            state = 3 if number < p23 else 2
        elif state == 3:
            state = 2 if number < p32 else 1 if number < p32 + p31 else 3
        else:
            state = 1
        return state in (3, 4)

    return lost
