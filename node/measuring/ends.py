"""The two ends of a link, and the place between them, as sockets that frames are sent and seen by."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from node.measuring.buffers import enlarge_receive_buffer
from node.measuring.frames import ETHERTYPE

_SO_TIMESTAMPNS = 35
#: A whole train of the largest frames waits here, with what the kernel adds to each.
_RECEIVE_BUFFER = 32 << 20
ETHERNET_BYTES = 14
LARGEST_FRAME = 65_600


@dataclass(slots=True)
class End:
    """One end of a link, as a prober needs it."""

    interface: str
    #: AF_PACKET sockets: bound to the interface for frames of probes, and not bound, for frames of all kinds
    #: and to send trains.
    packets: socket.socket
    everything: socket.socket
    trains: socket.socket
    #: A UDP socket of the node, to send bursts with; None: the node has no IPv4 address there.
    datagrams: socket.socket | None
    address: str
    mac: bytes
    mtu: int
    #: An AF_PACKET socket, not bound, and the interface where the link takes in what this end sends; None: it
    #: has no place of its own.
    passing: socket.socket | None = None
    passing_interface: str = ""

    def close(self) -> None:
        """Close all sockets."""
        for opened in (self.packets, self.everything, self.trains, self.datagrams, self.passing):
            if opened is not None:
                opened.close()


def open_end(interface: str, *, address: str, mac: bytes, mtu: int) -> End:
    """Return an end of a link; to be called inside the node's network namespace.

    Raises:
        OSError: a socket cannot be made, which needs CAP_NET_RAW.
    """
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    enlarge_receive_buffer(packets, _RECEIVE_BUFFER)
    packets.bind((interface, ETHERTYPE))
    packets.setblocking(False)
    datagrams = None
    if address:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((address, 0))
    return End(interface, packets, open_unbound(), open_unbound(), datagrams, address, mac, mtu)


def open_unbound() -> socket.socket:
    """Return a socket that sees and sends frames of this namespace once it is bound."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
