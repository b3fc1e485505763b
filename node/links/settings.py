"""A whole set of impairments, as one value: what one direction of a link does to packets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from node.links.impairments.aqm import Aqm
from node.links.impairments.base import IMPAIRMENTS, Impairment, Modifiers
from node.links.impairments.ce_threshold import CeThreshold
from node.links.impairments.corrupt import Corrupt
from node.links.impairments.delay import Delay
from node.links.impairments.drop import Drop
from node.links.impairments.duplicate import Duplicate
from node.links.impairments.ecn import Ecn
from node.links.impairments.jitter import Jitter
from node.links.impairments.loss import Loss
from node.links.impairments.queue import Queue
from node.links.impairments.rate import Rate
from node.links.impairments.reorder import Reorder
from node.links.impairments.seed import Seed
from node.links.impairments.slot import Slot
from node.links.impairments.trace import Trace
from node.links.traces import TraceData
from node.links.units import UnitError
from node.protocol.time import SECOND, Duration

Kind = TypeVar("Kind", bound=Impairment)

#: Bits of a full Ethernet frame without FCS, for queues that are given as a time or a product.
_FRAME_BITS = 8 * 1_514
#: What netem has, and what it is not here, with advice.
REFUSED: Mapping[str, str] = {
    "loss-correlation": (
        "netem's correlated loss does not lose the share that was asked (1% with 25% loses hardly anything); "
        "write loss: 1% and burst: 3p for losses that come together"
    ),
}


class ImpairmentsError(ValueError):
    """A set of impairments cannot be read.

    Args:
        problems: for each key that is wrong, what is wrong and what to do.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{key}: {problem}" for key, problem in problems.items()))
        self.problems = dict(problems)


@dataclass(frozen=True, slots=True)
class Impairments:
    """Impairments of one direction, in the order of their stages, those at their default left out.

    Two sets that mean the same compare equal. Build with ``of`` or ``parse``.
    """

    items: tuple[Impairment, ...] = ()

    @classmethod
    def build(cls, *impairments: Impairment) -> Self:
        """Return the set of ``impairments``.

        Raises:
            ImpairmentsError: two of one name, or one lacks another that it needs.
        """
        by_name: dict[str, Impairment] = {}
        for impairment in impairments:
            if impairment.name in by_name:
                raise ImpairmentsError({impairment.name: "given twice; give it once"})
            by_name[impairment.name] = impairment
        # Imported here: it names this class.
        from node.links.contradictions import contradictions

        problems = contradictions(Impairments(tuple(by_name.values())))
        if problems:
            raise ImpairmentsError(problems)
        kept = [item for item in by_name.values() if item != type(item)()]
        return cls(tuple(sorted(kept, key=lambda item: item.stage)))

    @classmethod
    def parse(cls, mapping: Mapping[str, object]) -> Self:
        """Return the set written as in a topology file: ``{"delay": "20ms", "loss": "1%"}``.

        Raises:
            ImpairmentsError: with every problem found, by key.
        """
        problems: dict[str, str] = {}
        found: list[Impairment] = []
        for key, value in mapping.items():
            if key not in IMPAIRMENTS:
                unknown = f"no such impairment; use one of {', '.join(IMPAIRMENTS.names())}"
                problems[str(key)] = REFUSED.get(key, unknown)
                continue
            try:
                found.append(IMPAIRMENTS[key].parse(value))
            except UnitError as error:
                problems[key] = str(error)
        if problems:
            raise ImpairmentsError(problems)
        return cls.build(*found)

    def to_mapping(self) -> dict[str, str]:
        """Return what ``parse`` reads: the words of topology files, also the JSON form."""
        return {item.name: item.format() for item in self.items}

    def of(self, kind: type[Kind]) -> Kind:
        """Return the impairment of a class; switched off if it is not in the set."""
        for item in self.items:
            if isinstance(item, kind):
                return item
        return kind()

    def replace(self, changes: Mapping[str, object | None]) -> Impairments:
        """Return the set with the named keys changed, and those given None taken out.

        Raises:
            ImpairmentsError: as ``parse``.
        """
        merged: dict[str, object] = {**self.to_mapping(), **changes}
        return Impairments.parse({key: value for key, value in merged.items() if value is not None})

    @property
    def delay(self) -> Duration:
        """Constant delay, ns."""
        return self.of(Delay).delay

    @property
    def jitter(self) -> Duration:
        """Half the width of the delay's uniform distribution, or another's standard deviation, ns."""
        return self.of(Jitter).jitter

    @property
    def loss(self) -> float:
        """Probability that a packet is lost."""
        return self.of(Loss).ratio

    @property
    def duplicate(self) -> float:
        """Probability that a packet is sent twice."""
        return self.of(Duplicate).ratio

    @property
    def corrupt(self) -> float:
        """Probability that a bit of a packet is flipped."""
        return self.of(Corrupt).ratio

    @property
    def reorder(self) -> float:
        """Probability that a packet skips the delay line."""
        return self.of(Reorder).ratio

    @property
    def rate(self) -> int:
        """Speed of the bottleneck, bit/s, with a trace the first one; 0: there is no bottleneck."""
        return self.of(Rate).rate_bps or self.trace.first_rate

    @property
    def trace(self) -> TraceData:
        """How rate and delay change over time; empty: they do not."""
        return self.of(Trace).data

    @property
    def queue(self) -> int:
        """Packets that the bottleneck holds; means nothing without a rate, or where it holds bytes."""
        queue = self.of(Queue)
        if not queue.bdp:
            return queue.packets
        return max(1, math.ceil(queue.bdp * self.rate * 2 * self.delay / SECOND / _FRAME_BITS))

    @property
    def queue_bytes(self) -> int:
        """Bytes that the bottleneck holds; 0: it counts packets."""
        return self.of(Queue).size

    @property
    def aqm(self) -> str:
        """Name of the queue management; empty: drop-tail."""
        return self.of(Aqm).kind

    @property
    def ecn(self) -> bool:
        """Whether packets are marked rather than lost."""
        return self.of(Ecn).marks

    @property
    def ce_threshold(self) -> Duration:
        """Wait from which on the bottleneck marks, ns; 0: it does not, or an AQM does."""
        if not self.ecn or not self.rate or self.aqm or self.queue_bytes:
            return 0
        return self.of(CeThreshold).wait or self.queue * _FRAME_BITS * SECOND // (2 * self.rate)

    @property
    def slot(self) -> Slot:
        """Slots in which packets gather; those of a link without have no wait."""
        return self.of(Slot)

    @property
    def drop(self) -> Drop:
        """Packets that are lost by number."""
        return self.of(Drop)

    @property
    def seed(self) -> int | None:
        """Seed of this direction's chance alone."""
        return self.of(Seed).number

    def modifiers(self) -> Modifiers:
        """Return what its modifiers say."""
        modifiers = Modifiers()
        for item in self.items:
            item.modify(modifiers)
        return modifiers


#: A link that does nothing to packets.
NONE = Impairments()
