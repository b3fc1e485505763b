"""What a mutant is: a real node with one thing broken, and what it has to do for that to show."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.datagrams import Transmit
from node.protocol.endpoint import Endpoint
from node.protocol.errors import LocalProtocolError
from node.protocol.time import MILLISECOND, SECOND
from node.registry import Registry
from orchestrator.probes.wire import WireReport
from tests.support.pair import Fate, hostile
from tests.support.recorded import RecordedPair


class Mutant:
    """A pair whose one end is wrong: ``break_node`` or ``break_connection`` makes it so.

    Without either it is right, and must pass.
    """

    #: The requirements of SPEC.md that it breaks; the probe names one of them.
    breaks: ClassVar[tuple[str, ...]]
    left: ClassVar[Configuration] = Configuration()
    right: ClassVar[Configuration] = Configuration()
    #: How many connections its pair has.
    connections: ClassVar[int] = 1
    #: What the network does, either way.
    network: ClassVar[Fate] = staticmethod(hostile(loss=0.02, duplicate=0.02, reorder=0.1))
    #: Whether this run is of the mutant, not of the right node that it was made of.
    broken: bool

    def break_node(self, pair: RecordedPair) -> None:
        """Break an end before it connects."""

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Break the initiator's connection when it is established."""

    def work(self, pair: RecordedPair) -> None:
        """Do what makes it show: by default data both ways, then CLOSE."""
        write(pair, 120_000, 30_000)
        write_back(pair, 60_000)
        pair.run_for(8 * SECOND)

    def run(self, seed: int, *, broken: bool = True) -> WireReport:
        """Run it; ``broken`` off: as the right node that it was made of."""
        self.broken = broken
        network = type(self).network
        pair = RecordedPair(left=self.left, right=self.right, to_right=network, to_left=network, seed=seed)
        if broken:
            self.break_node(pair)
        self.connect(pair)
        if broken:
            self.break_connection(pair, pair.connection)
        self.work(pair)
        if not pair.connection.closed:
            pair.connection.close(now=pair.now)
            pair.drain()
        pair.run_for(2 * SECOND)
        return pair.report()

    def connect(self, pair: RecordedPair) -> None:
        """Set the connection up."""
        pair.established()
        pair.run_for(50 * MILLISECOND)


MUTANTS: Registry[type[Mutant]] = Registry("mutant", "tests.mutants")


def write(pair: RecordedPair, *sizes: int) -> list[int]:
    """Send streams of these sizes from left to right, and return them."""
    made = []
    for size in sizes:
        if pair.connection.closed:
            break
        stream = pair.connection.open_stream()
        pair.connection.write(stream, Random(size).randbytes(size), end=True)
        made.append(stream)
    pair.drain()
    return made


def write_back(pair: RecordedPair, size: int) -> None:
    """Send a stream from right to left."""
    assert pair.accepted is not None
    try:
        stream = pair.accepted.open_stream()
        pair.accepted.write(stream, Random(size).randbytes(size), end=True)
    except LocalProtocolError:
        return  # it has closed already
    pair.drain()


def rewrite(endpoint: Endpoint, change: Callable[[bytes], list[bytes]]) -> None:
    """Have an end send what ``change`` makes of each of its datagrams."""
    transmit, waiting = endpoint.transmit, list[Transmit]()

    def changed(*, now: int) -> Transmit | None:
        if not waiting:
            found = transmit(now=now)
            if found is None:
                return None
            for start in range(0, len(found.buffer), found.segment_size):
                datagram = bytes(found.buffer[start : start + found.segment_size])
                waiting.extend(
                    Transmit(found.destination, memoryview(bytearray(made)), len(made), found.ecn)
                    for made in change(datagram)
                )
            if not waiting:
                return changed(now=now)
        return waiting.pop(0)

    endpoint.transmit = changed  # type: ignore[method-assign]
