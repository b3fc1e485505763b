"""Queue: how much the bottleneck holds before it drops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Quiet, Stage
from node.links.units import UnitError, format_packets, format_size, parse_factor, parse_packets, parse_size

#: A common size of router queues and of test beds; 120 ms of full packets at 10 Mbit/s.
DEFAULT_QUEUE_PACKETS = 100
MAX_QUEUE_PACKETS = 1_000_000
#: One frame, and what a million of them need.
MIN_QUEUE_BYTES, MAX_QUEUE_BYTES = 1_514, 1_514_000_000
MAX_QUEUE_BDP = 1_000


@IMPAIRMENTS.register("queue")
@dataclass(frozen=True, slots=True)
class Queue(Quiet):
    """The bottleneck holds ``packets``, the one being serialised included, and drops at its tail.

    Or ``size`` bytes of frames; or ``bdp`` times the bandwidth-delay product, in full packets: rate times
    twice the delay of this direction. Only one of the three is not zero.
    """

    name: ClassVar[str] = "queue"
    stage: ClassVar[Stage] = Stage.QUEUE
    description: ClassVar[str] = (
        "What the bottleneck holds before it drops: packets, bytes (150kB) or a multiple of rate times twice "
        "the delay (1.5bdp); needs a rate."
    )
    example: ClassVar[str] = "25p"

    packets: int = DEFAULT_QUEUE_PACKETS
    size: int = 0
    bdp: float = 0.0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``25p``, ``150kB`` or ``1.5bdp``."""
        text = value.strip() if isinstance(value, str) else ""
        if text.lower().endswith("bdp"):
            bdp = parse_factor(text[:-3], value, "a queue", "1.5bdp")
            if not 0 < bdp <= MAX_QUEUE_BDP:
                raise UnitError(f"{value!r}: a queue holds more than 0bdp, up to {MAX_QUEUE_BDP}bdp")
            return cls(packets=0, bdp=bdp)
        if text.endswith("B"):
            size = parse_size(text)
            if not MIN_QUEUE_BYTES <= size <= MAX_QUEUE_BYTES:
                raise UnitError(
                    f"{value!r}: a queue holds 1514B (a frame) to 1514MB; write for example 150kB"
                )
            return cls(packets=0, size=size)
        packets = parse_packets(value)
        if not 1 <= packets <= MAX_QUEUE_PACKETS:
            raise UnitError(f"{value!r}: a queue holds 1p to {MAX_QUEUE_PACKETS}p; write for example 100p")
        return cls(packets)

    def format(self) -> str:
        """Write ``25p``, ``150kB`` or ``1.5bdp``."""
        if self.bdp:
            return f"{self.bdp:g}bdp"
        return format_size(self.size) if self.size else format_packets(self.packets)
