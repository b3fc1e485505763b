"""Time in the core: whole nanoseconds, always an argument, never read from a clock.

Integers, because at 1 Gbit/s one byte lasts 8 ns, equal deadlines must compare equal, and golden
traces must not depend on how a float prints.
"""

from __future__ import annotations

from typing import TypeAlias

#: A point on the driver's monotonic clock, in ns. Only differences mean anything.
Instant: TypeAlias = int
#: A length of time, in ns.
Duration: TypeAlias = int

MICROSECOND: Duration = 1_000
MILLISECOND: Duration = 1_000_000
SECOND: Duration = 1_000_000_000
