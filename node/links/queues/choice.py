"""Which queue a set of impairments asks for."""

from __future__ import annotations

from random import Random

from node.links.queues.base import FULL_FRAME, Discipline, Tally
from node.links.queues.codel import Codel
from node.links.queues.drop_tail import ByteQueue, MarkingQueue, PacketQueue
from node.links.queues.fq_codel import FqCodel
from node.links.queues.pie import Pie
from node.links.queues.red import Red, RedThresholds
from node.links.settings import Impairments


def discipline(impairments: Impairments, tally: Tally, rng: Random) -> Discipline | None:
    """Return the queue before the bottleneck; None: packets dropped at its tail, or no bottleneck at all."""
    ecn, packets = impairments.ecn, impairments.queue
    match impairments.aqm:
        case "codel":
            return Codel(packets, tally, ecn=ecn)
        case "fq_codel":
            return FqCodel(packets, tally, ecn=ecn)
        case "pie":
            return Pie(packets, tally, rng, ecn=ecn)
        case "red":
            return Red(RedThresholds(red_limit(impairments)), impairments.rate, tally, rng, ecn=ecn)
    if impairments.queue_bytes:
        return ByteQueue(impairments.queue_bytes, tally)
    if impairments.ce_threshold:
        return MarkingQueue(packets, impairments.ce_threshold, tally)
    # Where the rate changes while packets wait, nothing about them is known when they come.
    return PacketQueue(packets, tally) if impairments.trace.sets_rate else None


def red_limit(impairments: Impairments) -> int:
    """Return what fits into RED's queue, which counts bytes."""
    return impairments.queue_bytes or impairments.queue * FULL_FRAME
