"""Nodes that send each other connectionless datagrams; the test carries the packets by hand."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.endpoint import Endpoint
from node.protocol.events import DatagramReceived
from node.protocol.identity import Identity, Peer
from node.protocol.sealed.service import SealedSettings
from node.protocol.time import Instant
from node.protocol.trace import TraceEvent


class SealedNode:
    """One node: knows the peers it is told of; ``restart`` forgets everything else."""

    def __init__(self, name: str, *, epoch: int = 1, psk: bytes = b"") -> None:
        self.name = name
        self.identity = Identity(Random(name).randbytes(32))
        self.psk = psk
        self.peers: dict[int, Peer] = {}
        self.process: Callable[[], int] = lambda: 1
        self.rng: Random | None = None
        self.key_log: list[str] = []
        #: What was told of packets, and of datagrams that were dropped.
        self.trace: list[TraceEvent] = []
        self.restart(epoch=epoch)

    def restart(self, *, epoch: int) -> None:
        """Begin anew, as a process that has just been started."""
        settings = SealedSettings(self.peers.get, epoch, self.process)
        rng = self.rng or Random(f"{self.name}/{epoch}")
        self.endpoint = Endpoint(
            self.identity, Configuration(), rng=rng, key_log=self.key_log.append, sealed=settings,
            tracer_of=lambda connection_id, initiator: lambda now, event: self.trace.append(event),
        )  # fmt: skip

    def knows(self, *others: SealedNode) -> None:
        """Make other nodes peers of this one."""
        for other in others:
            self.peers[other.identity.address] = self.as_peer(other)

    def as_peer(self, other: SealedNode) -> Peer:
        """Return another node as this one knows it."""
        return Peer(other.identity.public_key, (other.name, 1), psk=self.psk)

    def send(self, other: SealedNode, data: bytes) -> list[bytes]:
        """Send a datagram and return its packets."""
        self.endpoint.send_datagram(self.as_peer(other), data)
        return self.packets()

    def packets(self) -> list[bytes]:
        """Return all packets that wait to be sent."""
        found = []
        while (transmit := self.endpoint.transmit(now=0)) is not None:
            buffer, size = transmit.buffer, transmit.segment_size
            found += [bytes(buffer[start : start + size]) for start in range(0, len(buffer), size)]
        return found

    def receive(self, *packets: bytes, now: Instant = 0) -> list[bytes]:
        """Take packets and return the datagrams that became whole."""
        for packet in packets:
            burst = Burst(("somewhere", 9), memoryview(bytearray(packet)), max(1, len(packet)))
            self.endpoint.receive(burst, now=now)
        return [event.data for event in self.events()]

    def events(self) -> list[DatagramReceived]:
        """Return the datagrams that came."""
        found = []
        while (event := self.endpoint.next_datagram()) is not None:
            found.append(event)
        return found

    @property
    def drops(self) -> dict[str, int]:
        """Packets dropped so far, by reason."""
        return self.endpoint.drops.counts


def acquainted(*, psk: bytes = b"") -> tuple[SealedNode, SealedNode]:
    """Return two nodes that know each other."""
    left, right = SealedNode("left", psk=psk), SealedNode("right", psk=psk)
    left.knows(right)
    right.knows(left)
    return left, right
