"""Checks INITIATION and RESPONSE (SPEC 3), and learns from them who is who."""

from __future__ import annotations

from dataclasses import dataclass, field

from node.dissectors.protection import crc32c
from node.dissectors.scapy_layer import INITIATION, SETUP_BYTES, VERSION, MalformedError, SetUp
from orchestrator.probes.wire.sightings import Datagram, address_bytes
from orchestrator.probes.wire.suspects import Suspects
from orchestrator.topology.plan import DeploymentPlan, NodePlan

#: The Noise messages of IK with an empty payload: e, s and es, ss; then e and ee, se, each with its tags.
_SMALLEST_NOISE = {INITIATION: 32 + 48 + 16, INITIATION + 1: 32 + 16}
_NAMES = {INITIATION: "INITIATION", INITIATION + 1: "RESPONSE"}


@dataclass(slots=True, eq=False)
class Attempt:
    """An end's set-up packets: all that carry its connection ID as their source."""

    source: NodePlan
    target: NodePlan
    #: The other end's ID: zero for an initiator.
    target_cid: bytes
    first: Datagram
    by_number: dict[int, Datagram] = field(default_factory=dict)


class SetUps:
    """All set-up packets of a run.

    Args:
        plan: whose nodes they must come from and go to.
        suspects: takes what is wrong.
    """

    def __init__(self, plan: DeploymentPlan, suspects: Suspects) -> None:
        self._suspects = suspects
        self._nodes = {node.address: node for node in plan.nodes}
        self._own = {
            node.address: {address_bytes(interface.ipv4) for interface in node.interfaces}
            for node in plan.nodes
        }
        #: Initiator's, and responder's attempts by source connection ID.
        self.initiations: dict[bytes, Attempt] = {}
        self.responses: dict[bytes, Attempt] = {}
        self.good: list[Datagram] = []

    def check(self, datagram: Datagram) -> None:
        """Check one packet; INITIATIONs first, since RESPONSEs refer to them."""
        problem = self._problem(datagram)
        if problem is not None:
            self._suspects.add(datagram, *problem)
            return
        self.good.append(datagram)

    def _problem(self, datagram: Datagram) -> tuple[str, str, str] | None:
        payload = bytes(datagram.payload)
        if len(payload) != SETUP_BYTES:
            return "3-1", f"a set-up packet of {len(payload)} bytes", f"{SETUP_BYTES}"
        computed = crc32c(payload[:-4])
        if computed != int.from_bytes(payload[-4:], "big"):
            return "3-2", f"CRC-32C 0x{payload[-4:].hex()}", f"0x{computed:08x}"
        try:
            packet = SetUp(payload)
        except MalformedError as error:
            return error.rule, str(error), "a whole packet"
        if packet.version != VERSION:
            return "3", f"version 0x{packet.version:08x}", f"0x{VERSION:08x}"
        if packet.noise_length < _SMALLEST_NOISE[packet.type]:
            expected = f"at least {_SMALLEST_NOISE[packet.type]}"
            return "3.1", f"a Noise message of {packet.noise_length} bytes", expected
        if any(packet.padding):
            return "3-1", "padding that is not zero", "zeros"
        return self._wrong_addresses(datagram, packet) or self._wrong_ids(datagram, packet)

    def _wrong_addresses(self, datagram: Datagram, packet: SetUp) -> tuple[str, str, str] | None:
        ends = (
            ("target", packet.target_address, datagram.destination),
            ("source", packet.source_address, datagram.source),
        )
        for end, address, ip in ends:
            node = self._nodes.get(address)
            if node is None:
                return "2-2", f"{end} address 0x{address:016x}", "a node of the plan"
            if ip not in self._own[address]:
                shown = ".".join(map(str, ip))
                return "2-1", f"{end} address of {node.name} with IP address {shown}", f"{node.ipv4}"
        return None

    def _wrong_ids(self, datagram: Datagram, packet: SetUp) -> tuple[str, str, str] | None:
        kind = _NAMES[packet.type]
        source_cid, target_cid = packet.source_cid.to_bytes(8, "big"), packet.target_cid.to_bytes(8, "big")
        if packet.type == INITIATION:
            attempts = self.initiations
            if packet.target_cid:
                return "3", f"target connection ID {target_cid.hex()} in INITIATION", "zero"
        else:
            attempts = self.responses
            asked = self.initiations.get(target_cid)
            if asked is None or asked.source.address != packet.target_address:
                return "3", f"RESPONSE to connection ID {target_cid.hex()}", "the ID of an INITIATION"
        attempt = attempts.get(source_cid)
        if attempt is None:
            nodes = self._nodes[packet.source_address], self._nodes[packet.target_address]
            attempt = attempts[source_cid] = Attempt(*nodes, target_cid, datagram)
        same = attempt.by_number.get(packet.packet_number)
        if same is not None and same.payload != datagram.payload:
            return "3-4", f"{kind} number {packet.packet_number} used for different bytes", "a new number"
        # SPEC 3-3: byte for byte but for packet number (37..40) and CRC.
        first = attempt.first.payload
        if first[:37] != datagram.payload[:37] or first[41:-4] != datagram.payload[41:-4]:
            return "3-3", f"a repeated {kind} that differs from the first", "the same but number and CRC"
        attempt.by_number[packet.packet_number] = datagram
        return None
