"""Queue: how many packets the bottleneck holds before it drops."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, PacketFate, Stage
from node.links.units import UnitError, format_packets, parse_packets

#: A common size of router queues and of test beds; 120 ms of full packets at 10 Mbit/s.
DEFAULT_QUEUE_PACKETS = 100
MAX_QUEUE_PACKETS = 1_000_000


@IMPAIRMENTS.register("queue")
@dataclass(frozen=True, slots=True)
class Queue:
    """The bottleneck holds ``packets``, the one being serialised included, and drops at its tail."""

    name: ClassVar[str] = "queue"
    stage: ClassVar[Stage] = Stage.QUEUE
    description: ClassVar[str] = "Packets that the bottleneck holds before it drops; needs a rate."
    example: ClassVar[str] = "25p"

    packets: int = DEFAULT_QUEUE_PACKETS

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``25p``."""
        packets = parse_packets(value)
        if not 1 <= packets <= MAX_QUEUE_PACKETS:
            raise UnitError(f"{value!r}: a queue holds 1p to {MAX_QUEUE_PACKETS}p; write for example 100p")
        return cls(packets)

    def format(self) -> str:
        """Write ``25p``."""
        return format_packets(self.packets)

    def netem_arguments(self) -> tuple[str, ...]:
        """Return nothing: the bottleneck is a queueing discipline of its own."""
        return ()

    def decide(self, packet: PacketFate, rng: Random) -> None:
        """Do nothing: the model's server counts."""
