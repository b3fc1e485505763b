"""Addresses and keys, all from the order of the file and the seed: the same file, the same lab."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orchestrator.errors import NotSupportedError
from orchestrator.topology.model import LinkEndpoint, Topology

#: Where every agent's socket listens.
PORT = 4433
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Space:
    """Where the links' subnets are taken from, for one version of IP: link i has the i-th."""

    family: int
    #: All of them; fixed, so that the same file is the same lab.
    network: IPv4Network | IPv6Network
    #: Length of a link's prefix.
    length: int
    #: The node itself, where it has no link at all.
    loopback: str

    @property
    def most(self) -> int:
        """Return how many links have room."""
        return int(2 ** (self.length - self.network.prefixlen))

    def subnet(self, link: int, bits: int = 0) -> str:
        """Return the prefix of 2 to the power ``bits`` links from ``link`` on."""
        return f"{self._address(link)}/{self.length - bits}"

    def end(self, link: int, position: int) -> str:
        """Return the address of the first or second (1, 2) end of a link."""
        return self._address(link, position)

    def _address(self, link: int, offset: int = 0) -> str:
        number = (
            int(self.network.network_address) + (link << self.network.max_prefixlen - self.length) + offset
        )
        return str(IPv4Address(number) if self.family == 4 else IPv6Address(number))


#: Version of IP → its space. Containers' management networks are elsewhere (172.16/12).
SPACES: dict[int, Space] = {
    4: Space(4, IPv4Network("10.0.0.0/8"), 30, "127.0.0.1"),
    # Unique local (RFC 4193); the five bytes after fd are "narro".
    6: Space(6, IPv6Network("fd6e:6172:726f::/48"), 64, "::1"),
}


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """What an interface is called on its link."""

    #: Version of IP → address, for those that cross the link.
    addresses: Mapping[int, str]
    #: Locally administered: ``02:…``.
    mac: str


def addresses(topology: Topology) -> dict[LinkEndpoint, InterfaceAddress]:
    """Return the addresses of each end of each link: link i has the i-th subnet of its version of IP.

    Raises:
        NotSupportedError: there are more links than subnets.
    """
    found: dict[LinkEndpoint, InterfaceAddress] = {}
    for index, link in enumerate(topology.links):
        spaces = [SPACES[family] for family in link.ip.families]
        for space in spaces:
            if index >= space.most:
                raise NotSupportedError(
                    f"{len(topology.links):,} links; IPv{space.family} has room for {space.most:,}"
                )
        for position, end in enumerate((link.a, link.b), start=1):
            own = {space.family: space.end(index, position) for space in spaces}
            found[end] = InterfaceAddress(own, _mac(index, position))
    return found


def private_key(seed: int, node: str) -> bytes:
    """Return 32 bytes of X25519 private key: HKDF-SHA256 of seed and name.

    Lab keys protect nothing outside a lab: whoever has the topology file has them.
    """
    return _derive(seed, b"narrows lab key", node)


def pre_shared_key(seed: int, source: str, target: str) -> bytes:
    """Return the 32 bytes of secret that a flow's two nodes share; made of both names as keys are of one."""
    return _derive(seed, b"narrows lab pre-shared key", " ".join(sorted((source, target))))


def _derive(seed: int, purpose: bytes, name: str) -> bytes:
    material = hashlib.sha256(f"narrows lab seed {seed}".encode()).digest()
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=purpose, info=name.encode()).derive(material)


def _mac(link: int, position: int) -> str:
    octets = (0x02, *link.to_bytes(4, "big"), position)
    return ":".join(f"{octet:02x}" for octet in octets)
