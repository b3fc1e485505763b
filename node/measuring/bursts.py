"""Whether bursts are split before a link sees them: by packets at the sender and on the link.

A node's kernel is handed several datagrams in one call (UDP GSO). It has to make a packet of each before the
link: netem draws once for what it sees as one, and would lose, delay or count all of them together.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

from node.measuring.ends import ETHERNET_BYTES, LARGEST_FRAME, End

#: Datagrams of a burst.
SEGMENTS = 8
#: How long after the last burst packets are waited for, s.
WAIT_SECONDS = 0.05
_UDP_SEGMENT = 103
#: The discard service: nobody answers there, and probes of the protocol look at other ports.
_DISCARD = 9
_ETH_P_ALL = 3
#: IEEE 802, the other EtherType for local experiments, which nobody sends. bind() takes 0 for what it was.
_UNUSED = 0x88B6
#: Offsets in an Ethernet frame of IPv4 without options: EtherType, protocol, UDP ports.
_ETHERTYPE, _PROTOCOL, _PORTS = slice(12, 14), 23, slice(34, 38)
_IPV4, _UDP = b"\x08\x00", 17
#: A socket and the interface that it is to see; None: nobody can look there.
Place = tuple[socket.socket | None, str]
#: A frame, and whether it went out where it was seen.
Seen = tuple[bool, bytes]


def send_burst(source: End, address: str) -> int | None:
    """Have the node of an end send a burst; return its UDP port; None: it has sent none.

    Nodes without IPv4 addresses do not, nor kernels without such bursts, which leave none whole.

    Args:
        address: of the link's other end.
    """
    if source.datagrams is None or not address:
        return None
    size = source.mtu - 28
    try:
        source.datagrams.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, size)
        source.datagrams.sendto(bytes(SEGMENTS * size), (address, _DISCARD))
    except OSError:
        return None
    return int(source.datagrams.getsockname()[1])


def watch(place: Place) -> None:
    """See all frames of a place from now on; waits for the kernel.

    Raises:
        OSError: the interface is gone.
    """
    opened, interface = place
    if opened is None:
        return
    opened.setblocking(False)
    for _ in _waiting(opened):
        pass  # of a burst before
    opened.bind((interface, _ETH_P_ALL))


def frames_seen(place: Place) -> list[Seen] | None:
    """Return the frames that a place has seen, and watch no more; waits for the kernel.

    Raises:
        OSError: the interface is gone.
    """
    opened, interface = place
    if opened is None:
        return None
    frames = list(_waiting(opened))
    # Nobody reads it from now on: frames of trains would cost a copy each, and fill it.
    opened.bind((interface, _UNUSED))
    return frames


def count_burst(frames: Sequence[Seen], port: int, *, outgoing: bool) -> int:
    """Return how many of the frames seen are of the burst from a UDP port."""
    ports = port.to_bytes(2, "big") + _DISCARD.to_bytes(2, "big")
    return sum(
        out == outgoing and frame[_ETHERTYPE] == _IPV4 and frame[_PROTOCOL] == _UDP and frame[_PORTS] == ports
        for out, frame in frames
    )


def count_oversize(frames: Sequence[Seen], mtu: int) -> int:
    """Return how many of the frames that came in are larger than the link's MTU."""
    return sum(not out and len(frame) > mtu + ETHERNET_BYTES for out, frame in frames)


def _waiting(opened: socket.socket) -> Iterator[Seen]:
    while True:
        try:
            frame, sender = opened.recvfrom(LARGEST_FRAME)
        except BlockingIOError:
            return
        yield sender[2] == socket.PACKET_OUTGOING, frame
