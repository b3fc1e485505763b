"""The two ends of a link, and the place between them, as sockets that frames are sent and seen by."""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from node.measuring.buffers import enlarge_receive_buffer, enlarge_send_buffer
from node.measuring.frames import ETHERTYPE, ETHERTYPE_BYTES, IP_PROTOCOL
from node.measuring.trains import Train

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")
#: A whole train of the largest frames waits here, with what the kernel adds to each.
_BUFFER = 32 << 20
ETHERNET_BYTES = 14
IPV4_BYTES = 20
LARGEST_FRAME = 65_600


@dataclass(slots=True)
class End:
    """One end of a link, as a prober needs it: frames go out and come in by AF_PACKET."""

    #: Whether the kernel stamps arrivals: else they are read as soon as they come, or the stamps are late.
    stamped: ClassVar[bool] = True
    #: Bytes of headers that the kernel adds to what is sent.
    added: ClassVar[int] = 0

    interface: str
    #: A socket for the frames of probes alone; and two AF_PACKET sockets that are not bound, for frames of
    #: all kinds and to send trains.
    packets: socket.socket
    everything: socket.socket
    trains: socket.socket
    #: A UDP socket of the node, to send bursts with; None: the node has no IPv4 address there.
    datagrams: socket.socket | None
    address: str
    #: MAC addresses of this end and of the link's other one.
    mac: bytes
    peer: bytes
    mtu: int
    #: An AF_PACKET socket, not bound, and the interface where the link takes in what this end sends; None: it
    #: has no place of its own.
    passing: socket.socket | None = None
    passing_interface: str = ""

    def send(self, frame: bytes) -> None:
        """Send a frame, which is lost if the sender's own interface has a queue that is full.

        Raises:
            OSError: it cannot be sent.
        """
        _hand_over(self.packets, frame)

    def receive(self) -> tuple[bytes, int] | None:
        """Return the next frame that has come, and when, ns; None: there is none.

        Raises:
            OSError: the interface is gone.
        """
        try:
            frame, extra, _, _ = self.packets.recvmsg(LARGEST_FRAME, socket.CMSG_SPACE(_TIMESPEC.size))
        except BlockingIOError:
            return None
        seconds, nanoseconds = _TIMESPEC.unpack(extra[0][2][: _TIMESPEC.size])
        return frame, seconds * 1_000_000_000 + nanoseconds

    def train(self, frames: Sequence[bytes]) -> Train:
        """Return a train of frames, ready to go from here."""
        return Train(self.trains, self.send, self.interface, frames)

    def close(self) -> None:
        """Close all sockets."""
        for opened in (self.packets, self.everything, self.trains, self.datagrams, self.passing):
            if opened is not None:
                opened.close()


@dataclass(slots=True)
class IpEnd(End):
    """One end whose frames are IP packets of a protocol for experiments, and so pass the node's netfilter.

    What shapes there (NFQUEUE in PREROUTING) takes IP packets, after the kernel has stamped them and before
    any packet socket could see them come out: so a raw IP socket takes them, and who reads stamps them.
    """

    stamped: ClassVar[bool] = False
    added: ClassVar[int] = IPV4_BYTES

    #: IPv4 address of the other end.
    peer_address: str = ""

    def send(self, frame: bytes) -> None:
        """Send what follows a frame's Ethernet header; the kernel puts headers before it."""
        _hand_over(self.packets, frame[ETHERNET_BYTES:], (self.peer_address, 0))

    def receive(self) -> tuple[bytes, int] | None:
        """Return the next one with the Ethernet header it was sent with, and when it was read, ns."""
        while True:
            try:
                packet, (source, *_) = self.packets.recvfrom(LARGEST_FRAME)
            except BlockingIOError:
                return None
            at = time.time_ns()
            if source == self.peer_address:
                break
        words = packet[0] & 0x0F
        return self.mac + self.peer + ETHERTYPE_BYTES + packet[4 * words :], at


def open_end(interface: str, *, address: str, mac: bytes, peer: bytes, mtu: int) -> End:
    """Return an end of a link; to be called inside the node's network namespace.

    Raises:
        OSError: a socket cannot be made, which needs CAP_NET_RAW.
    """
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    _enlarge(packets)
    packets.bind((interface, ETHERTYPE))
    datagrams = _open_datagrams(address)
    return End(interface, packets, open_unbound(), open_unbound(), datagrams, address, mac, peer, mtu)


def open_ip_end(
    interface: str, *, address: str, peer_address: str, mac: bytes, peer: bytes, mtu: int
) -> IpEnd:
    """Return an end of a link that sends and takes IP packets; both ends have IPv4 addresses.

    Raises:
        OSError: a socket cannot be made, which needs CAP_NET_RAW.
    """
    packets = socket.socket(socket.AF_INET, socket.SOCK_RAW, IP_PROTOCOL)
    _enlarge(packets)
    # Not bound to the interface: copies that a shaper makes come over the loopback. Nor connected: a packet
    # whose header is damaged may be answered by ICMP, which a connected socket takes for an error of its own.
    packets.bind((address, 0))
    return IpEnd(
        interface,
        packets,
        open_unbound(),
        open_unbound(),
        _open_datagrams(address),
        address,
        mac,
        peer,
        mtu,
        peer_address=peer_address,
    )


def open_unbound() -> socket.socket:
    """Return a socket that sees and sends frames of this namespace once it is bound."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)


def _open_datagrams(address: str) -> socket.socket | None:
    if not address:
        return None
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, 0))
    return datagrams


def _enlarge(packets: socket.socket) -> None:
    enlarge_receive_buffer(packets, _BUFFER)
    # Where a node shapes its own interface, frames count as the sender's as long as they are on the link.
    enlarge_send_buffer(packets, _BUFFER)
    packets.setblocking(False)


def _hand_over(opened: socket.socket, data: bytes, address: tuple[str, int] | None = None) -> None:
    while True:
        try:
            if address is None:
                opened.send(data)
            else:
                opened.sendto(data, address)
        except BlockingIOError:
            with selectors.DefaultSelector() as selector:
                selector.register(opened, selectors.EVENT_WRITE)
                selector.select()
        except OSError as error:
            # A full queue at the sender's own interface has dropped it, as any queue of the link would.
            if error.errno != errno.ENOBUFS:
                raise
            return
        else:
            return
