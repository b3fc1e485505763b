"""What IPv4 and IPv6 sockets do differently: options, and how they write addresses.

The core knows an address as (host, port) in either family. The kernel adds flow and scope to those of IPv6;
the scope of a link-local address stands in the host as ``fe80::1%eth0``.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Protocol

from node.protocol.datagrams import SocketAddress

# Linux's numbers; the socket module does not name them.
_SO_NO_CHECK = 11
_IP_MTU_DISCOVER = 10
_IP_RECVTOS = 13
_IPV6_MTU_DISCOVER = 23
_UDP_NO_CHECK6_TX = 101
_UDP_NO_CHECK6_RX = 102
#: Set Don't Fragment, and take no MTU from ICMP (SPEC 13.4-5).
_PMTUDISC_PROBE = 3
#: The two ECN bits of TOS and of the traffic class.
ECN_MASK = 0x03
#: Control messages that carry them.
CODEPOINT_MESSAGES = frozenset(
    {(socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}
)
#: How an IPv6 socket writes an IPv4 address.
_MAPPED = "::ffff:"
#: Addresses whose writing is remembered; of more all are forgotten.
_MAX_NAMES = 1024


class AddressFamily(Protocol):
    """A family, to its sockets. Options that somebody asked for raise OSError where a kernel lacks them."""

    #: Whether the kernel writes addresses in another way than the core.
    translates: bool

    def leave_checksum_out(self, sock: socket.socket) -> None:
        """Send, and take, datagrams without UDP checksum."""
        ...

    def report_codepoints(self, sock: socket.socket) -> bool:
        """Tell the ECN codepoint with what is received; False: it cannot."""
        ...

    def mark(self, sock: socket.socket, codepoint: int) -> None:
        """Put an ECN codepoint on what is sent."""
        ...

    def forbid_fragments(self, sock: socket.socket) -> None:
        """SPEC 13.4-5, where the system allows it."""
        ...

    def take_both(self, sock: socket.socket, host: str) -> None:
        """Before binding: whether a socket for all addresses takes those of IPv4 too."""
        ...

    def name_of(self, address: Any) -> SocketAddress:
        """Return what the kernel gave as the core writes it."""
        ...

    def address_of(self, name: SocketAddress) -> SocketAddress:
        """Return what the core gave as the kernel takes it."""
        ...


class IPv4:
    """IPv4 sockets: the kernel writes addresses as the core does."""

    translates = False

    def leave_checksum_out(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)

    def report_codepoints(self, sock: socket.socket) -> bool:
        return _try(sock, socket.IPPROTO_IP, _IP_RECVTOS, 1)

    def mark(self, sock: socket.socket, codepoint: int) -> None:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, codepoint)

    def forbid_fragments(self, sock: socket.socket) -> None:
        _try(sock, socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)

    def take_both(self, sock: socket.socket, host: str) -> None:
        """There is nothing to take but IPv4."""

    def name_of(self, address: Any) -> SocketAddress:
        found: SocketAddress = address
        return found

    def address_of(self, name: SocketAddress) -> SocketAddress:
        return name


class IPv6:
    """IPv6 sockets, which carry IPv4 as well when they are bound to all addresses."""

    translates = True

    def __init__(self) -> None:
        self._names: dict[Any, SocketAddress] = {}
        self._both = False

    def leave_checksum_out(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_UDP, _UDP_NO_CHECK6_TX, 1)
        sock.setsockopt(socket.IPPROTO_UDP, _UDP_NO_CHECK6_RX, 1)

    def report_codepoints(self, sock: socket.socket) -> bool:
        _try(sock, socket.IPPROTO_IP, _IP_RECVTOS, 1)
        return _try(sock, socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)

    def mark(self, sock: socket.socket, codepoint: int) -> None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, codepoint)
        if self._both:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, codepoint)

    def forbid_fragments(self, sock: socket.socket) -> None:
        _try(sock, socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        _try(sock, socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)

    def take_both(self, sock: socket.socket, host: str) -> None:
        self._both = host == "::"
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not self._both)

    def name_of(self, address: Any) -> SocketAddress:
        found = self._names.get(address)
        if found is None:
            if len(self._names) >= _MAX_NAMES:
                self._names.clear()
            found = self._names[address] = _name(*address)
        return found

    def address_of(self, name: SocketAddress) -> SocketAddress:
        host, port = name
        return (_MAPPED + host, port) if self._both and ":" not in host else name


def address_family(family: socket.AddressFamily) -> AddressFamily:
    """Return what knows the sockets of a family."""
    return IPv6() if family is socket.AF_INET6 else IPv4()


def _name(host: str, port: int, flow: int, scope: int) -> SocketAddress:
    if host.startswith(_MAPPED):
        return host[len(_MAPPED) :], port
    host = host.partition("%")[0]
    if scope:
        with contextlib.suppress(OSError):  # the interface is gone
            return f"{host}%{socket.if_indextoname(scope)}", port
    return host, port


def _try(sock: socket.socket, level: int, option: int, value: int) -> bool:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True
