"""CE threshold: from which wait on the bottleneck marks packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Quiet, Stage
from node.links.units import UnitError, format_duration, parse_duration
from node.protocol.time import MICROSECOND, SECOND, Duration

#: The kernel's CoDel, which marks there, counts in units of 1.024 µs in 32 bits.
MAX_THRESHOLD: Duration = 1000 * SECOND


@IMPAIRMENTS.register("ce-threshold")
@dataclass(frozen=True, slots=True)
class CeThreshold(Quiet):
    """A packet that has waited in the queue for longer than ``wait`` ns is marked; 0: half a full queue."""

    name: ClassVar[str] = "ce-threshold"
    stage: ClassVar[Stage] = Stage.CE_THRESHOLD
    description: ClassVar[str] = (
        "Packets that waited longer than this in the queue are marked; needs ecn and a rate. "
        "By default, the time of half a full queue."
    )
    example: ClassVar[str] = "5ms"

    wait: Duration = 0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``5ms``."""
        wait = parse_duration(value)
        if not MICROSECOND <= wait <= MAX_THRESHOLD:
            raise UnitError(f"{value!r}: a threshold is from 1us to 1000s; write for example 5ms")
        return cls(wait)

    def format(self) -> str:
        """Write ``5ms``."""
        return format_duration(self.wait)
