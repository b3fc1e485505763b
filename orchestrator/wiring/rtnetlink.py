"""Lines of ``ip`` obeyed by rtnetlink, in the namespace of the calling thread.

``ip -batch`` says the same to the kernel, but is a process for each namespace, which costs twenty times the
CPU of what it is started for. Only the forms of ``orchestrator.wiring.commands`` are understood; whatever
makes many things in one namespace, or one thing in many (``netns add``, ``link add … type veth``), is left
to ``ip``.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

from orchestrator.errors import BackendError

#: The words of one command, without the program.
Line = Sequence[str]

# linux/netlink.h
_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_ERROR, _HAS_EXPLANATION, _EXPLANATION = 2, 0x200, 1
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_HEADER = struct.Struct("=IHHII")
# linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h
_GETLINK, _IFLA_OPERSTATE, _OPERSTATE_UP = 18, 16, 6
_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE, _DELROUTE, _NEWNEIGH = 16, 17, 20, 24, 25, 28
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_INFO_KIND, _IFLA_INFO_DATA = 3, 10, 18, 1, 2
_IFA_ADDRESS, _IFA_LOCAL, _IFA_F_NODAD = 1, 2, 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _SCOPE_NOWHERE, _UNICAST = 254, 3, 0, 255, 1
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80
_IFF_UP = 1
#: Option of a bridge → its attribute and how it is packed.
_BRIDGE: Mapping[str, tuple[int, str]] = {
    "forward_delay": (1, "=I"),
    "ageing_time": (4, "=I"),
    "stp_state": (5, "=I"),
    "mcast_snooping": (23, "=B"),
}
#: An answer is a header, an error number, the head of the request and one sentence.
_ANSWER_BYTES = 8192
#: All that there is to say of an interface: two or three thousand.
_LINK_BYTES = 65536


def obey(lines: Sequence[Line], *, force: bool = False) -> None:
    """Do what ``ip`` does for each of these lines, in order, in the namespace that this thread is in.

    Args:
        lines: as ``orchestrator.wiring.commands`` writes them.
        force: go on after a failure, and raise nothing.

    Raises:
        BackendError: names the line that the kernel refused, and why.
    """
    if not lines:
        return
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as opened:
        opened.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        opened.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        for line in lines:
            try:
                problem = _told(opened, _FORMS[tuple(line[:2])](line[2:]))
            except OSError as error:
                problem = error.strerror or str(error)
            if problem and not force:
                raise BackendError(f"ip {' '.join(line)}: {problem}")


def is_operational(opened: socket.socket, interface: str) -> bool:
    """Return whether an interface of the socket's namespace is in the operational state UP.

    The flag RUNNING says so, too, while nothing is known of the state yet.

    Raises:
        BackendError: the kernel does not tell: there is no such interface.
    """
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
    body += _attribute(_IFLA_IFNAME, interface.encode() + b"\0")
    opened.send(_HEADER.pack(_HEADER.size + len(body), _GETLINK, _REQUEST, 1, 0) + body)
    answer = opened.recv(_LINK_BYTES)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise BackendError(f"interface {interface}: {os.strerror(-number)}")
    return dict(_attributes(answer[_HEADER.size + 16 :]))[_IFLA_OPERSTATE][0] == _OPERSTATE_UP


def _told(opened: socket.socket, message: tuple[int, int, bytes]) -> str:
    """Send one request (type, flags, body); return why the kernel refused it; empty: it did not."""
    kind, flags, body = message
    opened.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST | _ACK, 1, 0) + body)
    answer = opened.recv(_ANSWER_BYTES)
    _, kind, flags, _, _ = _HEADER.unpack_from(answer)
    assert kind == _ERROR, f"message {kind} in answer to a request that asks for nothing"
    (number,) = struct.unpack_from("=i", answer, _HEADER.size)
    if number == 0:
        return ""
    said = dict(_attributes(answer[2 * _HEADER.size + 4 :])) if flags & _HAS_EXPLANATION else {}
    why = said.get(_EXPLANATION, b"").rstrip(b"\0").decode("utf-8", "replace")
    return f"{os.strerror(-number)}{': ' if why else ''}{why}"


def _link_set(words: Line) -> tuple[int, int, bytes]:
    options = _options(words)
    attributes = _attribute(_IFLA_IFNAME, options["dev"].encode() + b"\0")
    if "master" in options:
        attributes += _attribute(_IFLA_MASTER, struct.pack("=I", socket.if_nametoindex(options["master"])))
    up = _IFF_UP if "up" in options else 0
    return _NEWLINK, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, up, up) + attributes


def _link_add(words: Line) -> tuple[int, int, bytes]:
    options = _options(words)
    assert options["type"] == "bridge", f"a {options['type']} is for `ip` to make"
    data = b"".join(
        _attribute(number, struct.pack(form, int(options[name])))
        for name, (number, form) in _BRIDGE.items()
        if name in options
    )
    info = _attribute(_IFLA_INFO_KIND, b"bridge\0") + _attribute(_IFLA_INFO_DATA, data)
    attributes = _attribute(_IFLA_IFNAME, options["name"].encode() + b"\0") + _attribute(_IFLA_LINKINFO, info)
    return _NEWLINK, _CREATE | _EXCLUSIVE, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0) + attributes


def _link_delete(words: Line) -> tuple[int, int, bytes]:
    name = _options(words)["dev"].encode() + b"\0"
    return _DELLINK, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, name)


def _address_add(words: Line) -> tuple[int, int, bytes]:
    address, options = ipaddress.ip_interface(words[0]), _options(words[1:])
    head = struct.pack(
        "=BBBBI",
        _family(address),
        address.network.prefixlen,
        _IFA_F_NODAD if "nodad" in options else 0,
        _SCOPE_UNIVERSE,
        socket.if_nametoindex(options["dev"]),
    )
    local = _attribute(_IFA_LOCAL, address.packed) + _attribute(_IFA_ADDRESS, address.packed)
    return _NEWADDR, _CREATE | _EXCLUSIVE, head + local


def _neighbour_replace(words: Line) -> tuple[int, int, bytes]:
    address, options = ipaddress.ip_address(words[0]), _options(words[1:])
    assert options["nud"] == "permanent"
    head = struct.pack(
        "=BxxxiHBB", _family(address), socket.if_nametoindex(options["dev"]), _NUD_PERMANENT, 0, 0
    )
    hardware = bytes.fromhex(options["lladdr"].replace(":", ""))
    return (
        _NEWNEIGH,
        _CREATE | _REPLACE,
        head + _attribute(_NDA_DST, address.packed) + _attribute(_NDA_LLADDR, hardware),
    )


def _route_replace(words: Line) -> tuple[int, int, bytes]:
    return _NEWROUTE, _CREATE | _REPLACE, _route(words, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _UNICAST)


def _route_delete(words: Line) -> tuple[int, int, bytes]:
    # Whoever set it, and of whatever type: only where it leads counts.
    return _DELROUTE, 0, _route(words, 0, _SCOPE_NOWHERE, 0)


def _route(words: Line, protocol: int, scope: int, kind: int) -> bytes:
    prefix, options = ipaddress.ip_network(words[0]), _options(words[1:])
    head = struct.pack(
        "=BBBBBBBBI", _family(prefix), prefix.prefixlen, 0, 0, _TABLE_MAIN, protocol, scope, kind, 0
    )
    return (
        head
        + (_attribute(_RTA_DST, prefix.network_address.packed) if prefix.prefixlen else b"")
        + _attribute(_RTA_GATEWAY, ipaddress.ip_address(options["via"]).packed)
        + _attribute(_RTA_OIF, struct.pack("=I", socket.if_nametoindex(options["dev"])))
    )


_FORMS: Mapping[tuple[str, ...], Callable[[Line], tuple[int, int, bytes]]] = {
    ("link", "set"): _link_set,
    ("link", "add"): _link_add,
    ("link", "delete"): _link_delete,
    ("address", "add"): _address_add,
    ("neigh", "replace"): _neighbour_replace,
    ("route", "replace"): _route_replace,
    ("route", "delete"): _route_delete,
}
_ALONE = frozenset(("up", "nodad"))


def _options(words: Line) -> dict[str, str]:
    """Return name → value; of a word that stands alone, the word itself."""
    found, rest = {}, iter(words)
    for word in rest:
        found[word] = word if word in _ALONE else next(rest)
    return found


def _family(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _attribute(number: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), number) + data + bytes(-len(data) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, number = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield number, data[4:length]
        data = data[(length + 3) & ~3 :]
