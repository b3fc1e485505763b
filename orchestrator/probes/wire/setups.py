"""Checks set-up packets (SPEC 3), and learns from them who is who."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from node.dissectors.protection import crc32c
from node.dissectors.scapy_layer import (
    COMPLETION,
    INITIATION,
    RESPONSE,
    RETRY,
    SETUP_KINDS,
    SUITES,
    VERSION,
    MalformedError,
    SetUp,
    setup_bytes,
)
from orchestrator.probes.wire.headers import address_bytes, address_text
from orchestrator.probes.wire.sightings import Datagram
from orchestrator.probes.wire.suspects import Suspects
from orchestrator.topology.plan import DeploymentPlan, NodePlan

#: The Noise messages of each pattern with an empty payload. IK: e, s and es, ss; then e and ee, se, each with
#: its tags. XX: e; then e, s and es; then s and se.
_SMALLEST_NOISE = {
    ("IK", INITIATION): 32 + 48 + 16,
    ("IK", RESPONSE): 32 + 16,
    ("XX", INITIATION): 32,
    ("XX", RESPONSE): 32 + 48 + 16,
    ("XX", COMPLETION): 48 + 16,
}
#: SPEC 3.3-3: what ML-KEM adds, key and ciphertext.
_HYBRID = 0x80
_KEM_BYTES = {INITIATION: 1184, RESPONSE: 1088 + 16, COMPLETION: 0}
#: Where the source connection ID of a set-up packet ends.
_CID_END = 38
_SIZES = {setup_bytes(kind, suite) for kind in SETUP_KINDS for suite in SUITES}


@dataclass(slots=True, eq=False)
class Attempt:
    """An end's set-up packets: all that carry its connection ID as their source."""

    source: NodePlan
    target: NodePlan
    #: The other end's ID: zero for an initiator.
    target_cid: bytes
    first: SetUp
    by_number: dict[int, Datagram] = field(default_factory=dict)


#: What else the checks of lengths are about.
PROVEN = ("3.3-4",)


class SetUps:
    """All set-up packets of a run.

    Args:
        plan: whose nodes they must come from and go to.
        suspects: takes what is wrong.
    """

    def __init__(self, plan: DeploymentPlan, suspects: Suspects) -> None:
        self._suspects = suspects
        self._nodes = {node.address: node for node in plan.nodes}
        self._own = {node.address: set(map(address_bytes, node.all_addresses)) for node in plan.nodes}
        #: Initiator's, and responder's attempts by source connection ID.
        self.initiations: dict[bytes, Attempt] = {}
        self.responses: dict[bytes, Attempt] = {}
        #: Third messages of initiators whose pattern has one.
        self.completions: dict[bytes, Attempt] = {}
        #: What RETRYs gave: (connection ID, cookie); and the INITIATIONs that brought one.
        self._given: set[tuple[bytes, bytes]] = set()
        self._brought: list[tuple[Datagram, bytes, bytes]] = []
        self.good: list[Datagram] = []
        #: INITIATIONs that a probe put on the wire, and answers to them, by connection ID.
        self._provoked: dict[int, int] = {}
        self._reactions: dict[int, int] = {}

    def check(self, datagram: Datagram) -> None:
        """Check one packet; INITIATIONs first, then RESPONSEs: each refers to those before."""
        problem = self._problem(datagram)
        if problem is not None:
            self._suspects.add(datagram, *problem)
            return
        self.good.append(datagram)

    @property
    def retried(self) -> set[bytes]:
        """Connection IDs of initiators that were asked for a cookie."""
        return {cid for cid, _ in self._given}

    def check_cookies(self) -> None:
        """Check, when all is there, that every cookie came from a RETRY."""
        for datagram, cid, cookie in self._brought:
            if (cid, cookie) not in self._given:
                found = f"cookie {cookie.hex()} of connection {cid.hex()}"
                self._suspects.add(datagram, "3.4-4", found, "what a RETRY gave", intact=True)

    def _problem(self, datagram: Datagram) -> tuple[str, str, str] | None:
        payload = bytes(datagram.payload)
        if len(payload) not in _SIZES:
            sizes = ", ".join(map(str, sorted(_SIZES)))
            return "3-1", f"a set-up packet of {len(payload)} bytes", f"one of {sizes}"
        computed = crc32c(payload[:-4])
        if computed != int.from_bytes(payload[-4:], "big"):
            return "3-2", f"CRC-32C 0x{payload[-4:].hex()}", f"0x{computed:08x}"
        try:
            packet = SetUp(payload)
        except MalformedError as error:
            return error.rule, str(error), "a whole packet"
        if packet.version != VERSION:
            return "3", f"version 0x{packet.version:08x}", f"0x{VERSION:08x}"
        if packet.suite not in SUITES:
            return "3.3", f"suite 0x{packet.suite:02x}", "one of section 3.3"
        wanted = setup_bytes(packet.type, packet.suite)
        if len(payload) != wanted:
            return "3-1", f"a set-up packet of {len(payload)} bytes", f"{wanted}"
        if self._is_provoked(datagram, packet):
            return self._wrong_reaction(packet)
        return (
            self._wrong_message(packet)
            or self._wrong_addresses(datagram, packet)
            or self._wrong_ids(datagram, packet)
        )

    def provoke(self, injected: Iterable[Datagram]) -> None:
        """Learn what a probe asked for: an answer to it goes where it claimed to be."""
        for datagram in injected:
            payload = datagram.payload
            if len(payload) >= _CID_END and payload[0] == INITIATION:
                cid = int.from_bytes(payload[_CID_END - 8 : _CID_END], "big")
                self._provoked[cid] = self._provoked.get(cid, 0) + max(datagram.approaches, datagram.arrivals)

    def opened_by_probe(self, connection_id: bytes) -> bool:
        """Return whether a connection was opened by frames of a probe, which is no node of the lab."""
        return (
            int.from_bytes(connection_id, "big") in self._provoked and connection_id not in self.initiations
        )

    def _is_provoked(self, datagram: Datagram, packet: SetUp) -> bool:
        """Return whether it answers a probe: of one that replays, whoever is not where the initiator is."""
        if packet.type not in (RESPONSE, RETRY) or packet.target_cid not in self._provoked:
            return False
        asked = self.initiations.get(packet.target_cid.to_bytes(8, "big"))
        return asked is None or (datagram.destination, datagram.destination_port) not in {
            (one.source, one.source_port) for one in asked.by_number.values()
        }

    def _wrong_reaction(self, packet: SetUp) -> tuple[str, str, str] | None:
        """SPEC 3-3, 3.4-1: one answer for each INITIATION, so never more bytes than came."""
        self._reactions[packet.target_cid] = count = self._reactions.get(packet.target_cid, 0) + 1
        asked = self._provoked[packet.target_cid]
        return ("3-3", f"{count} answers", f"one for each of {asked} INITIATIONs") if count > asked else None

    def _wrong_message(self, packet: SetUp) -> tuple[str, str, str] | None:
        if any(packet.padding):
            return "3-1", "padding that is not zero", "zeros"
        if packet.type == RETRY:
            if packet.noise_length or not packet.cookie_length:
                return (
                    "3-1",
                    f"RETRY with a message of {packet.noise_length} bytes",
                    "a cookie and no message",
                )
            return None
        if packet.cookie_length and packet.type != INITIATION:
            return "3.4-4", f"{SETUP_KINDS[packet.type]} with a cookie", "none"
        smallest = _SMALLEST_NOISE.get((SUITES[packet.suite][:2], packet.type))
        if smallest is None:
            return "3.1-5", f"COMPLETION of {SUITES[packet.suite]}", "of XX alone"
        smallest += _KEM_BYTES[packet.type] if packet.suite & _HYBRID else 0
        if packet.noise_length < smallest:
            return "3.1", f"a Noise message of {packet.noise_length} bytes", f"at least {smallest}"
        return None

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
                shown = address_text(ip)
                return "2-1", f"{end} address of {node.name} with IP address {shown}", f"{node.host}"
        return None

    def _wrong_ids(self, datagram: Datagram, packet: SetUp) -> tuple[str, str, str] | None:
        source_cid, target_cid = packet.source_cid.to_bytes(8, "big"), packet.target_cid.to_bytes(8, "big")
        if packet.type == RETRY:
            return self._wrong_retry(packet, target_cid)
        kind = SETUP_KINDS[packet.type]
        attempts, asked_by = {
            INITIATION: (self.initiations, None),
            RESPONSE: (self.responses, self.initiations),
            COMPLETION: (self.completions, self.responses),
        }[packet.type]
        if asked_by is None:
            if packet.target_cid:
                return "3", f"target connection ID {target_cid.hex()} in INITIATION", "zero"
        else:
            asked = asked_by.get(target_cid)
            if asked is None or asked.source.address != packet.target_address:
                return "3", f"{kind} to connection ID {target_cid.hex()}", "the ID of what it answers"
            if asked.first.suite != packet.suite:
                found = f"{kind} of suite 0x{packet.suite:02x}"
                return "3.3-2", found, f"0x{asked.first.suite:02x}, as asked for"
        attempt = attempts.get(source_cid)
        if attempt is None:
            nodes = self._nodes[packet.source_address], self._nodes[packet.target_address]
            attempt = attempts[source_cid] = Attempt(*nodes, target_cid, packet)
        # SPEC 3-4: an initiator's INITIATIONs and COMPLETIONs share their numbers.
        others = self.initiations.get(source_cid) if packet.type == COMPLETION else None
        for known in filter(None, (attempt, others)):
            same = known.by_number.get(packet.packet_number)
            if same is not None and same.payload != datagram.payload:
                return "3-4", f"{kind} number {packet.packet_number} used for different bytes", "a new number"
        if _lasting(attempt.first) != _lasting(packet):
            return "3-3", f"a repeated {kind} that differs from the first", "the same but number and CRC"
        attempt.by_number[packet.packet_number] = datagram
        if packet.cookie:
            self._brought.append((datagram, source_cid, packet.cookie))
        return None

    def _wrong_retry(self, packet: SetUp, target_cid: bytes) -> tuple[str, str, str] | None:
        asked = self.initiations.get(target_cid)
        if asked is None or asked.source.address != packet.target_address:
            return "3.4-1", f"RETRY to connection ID {target_cid.hex()}", "the ID of an INITIATION"
        if (
            packet.source_cid
            or packet.suite != asked.first.suite
            or packet.packet_number not in asked.by_number
        ):
            found = f"RETRY number {packet.packet_number} of suite 0x{packet.suite:02x}"
            return "3.4-1", found, "number and suite of an INITIATION, and no connection ID"
        self._given.add((target_cid, packet.cookie))
        return None


def _lasting(packet: SetUp) -> tuple[object, ...]:
    """What repetitions share (SPEC 3-3): all but packet number, cookie and CRC."""
    return packet.suite, packet.target_address, packet.source_address, packet.target_cid, packet.noise
