"""Addresses and keys, all from the order of the file and the seed: the same file, the same lab."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orchestrator.topology.model import LinkEndpoint, Topology

#: Where the links' subnets are taken from. Containers' management networks are elsewhere (172.16/12).
SUBNETS = IPv4Network("10.0.0.0/8")
PREFIX_LENGTH = 30
MAX_LINKS = 2 ** (PREFIX_LENGTH - SUBNETS.prefixlen)
#: Where every agent's socket listens.
PORT = 4433
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """What an interface is called on its link."""

    ipv4: IPv4Address
    subnet: IPv4Network
    #: Locally administered: ``02:…``.
    mac: str


def addresses(topology: Topology) -> dict[LinkEndpoint, InterfaceAddress]:
    """Return the address of each end of each link: link i has the i-th /30 of 10.0.0.0/8."""
    assert len(topology.links) <= MAX_LINKS, "more links than subnets"
    found: dict[LinkEndpoint, InterfaceAddress] = {}
    for index, link in enumerate(topology.links):
        base = int(SUBNETS.network_address) + index * 2 ** (32 - PREFIX_LENGTH)
        subnet = IPv4Network((base, PREFIX_LENGTH))
        for position, end in enumerate((link.a, link.b), start=1):
            found[end] = InterfaceAddress(IPv4Address(base + position), subnet, _mac(index, position))
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
