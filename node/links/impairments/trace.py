"""Trace: rate or delay change over time, as a file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Quiet, Stage
from node.links.traces import MAHIMAHI, NO_TRACE, STEPS, TraceData, format_trace, parse_trace
from node.links.units import UnitError

MAX_FILE_NAME = 1_000


@IMPAIRMENTS.register("trace")
@dataclass(frozen=True, slots=True)
class Trace(Quiet):
    """From the start of the run, rate and delay follow ``data``; ``file`` is one that is yet to be read."""

    name: ClassVar[str] = "trace"
    stage: ClassVar[Stage] = Stage.TRACE
    description: ClassVar[str] = (
        "File of steps (5s 1Mbit 40ms) or in mahimahi's form, which rate and delay follow; or the steps."
    )
    example: ClassVar[str] = "steps 0s 10Mbit; 5s 1Mbit 40ms"

    data: TraceData = NO_TRACE
    file: str = ""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``steps 0s 10Mbit; 5s 1Mbit``, or the name of a file."""
        if not isinstance(value, str) or not value.strip():
            raise UnitError(f"{value!r} is no trace; write the name of a file, or {cls.example}")
        if value.split()[0] in (STEPS, MAHIMAHI):
            return cls(parse_trace(value))
        if len(value) > MAX_FILE_NAME or not any(mark in value for mark in "./"):
            raise UnitError(
                f"{value[:40]!r} is no trace; write a file's name with its ending, or {cls.example}"
            )
        return cls(file=value)

    def format(self) -> str:
        """Write the trace as a whole."""
        return self.file or format_trace(self.data)
