"""Whether bursts are split before a link sees them: by packets at the sender and on the link.

A node's kernel is handed several datagrams in one call (UDP GSO). It has to make a packet of each before the
link: netem draws once for what it sees as one, and would lose, delay or count all of them together.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence

from node.measuring.ends import ETHERNET_BYTES, LARGEST_FRAME, End
from node.measuring.streams import Burst
from node.measuring.waiting import with_each

_UDP_SEGMENT = 103
#: The discard service: nobody answers there, and probes of the protocol look at other ports.
_DISCARD = 9
_SEGMENTS = 8
_WAIT_SECONDS = 0.05
_ETH_P_ALL = 3
#: IEEE 802, the other EtherType for local experiments, which nobody sends. bind() takes 0 for what it was.
_UNUSED = 0x88B6
#: Offsets in an Ethernet frame of IPv4 without options: EtherType, protocol, UDP ports.
_ETHERTYPE, _PROTOCOL, _PORTS = slice(12, 14), 23, slice(34, 38)
_IPV4, _UDP = b"\x08\x00", 17
#: A socket and the interface that it is to see; None: nobody can look there.
_Place = tuple[socket.socket | None, str]


def send_bursts(
    ends: Mapping[str, End], opposite: Mapping[str, str], senders: Sequence[str]
) -> dict[str, Burst]:
    """Have the node of each sender send a burst; return what was seen of it, by sender.

    Of nodes without IPv4 addresses, and kernels without such bursts, which leave none whole, it says nothing.

    Raises:
        OSError: a frame cannot be read.
    """
    watched = list(dict.fromkeys(name for sender in senders for name in (sender, opposite[sender])))
    places: list[_Place] = [(ends[name].everything, ends[name].interface) for name in watched]
    places += [(ends[name].passing, ends[name].passing_interface) for name in watched]
    with_each(_watch, places)
    sent = [sender for sender in senders if _send(ends[sender], ends[opposite[sender]])]
    time.sleep(_WAIT_SECONDS if sent else 0)
    seen = with_each(_read, places)
    at_nodes = dict(zip(watched, seen[: len(watched)], strict=True))
    on_links = dict(zip(watched, seen[len(watched) :], strict=True))
    found = {}
    for sender in sent:
        source, target = ends[sender], ends[opposite[sender]]
        assert source.datagrams is not None
        mark = _ports(source.datagrams.getsockname()[1])
        arrived = at_nodes[opposite[sender]] or []
        passed = on_links[sender]
        found[sender] = Burst(
            _SEGMENTS,
            at_sender=_count(at_nodes[sender] or [], mark, outgoing=True),
            on_link=None if passed is None else _count(passed, mark, outgoing=False),
            oversize=sum(not out and len(frame) > target.mtu + ETHERNET_BYTES for out, frame in arrived),
        )
    return found


def _send(source: End, target: End) -> bool:
    if source.datagrams is None or not target.address:
        return False
    size = source.mtu - 28
    try:
        source.datagrams.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, size)
        source.datagrams.sendto(bytes(_SEGMENTS * size), (target.address, _DISCARD))
    except OSError:
        return False
    return True


def _watch(place: _Place) -> None:
    opened, interface = place
    if opened is None:
        return
    opened.setblocking(False)
    for _ in _waiting(opened):
        pass  # of a burst before
    opened.bind((interface, _ETH_P_ALL))


def _read(place: _Place) -> list[tuple[bool, bytes]] | None:
    """Return the frames that a socket saw, each with whether it went out there, and watch no more."""
    opened, interface = place
    if opened is None:
        return None
    frames = list(_waiting(opened))
    # Nobody reads it from now on: frames of trains would cost a copy each, and fill it.
    opened.bind((interface, _UNUSED))
    return frames


def _waiting(opened: socket.socket) -> Iterator[tuple[bool, bytes]]:
    while True:
        try:
            frame, sender = opened.recvfrom(LARGEST_FRAME)
        except BlockingIOError:
            return
        yield sender[2] == socket.PACKET_OUTGOING, frame


def _count(frames: Sequence[tuple[bool, bytes]], ports: bytes, *, outgoing: bool) -> int:
    return sum(
        out == outgoing and frame[_ETHERTYPE] == _IPV4 and frame[_PROTOCOL] == _UDP and frame[_PORTS] == ports
        for out, frame in frames
    )


def _ports(source: int) -> bytes:
    return source.to_bytes(2, "big") + _DISCARD.to_bytes(2, "big")
