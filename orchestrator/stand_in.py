"""A stand-in for a node: it opens a connection to a real one, by frames on a link and the link's capture.

For probes that need a connection of their own, and the keys of it. It works wherever frames can be put on a
link and captures be read while they grow, on virtual time too; the answers go to a UDP port that nobody has.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.endpoint import Endpoint
from node.protocol.events import ConnectionEstablished
from node.protocol.identity import Identity, Peer
from node.protocol.time import Instant
from orchestrator.topology.plan import NodePlan


class StandIn:
    """One connection to a node, up to where its first stream has begun.

    Args:
        target: the node.
        integrity: profile of the connection.
        first: bytes that the first stream begins with.
        rng: all chance, keys included: it protects nothing.
        now: the lab's clock.
    """

    def __init__(self, target: NodePlan, *, integrity: str, first: bytes, rng: Random, now: Instant) -> None:
        self._keys: list[str] = []
        self._first = first
        self._source = target.host, target.port
        self._endpoint = Endpoint(
            Identity(rng.randbytes(32)),
            Configuration(integrity=integrity),
            rng=rng,
            key_log=self._keys.append,
        )
        self._connection = self._endpoint.connect(Peer(target.public_key, self._source), now=now)
        self._begun = False

    @property
    def ready(self) -> bool:
        """Whether the node has all that the first stream begins with."""
        return self._begun and not self._connection.closed and not self._connection.backlog(0)

    @property
    def sent(self) -> int:
        """Packets sent: the number of the next one is not below."""
        return self._connection.statistics().packets_sent

    def receive(self, payload: bytes, *, ecn: int, now: Instant) -> None:
        """Take a datagram of the node's."""
        buffer = memoryview(bytearray(payload))
        self._endpoint.receive(Burst(self._source, buffer, len(payload), ecn), now=now)
        while (item := self._endpoint.next_event()) is not None:
            if isinstance(item[1], ConnectionEstablished) and not self._begun:
                self._begun = True
                self._connection.write(self._connection.open_stream(), self._first)

    def datagrams_to_send(self, *, now: Instant) -> Iterator[bytes]:
        """Yield what is to be sent now."""
        due = self._endpoint.next_timeout()
        if due is not None and now >= due:
            self._endpoint.handle_timeout(now=now)
        while (transmit := self._endpoint.transmit(now=now)) is not None:
            for at in range(0, len(transmit.buffer), transmit.segment_size):
                yield bytes(transmit.buffer[at : at + transmit.segment_size])

    def keys(self) -> tuple[bytes, bytes]:
        """Return the connection ID that packets to the node carry, and the key that protects them."""
        words = next(line for line in self._keys if line.startswith("STRAIT_DATA ")).split()
        _, _, target, _, key, _ = words
        return bytes.fromhex(target), bytes.fromhex(key)
