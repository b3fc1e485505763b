"""The types of DATA packets (SPEC 4), and of those that are early (SPEC 15)."""

from __future__ import annotations

#: DATA of an even key phase; the other one has PHASE_BIT set as well.
DATA = 0x41
PHASE_BIT = 0x04
#: DATA before the handshake is through.
EARLY = 0xC8


def is_data(kind: int) -> bool:
    """Whether a type byte is that of a DATA packet, of either key phase."""
    return kind & ~PHASE_BIT == DATA
