"""Checks DATA packets (SPEC 4 to 6) connection by connection."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from node.dissectors.protection import HEADER_BYTES, TAG_BYTES, Bytes, TagError, full_packet_number, opener
from node.dissectors.scapy_layer import (
    EARLY,
    MalformedError,
    NewConnectionId,
    Padding,
    Ping,
    ResetStream,
    StopSending,
)
from orchestrator.probes.wire.contents import Contents
from orchestrator.probes.wire.ends import Packet
from orchestrator.probes.wire.flow import Flow
from orchestrator.probes.wire.frames import AnyFrame, StreamFrame, read_frames
from orchestrator.probes.wire.headers import address_bytes, address_text
from orchestrator.probes.wire.key_log import Secrets
from orchestrator.probes.wire.phases import PhaseReader
from orchestrator.probes.wire.report import WireReport
from orchestrator.probes.wire.setups import Attempt, SetUps
from orchestrator.probes.wire.sightings import Datagram
from orchestrator.probes.wire.suspects import Suspects
from orchestrator.topology.plan import NodePlan

#: SPEC 3-3: what a responder may send for each byte received, before the initiator is validated.
MAX_AMPLIFICATION = 3
#: Packets whose tag is wrong that are looked into for frames in clear; damage makes many.
_MOST_UNOPENED = 1000
#: SPEC 15-3.
_EARLY_FRAMES = (StreamFrame, Padding, Ping, ResetStream, StopSending)


@dataclass(slots=True, eq=False)
class Connection:
    """One connection; index 0 is from initiator to responder, 1 is back."""

    secrets: Secrets
    initiation: Attempt | None
    response: Attempt | None
    completion: Attempt | None
    readers: tuple[PhaseReader, PhaseReader]
    flows: tuple[Flow, Flow] = field(default_factory=lambda: (Flow(), Flow()))
    #: When a STATELESS_RESET that counts came to each end, ns.
    reset_at: list[int | None] = field(default_factory=lambda: [None, None])
    #: Whether an end may remember the path of a connection before (SPEC 8-7).
    is_resumable: bool = False
    #: What looks at the bytes of each direction.
    watchers: tuple[Contents, Contents] = field(init=False)
    #: IP addresses of the initiator and of the responder; None: the handshake was not captured.
    addresses: tuple[frozenset[bytes], frozenset[bytes]] | None = field(init=False)

    def __post_init__(self) -> None:
        self.watchers = Contents(self.secrets), Contents(self.secrets)
        nodes = self.nodes(0)
        self.addresses = None if nodes is None else (_addresses(nodes[0]), _addresses(nodes[1]))

    @property
    def name(self) -> str:
        """Its initiator's connection ID."""
        return self.secrets.initiator_cid.hex()

    @property
    def began(self) -> int:
        """When its first INITIATION was sent; 0: that was not captured."""
        first = self.initiation.by_number.values() if self.initiation is not None else ()
        return min((datagram.at for datagram in first), default=0)

    @property
    def whole(self) -> bool:
        """Whether it was captured from its first packet on."""
        return self.initiation is not None and self.response is not None

    def nodes(self, direction: int) -> tuple[NodePlan, NodePlan] | None:
        """Return sender and receiver of a direction, if the handshake told them."""
        if self.initiation is None:
            return None
        ends = self.initiation.source, self.initiation.target
        return ends if direction == 0 else (ends[1], ends[0])


class Connections:
    """All connections of a run.

    Args:
        secrets: from the key logs.
        setups: what the set-up packets told.
        suspects: takes what is wrong.
        report: takes notes.
        used: connection IDs of all DATA packets: of several responses to one initiator, who was taken.
    """

    def __init__(
        self,
        secrets: dict[tuple[bytes, bytes], Secrets],
        setups: SetUps,
        suspects: Suspects,
        report: WireReport,
        used: Container[bytes],
    ) -> None:
        self._suspects = suspects
        self._report = report
        self._setups = setups
        self._keys_known = bool(secrets)
        self._by_cid: dict[bytes, tuple[Connection, int]] = {}
        self.all: list[Connection] = []
        self.good: list[Datagram] = []
        for (initiator_cid, responder_cid), found in secrets.items():
            first, second = (PhaseReader(found.profile, key) for key in found.keys)
            initiation = setups.initiations.get(initiator_cid)
            response = setups.responses.get(responder_cid)
            completion = setups.completions.get(initiator_cid)
            connection = Connection(found, initiation, response, completion, (first, second))
            self.all.append(connection)
            # SPEC 2-3: a packet carries its target's ID.
            self._by_cid[responder_cid] = connection, 0
            # A responder that has restarted, or a probe's replay of INITIATION, begins another.
            if initiator_cid not in self._by_cid or responder_cid in used:
                self._by_cid[initiator_cid] = connection, 1

    def find_resumable(self) -> None:
        """Find the connections whose nodes had one before: they may remember the path (SPEC 8-7)."""
        known: set[frozenset[str]] = set()
        begun = [one for one in self.all if one.initiation is not None and one.initiation.by_number]
        for connection in sorted(begun, key=lambda one: one.began):
            nodes = connection.nodes(0)
            assert nodes is not None
            pair = frozenset(node.name for node in nodes)
            connection.is_resumable = pair in known
            known.add(pair)

    def check(self, datagram: Datagram) -> None:
        """Check one DATA packet; to be called in order of time."""
        payload = datagram.payload
        if len(payload) <= HEADER_BYTES:
            self._suspects.add(
                datagram, "4", f"a DATA packet of {len(payload)} bytes", "header, frames and tag"
            )
            return
        found = self._by_cid.get(bytes(payload[1:9]))
        if found is None:
            self._unknown(datagram)
            return
        connection, direction = found
        is_early = payload[0] == EARLY
        if is_early:  # SPEC 15-3: it carries its sender's ID
            direction = 1 - direction
        if not self._fits(datagram, connection, direction):
            return
        flow = connection.flows[direction]
        size = TAG_BYTES[connection.secrets.profile]
        if len(payload) <= HEADER_BYTES + size:
            self._suspects.add(
                datagram, "4", f"a DATA packet of {len(payload)} bytes", f"a frame and {size} bytes of tag"
            )
            return
        number = full_packet_number(flow.largest, int.from_bytes(payload[9:HEADER_BYTES], "big"))
        if is_early and connection.secrets.early is None:
            self._report.note(f"no key log for the early data of connection {connection.name}")
            return
        try:
            clear = (
                _open_early(connection, payload, number)
                if is_early
                else (connection.readers[direction].open(payload, number))
            )
        except TagError as error:
            self._suspects.add(datagram, "4.1-4", str(error), f"a right tag ({connection.secrets.profile})")
            if size == TAG_BYTES["aead"] and len(flow.unopened) < _MOST_UNOPENED:
                flow.unopened.append(datagram)
            return
        self._take(datagram, clear, number, connection, direction)
        disorder = connection.readers[direction].disorder()
        if disorder is not None:
            self._suspects.add(datagram, "4.2-4", disorder, "numbers that rise with the phases", intact=True)

    def _take(
        self, datagram: Datagram, clear: bytes, number: int, connection: Connection, direction: int
    ) -> None:
        flow = connection.flows[direction]
        earlier = flow.packets.get(number)
        if earlier is not None:
            if earlier.payload != datagram.payload:
                found = f"packet number {number} used for different bytes (first in frame {earlier.frame})"
                self._suspects.add(datagram, "4-1", found, "a new number for each packet", intact=True)
                self._slipped(datagram, clear, number, connection, direction)
            return
        try:
            frames = read_frames(clear)
        except MalformedError as error:
            self._suspects.add(datagram, error.rule, str(error), "frames of section 5", intact=True)
            return
        if datagram.payload[0] == EARLY:
            self._check_early(datagram, frames)
        flow.packets[number] = datagram
        if number > flow.largest:
            flow.largest = number
        self.good.append(datagram)
        flow.take(datagram, frames, self._suspects)
        try:
            packet = Packet.of(datagram, number, connection.readers[direction].phase, frames)
        except MalformedError:  # the flow has reported it
            return
        flow.sent[number] = packet
        connection.watchers[direction].take(packet, clear, frames)
        for frame in packet.control:
            if isinstance(frame, NewConnectionId):  # SPEC 13.1: for packets that come back
                self._by_cid[frame.connection_id] = connection, 1 - direction

    def _check_early(self, datagram: Datagram, frames: list[AnyFrame]) -> None:
        odd = [frame.name for frame in frames if not isinstance(frame, _EARLY_FRAMES)]
        if odd:
            self._suspects.add(datagram, "15-3", f"{odd[0]} in an EARLY packet", "none", intact=True)

    def _slipped(
        self, datagram: Datagram, clear: bytes, number: int, connection: Connection, direction: int
    ) -> None:
        """Remember damage with a right tag: its target takes it for the packet."""
        try:
            packet = Packet.of(datagram, number, connection.readers[direction].phase, read_frames(clear))
        except MalformedError:
            return
        connection.flows[direction].slipped.append(packet)

    def opened_by_probe(self, connection: Connection) -> bool:
        """Return whether a probe opened a connection, so that half of it is not what a node sent."""
        return self._setups.opened_by_probe(connection.secrets.initiator_cid)

    def _unknown(self, datagram: Datagram) -> None:
        cid = bytes(datagram.payload[1:9])
        if cid in self._setups.initiations or cid in self._setups.responses or not self._keys_known:
            self._report.note(f"no key log for connection ID {cid.hex()}: its packets were not opened")
            return
        if not self._report.complete:
            self._report.note(f"connection ID {cid.hex()} was not seen to be issued: the capture has gaps")
            return
        self._suspects.add(datagram, "2-3", f"connection ID {cid.hex()}", "one of a connection of this run")

    def _fits(self, datagram: Datagram, connection: Connection, direction: int) -> bool:
        if connection.addresses is None:
            if self.opened_by_probe(connection):
                self._report.note("connections of probes: who sent what, and in what order, was not checked")
            else:
                self._report.note(f"the handshake of connection {connection.name} was not captured")
            return True
        initiator, responder = connection.addresses
        senders, receivers = (initiator, responder) if direction == 0 else (responder, initiator)
        if datagram.source in senders and datagram.destination in receivers:
            return True
        nodes = connection.nodes(direction)
        assert nodes is not None
        found = f"a packet from {_shown(datagram.source)} to {_shown(datagram.destination)}"
        self._suspects.add(datagram, "2-3", found, f"from {nodes[0].host} to {nodes[1].host}")
        return False


def _open_early(connection: Connection, payload: Bytes, number: int) -> bytes:
    assert connection.secrets.early is not None
    return bytes(opener(*connection.secrets.early)(payload, number))


def _addresses(node: NodePlan) -> frozenset[bytes]:
    return frozenset(map(address_bytes, node.all_addresses))


def _shown(address: bytes) -> str:
    return address_text(address)
