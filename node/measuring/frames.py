"""The frames that probes send: Ethernet of an experimental type, so that nodes take no notice of them.

EtherType 0x88B5 is for local experiments (IEEE 802). Where only IP packets tell what a link does, the same
bytes follow an IPv4 header whose protocol is for experiments (253, RFC 3692). A frame says its number three
times, so that one flipped bit neither hides it nor makes it another; the rest follows from the number, so
that damage is seen.
"""

from __future__ import annotations

import struct
from collections import Counter

ETHERTYPE = 0x88B5
ETHERTYPE_BYTES = ETHERTYPE.to_bytes(2, "big")
IP_PROTOCOL = 253
#: The smallest frame that holds all of it.
MIN_BYTES = 64
_MAGIC = b"probe"
_NUMBERS = struct.Struct(">III")
_TYPE_AT, _NUMBERS_AT, _PROTOCOL_AT = 12, 20, 23
_IPV4, _PROTOCOL_BYTES = b"\x08\x00", bytes([IP_PROTOCOL])


def probe_frame(number: int, size: int, *, source: bytes, destination: bytes, stream: int) -> bytes:
    """Return the frame of a number.

    Args:
        number: from 0.
        size: bytes with the Ethernet header, without FCS.
        source: MAC address of the sender, and
        destination: of the receiver.
        stream: from 0 to 255, so that late frames of another stream are not taken for this one's.
    """
    head = destination + source + ETHERTYPE_BYTES + _MAGIC + bytes([stream])
    head += _NUMBERS.pack(number, number, number)
    fill = bytes((number + offset) & 0xFF for offset in range(16))
    rest = size - len(head)
    return head + (fill * (rest // 16 + 1))[:rest]


def frame_number(frame: bytes, *, stream: int) -> int | None:
    """Return the number of a frame of a stream, if two of its three copies agree; None: it is none."""
    if len(frame) < MIN_BYTES or frame[_NUMBERS_AT - 1] != stream:
        return None
    (number, count), *_ = Counter(_NUMBERS.unpack_from(frame, _NUMBERS_AT)).most_common(1)
    return number if count > 1 else None


def is_probe(frame: bytes | memoryview) -> bool:
    """Return whether a frame is of a probe."""
    kind = bytes(frame[_TYPE_AT : _TYPE_AT + 2])
    protocol = bytes(frame[_PROTOCOL_AT : _PROTOCOL_AT + 1])
    return kind == ETHERTYPE_BYTES or (kind == _IPV4 and protocol == _PROTOCOL_BYTES)
