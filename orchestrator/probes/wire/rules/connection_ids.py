"""Connection IDs: used are those that the peer has issued and that were not retired (SPEC 13.1)."""

from __future__ import annotations

from typing import ClassVar

from node.dissectors.scapy_layer import NewConnectionId, RetireConnectionId
from orchestrator.probes.wire.ends import RULES, End, Packet, Rule

#: SPEC 13.1-1.
_MOST = 4


@RULES.register("connection-ids")
class ConnectionIds(Rule):
    """SPEC 13.1-1 to 13.1-5, as far as an end's own packets show it."""

    requirements: ClassVar[tuple[str, ...]] = ("13.1-1", "13.1-2", "13.1-3", "13.1-4")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        secrets = end.connection.secrets
        first = (secrets.responder_cid, secrets.initiator_cid)[end.index]
        #: The peer's IDs by what they are: sequence numbers; and which of them this end has retired.
        self._peers: dict[bytes, int] = {first: 0}
        self._retired: dict[int, int] = {}
        #: What this end has issued: sequence → ID and token.
        self._issued: dict[int, bytes] = {0: (secrets.initiator_cid, secrets.responder_cid)[end.index]}
        self._given_back: set[int] = set()
        limit = _MOST if end.peers is None else end.peers.get("active_connection_id_limit", 2)
        self._limit = min(_MOST, limit)

    def received(self, packet: Packet, at: int) -> None:
        """Take the IDs that the peer issues and retires."""
        for frame in packet.control:
            if isinstance(frame, NewConnectionId):
                self._peers.setdefault(frame.fields["connection_id"], frame.fields["sequence"])
            elif isinstance(frame, RetireConnectionId):
                self._given_back.add(frame.fields["sequence"])

    def rebuilt(self, packet: Packet, at: int) -> None:
        """Take what came by repair."""
        self.received(packet, at)

    def sent(self, packet: Packet) -> None:
        """Check the ID of a packet, and those that it issues."""
        if not packet.is_early:
            self._check_target(packet)
        for frame in packet.control:
            if isinstance(frame, NewConnectionId):
                self._issue(packet, frame)
            elif isinstance(frame, RetireConnectionId):
                self._retired.setdefault(frame.fields["sequence"], packet.number)

    def _check_target(self, packet: Packet) -> None:
        sequence = self._peers.get(packet.connection_id)
        if sequence is None:
            # Not in vain if frames came by repair: when they were rebuilt only the report tells.
            if not self.end.connection.flows[self.end.index].recovered:
                found = f"connection ID {packet.connection_id.hex()} before it came"
                self.violation(packet, "13.1-1", found, "one that the peer has issued")
        elif sequence in self._retired and self._retired[sequence] < packet.number:
            found = f"connection ID {packet.connection_id.hex()}, number {sequence}, which was retired"
            self.violation(packet, "13.1-1", found, "one that was not")

    def _issue(self, packet: Packet, frame: NewConnectionId) -> None:
        sequence, value = frame.fields["sequence"], frame.fields["connection_id"]
        known = self._issued.setdefault(sequence, value)
        if known != value or list(self._issued.values()).count(value) > 1:
            found = f"connection ID {value.hex()} under number {sequence}"
            self.violation(packet, "13.1-3", found, "one ID for each number, and one number for each ID")
        active = len(self._issued) - len(self._given_back & self._issued.keys())
        if active > self._limit:
            found = f"{active} connection IDs issued and not retired"
            self.violation(packet, "13.1-1", found, f"at most {self._limit}")
