"""How much a run must know of its links before its flows start."""

from __future__ import annotations

from enum import Enum


class Calibrate(Enum):
    """What becomes of a link that does not do what is asked."""

    #: It is told.
    WARN = "warn"
    #: The run fails before its flows start.
    STRICT = "strict"
    #: Nobody looks.
    OFF = "off"
