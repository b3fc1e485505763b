"""Drop: exact numbers of packets that are lost."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Quiet, Stage
from node.links.units import UnitError

_RANGE = re.compile(r"(\d{1,12})(?:\s*-\s*(\d{1,12}))?", re.ASCII)
#: More ranges than this belong into a trace of fates, not into a topology file.
MAX_RANGES = 10_000


@IMPAIRMENTS.register("drop")
@dataclass(frozen=True, slots=True)
class Drop(Quiet):
    """The packets with these numbers are lost; the first packet of the run in this direction has number 1."""

    name: ClassVar[str] = "drop"
    stage: ClassVar[Stage] = Stage.DROP
    description: ClassVar[str] = (
        "Exactly these packets are lost, numbered from 1 in this direction from the start of the run."
    )
    example: ClassVar[str] = "2-7, 12"

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``2-7, 12``; a single number may stand without quotes."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        parts = value.split(",") if isinstance(value, str) else [""]
        found: list[tuple[int, int]] = []
        for part in parts:
            match = _RANGE.fullmatch(part.strip())
            if match is None:
                raise UnitError(f"{value!r} is no list of packets; write numbers and ranges, as 2-7, 12")
            first, last = int(match[1]), int(match[2] or match[1])
            if not 1 <= first <= last:
                raise UnitError(
                    f"{value!r}: {part.strip()!r} is no range; packets count from 1, small to large"
                )
            found.append((first, last))
        if len(found) > MAX_RANGES:
            raise UnitError(f"{len(found)} ranges are too many; write up to {MAX_RANGES}")
        return cls(_merged(found))

    def format(self) -> str:
        """Write ``2-7, 12``."""
        return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ranges)

    def drops(self, number: int) -> bool:
        """Return whether the packet with this number, counted from 1, is lost."""
        place = bisect_right(self.ranges, (number, 1 << 62))
        return place > 0 and number <= self.ranges[place - 1][1]


def _merged(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)
