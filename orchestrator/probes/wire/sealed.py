"""Checks SEALED packets (SPEC 14): each stands for itself, and the nodes' static keys open it.

The keys are derived here from the plan's, not read from a key log: so the derivation is checked as well.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from node.dissectors.protection import TagError
from node.dissectors.sealed import (
    LARGEST_BYTES,
    SMALLEST_BYTES,
    SealedPacket,
    derive_key,
    fragment_problem,
    unseal,
)
from orchestrator.probes.wire.headers import address_bytes, address_text
from orchestrator.probes.wire.sightings import Datagram
from orchestrator.probes.wire.suspects import Suspects
from orchestrator.topology.plan import DeploymentPlan, NodePlan

_VERSION = 0x5354_5201


#: What opens proves: how the key is derived.
PROVEN = ("14.1-1",)


class SealedPackets:
    """All SEALED packets of a run.

    Args:
        plan: whose nodes they must come from and go to.
        suspects: takes what is wrong.
    """

    def __init__(self, plan: DeploymentPlan, suspects: Suspects) -> None:
        self._suspects = suspects
        self._nodes = {node.address: node for node in plan.nodes}
        self._secrets: dict[tuple[int, int], bytes] = {}
        self._keys: dict[tuple[int, int, bytes], bytes] = {}
        #: Payloads by source, target, epoch and number; fragment counts by the number of the first.
        self._packets: dict[tuple[int, int, bytes, int], Datagram] = {}
        self._counts: dict[tuple[int, int, bytes, int], int] = {}
        self.good: list[Datagram] = []

    def check(self, datagram: Datagram) -> None:
        """Check one packet."""
        size = len(datagram.payload)
        if not SMALLEST_BYTES <= size <= LARGEST_BYTES:
            expected = f"{SMALLEST_BYTES} to {LARGEST_BYTES}"
            self._suspects.add(datagram, "14-2", f"a SEALED packet of {size} bytes", expected)
            return
        packet = SealedPacket.of(datagram.payload)
        if packet.version != _VERSION:
            self._suspects.add(datagram, "14-1", f"version 0x{packet.version:08x}", f"0x{_VERSION:08x}")
            return
        problem = self._wrong_addresses(datagram, packet)
        if problem is not None:
            self._suspects.add(datagram, *problem)
            return
        try:
            index, count, data = unseal(datagram.payload, self._key(packet))
        except TagError as error:
            self._suspects.add(datagram, "14.1-2", str(error), "a right tag")
            return
        problem = self._wrong_number(datagram, packet) or self._wrong_fragment(packet, index, count, data)
        if problem is not None:
            self._suspects.add(datagram, *problem, intact=True)
            return
        self.good.append(datagram)

    def _wrong_addresses(self, datagram: Datagram, packet: SealedPacket) -> tuple[str, str, str] | None:
        ends = (
            ("target", packet.target_address, datagram.destination),
            ("source", packet.source_address, datagram.source),
        )
        for end, address, ip in ends:
            node = self._nodes.get(address)
            if node is None:
                return "2-4", f"{end} address 0x{address:016x}", "a node of the plan"
            if ip not in set(map(address_bytes, node.all_addresses)):
                shown = address_text(ip)
                return "2-4", f"{end} address of {node.name} with IP address {shown}", f"{node.host}"
        return None

    def _key(self, packet: SealedPacket) -> bytes:
        named = packet.source_address, packet.target_address, packet.epoch
        key = self._keys.get(named)
        if key is None:
            source, target = self._nodes[named[0]], self._nodes[named[1]]
            secret = self._secrets.get(named[:2])
            if secret is None:
                secret = self._secrets[named[:2]] = _shared(source, target)
            key = self._keys[named] = derive_key(secret, packet)
        return key

    def _wrong_number(self, datagram: Datagram, packet: SealedPacket) -> tuple[str, str, str] | None:
        key = (packet.source_address, packet.target_address, packet.epoch, packet.packet_number)
        earlier = self._packets.setdefault(key, datagram)
        if datagram.departures > 1:
            found = f"number {packet.packet_number} sent {datagram.departures} times"
            return "14-3", found, "a new number for each packet of an epoch"
        if earlier.payload == datagram.payload:
            return None
        found = f"number {packet.packet_number} used for different bytes (first in frame {earlier.frame})"
        return "14-3", found, "a new number for each packet of an epoch"

    def _wrong_fragment(
        self, packet: SealedPacket, index: int, count: int, data: bytes
    ) -> tuple[str, str, str] | None:
        problem = fragment_problem(index, count, len(data))
        if problem is not None:
            return "14.2-1", problem, "whole fragments, and at most 262144 bytes of them"
        first = packet.packet_number - index
        known = self._counts.setdefault(
            (packet.source_address, packet.target_address, packet.epoch, first), count
        )
        if first < 0 or known != count:
            return "14.2-2", f"fragment {index} of {count} as packet {packet.packet_number}", f"of {known}"
        return None


def _shared(source: NodePlan, target: NodePlan) -> bytes:
    private = X25519PrivateKey.from_private_bytes(source.private_key)
    return private.exchange(X25519PublicKey.from_public_bytes(target.public_key))
