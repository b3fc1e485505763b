"""Congestion windows as standards have them, read apart from the node."""

from __future__ import annotations

#: RFC 9002 §7.2: ten packets, but at most the larger of this and two packets.
_PACKETS, _BYTES = 10, 14_720


def initial_window(size: int) -> int:
    """Return the bytes of the initial window with packets of ``size`` bytes (RFC 9002 §7.2)."""
    return min(_PACKETS * size, max(_BYTES, 2 * size))
