"""What crosses the border between the core and its driver: bursts of UDP datagrams.

A burst is one buffer of equal datagrams (the last may be shorter), as UDP GSO sends it and UDP
GRO delivers it. One object a burst, never one a packet, is what makes pure Python fast here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from node.protocol.arena import Arena

#: A UDP socket address: (host, port) as the socket module spells it for IPv4.
SocketAddress: TypeAlias = tuple[str, int]

#: The kernel's limits on one GSO send: segments, and bytes of UDP payload over IPv4.
MAX_SEGMENTS = 64
MAX_BURST_BYTES = 65_507


@dataclass(slots=True)
class Transmit:
    """One burst to send.

    ``buffer`` belongs to the core and is reused: send it (or copy it) before asking for the next.
    """

    #: Where to.
    destination: SocketAddress
    #: All datagrams, one after another.
    buffer: memoryview
    #: Bytes of each datagram but the last, which may be shorter.
    segment_size: int
    #: ECN codepoint for the IP header (0 = Not-ECT).
    ecn: int = 0

    @property
    def count(self) -> int:
        """Number of datagrams in the burst."""
        return -(-len(self.buffer) // self.segment_size)


@dataclass(slots=True)
class Burst:
    """One received burst: datagrams of ``segment_size`` bytes, the last one maybe shorter.

    ``buffer`` belongs to the driver, and is writable: the core may decrypt in place. It is valid
    only during the call it is passed to.
    """

    #: Who sent it.
    source: SocketAddress
    #: All datagrams, one after another.
    buffer: memoryview
    #: Bytes of each datagram but the last.
    segment_size: int
    #: ECN codepoint seen in the IP header.
    ecn: int = 0
    #: The arena whose beginning ``buffer`` is, if it is one: the views of every packet in it are then
    #: made once and for all, which is a fifth of the receiving time.
    arena: Arena | None = None
