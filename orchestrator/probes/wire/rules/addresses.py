"""Paths: what may go to an address that is not validated, and what path frames go with (SPEC 13.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from node.dissectors.scapy_layer import PathChallenge, PathResponse
from orchestrator.probes.wire.ends import RULES, End, Packet, Rule

#: SPEC 13.2-3.
_FACTOR = 3
#: SPEC 13.2-2.
_PADDED = 1200
_PATH_FRAMES = {"PATH_CHALLENGE", "PATH_RESPONSE"}

Address = tuple[bytes, int]


@RULES.register("addresses")
class Addresses(Rule):
    """At most three times what came from an address goes there before it is validated."""

    requirements: ClassVar[tuple[str, ...]] = ("13.2-2", "13.2-3", "13.2-5", "9-1")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._validated: set[Address] = set(_of_handshake(end))
        self._came: dict[Address, int] = {}
        self._went: dict[Address, int] = {}
        #: Challenges of this end by data: where they went; those of the peer: where they came from.
        self._asked = _challenges(end)
        self._challenges: dict[bytes, set[Address]] = {}

    def received(self, packet: Packet, at: int) -> None:
        """Count it, and take answers."""
        datagram = packet.datagram
        source = datagram.arrived_from
        if not self._validated and not packet.is_early:
            self._validated.add(source)  # the address of the handshake
        self._came[source] = self._came.get(source, 0) + packet.size * max(1, datagram.arrivals)
        for frame in packet.control:
            if isinstance(frame, PathResponse):
                target = self._asked.get(frame.fields["data"])
                if target is not None:
                    self._validated.add(target)
            elif isinstance(frame, PathChallenge):
                self._challenges.setdefault(frame.fields["data"], set()).add(source)

    def sent(self, packet: Packet) -> None:
        """Check where it goes."""
        datagram = packet.datagram
        target: Address = datagram.destination, datagram.destination_port
        if not self._validated:
            self._validated.add(target)
        in_doubt = target not in self._validated
        names = packet.names()
        if names & _PATH_FRAMES:
            self._check_path_frames(packet, names, target, in_doubt=in_doubt)
        if not in_doubt:
            return
        went = self._went[target] = self._went.get(target, 0) + packet.size
        most = _FACTOR * self._came.get(target, 0)
        if went > most:
            found = f"{went} bytes to an address that is not validated"
            self.violation(packet, "13.2-3", found, f"at most {most}, three times what came from there")

    def _check_path_frames(
        self, packet: Packet, names: frozenset[str], target: Address, *, in_doubt: bool
    ) -> None:
        if names - _PATH_FRAMES:
            self.violation(
                packet, "13.2-2", f"{', '.join(sorted(names))} in one packet", "path frames and PADDING alone"
            )
        elif packet.size < _PADDED and not in_doubt and self.end.is_initiator:
            # Where a responder doubts an address, 13.2-3 may leave less: how much, only it knows.
            self.violation(packet, "13.2-2", f"a path frame in {packet.size} bytes", f"padded to {_PADDED}")
        for frame in packet.control:
            if isinstance(frame, PathResponse) and target not in self._challenges.get(
                frame.fields["data"], ()
            ):
                found = f"PATH_RESPONSE of {frame.fields['data'].hex()}, which was not asked from there"
                self.violation(packet, "13.2-2", found, "the data of a PATH_CHALLENGE, to where it came from")


def _challenges(end: End) -> dict[bytes, Address]:
    """Return where each challenge of an end went; at once: on a path without delay they cross answers."""
    found: dict[bytes, Address] = {}
    for packet in end.connection.flows[end.index].sent.values():
        for frame in packet.control:
            if isinstance(frame, PathChallenge):
                datagram = packet.datagram
                found[frame.fields["data"]] = datagram.destination, datagram.destination_port
    return found


def _of_handshake(end: End) -> Iterator[Address]:
    """Yield where the peer was during the handshake, which validates that (SPEC 13.2-3).

    For a responder that is where its RESPONSE went (SPEC 3-6, 3-10): INITIATION may come from elsewhere too.
    """
    connection = end.connection
    attempt = connection.initiation if end.is_initiator else connection.response
    for datagram in attempt.by_number.values() if attempt is not None else ():
        yield datagram.destination, datagram.destination_port
