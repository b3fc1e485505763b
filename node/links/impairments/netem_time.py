"""How delay and jitter spell their times for tc. Not itself an impairment."""

from __future__ import annotations

from node.links.units import format_duration
from node.protocol.time import MICROSECOND, Duration


def netem_time(duration: Duration) -> str:
    """Return a time as tc of every age reads it: whole µs, since iproute2 6.1 refuses ``ns``."""
    return format_duration((duration + MICROSECOND // 2) // MICROSECOND * MICROSECOND)
