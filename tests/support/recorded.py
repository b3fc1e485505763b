"""A pair of endpoints whose network is captured: the wire probe on two real ends, on virtual time."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from node.capture.pcapng import Direction, Writer
from node.protocol.configuration import Configuration
from node.protocol.datagrams import SocketAddress
from node.protocol.identity import Identity
from node.protocol.time import Instant
from orchestrator.backends.base import Collected
from orchestrator.probes.wire import WireReport, verify
from orchestrator.simulation.packet import Packet, to_frame
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.topology.planning import make_plan
from tests.support.pair import Carried, Fate, Pair

LAB = b"""
name: pair
topology:
  nodes: {left: {kind: host}, right: {kind: host}}
  links:
    - endpoints: ["left:eth1", "right:eth1"]
      netem: {corrupt: 1%}
    - endpoints: ["left:eth2", "right:eth2"]
workloads:
  - {name: file, kind: bulk, from: left, to: right, size: 1MB}
"""
#: Where the ends of pairs are, as plans have it: on every address of theirs.
_HOSTS = {"left": ("left", 0), "elsewhere": ("left", 1), "right": ("right", 0)}
_PORT = 4433
#: Virtual time of a capture begins here: the probe takes 0 for none nowhere, but people do.
_START = 1_000_000_000


@dataclass(slots=True)
class _Flight:
    """A datagram that was sent, and what came of it: (instant, bytes, codepoint)."""

    at: Instant
    source: SocketAddress
    destination: SocketAddress
    payload: bytes
    ecn: int
    from_left: bool
    arrived: list[tuple[Instant, bytes, int]] = field(default_factory=list)


class RecordedPair(Pair):
    """A pair that writes captures: ``report`` gives the wire probe's word on all that was sent so far.

    What is handed over merged could not be told apart, so nothing is.
    """

    def __init__(
        self, *, left: Configuration | None = None, right: Configuration | None = None,
        to_right: Fate | None = None, to_left: Fate | None = None, seed: int = 1, read: bool = True,
        coalesce: bool = False,
    ) -> None:  # fmt: skip
        self.flights: list[_Flight] = []
        self._flight_of: dict[int, _Flight] = {}
        super().__init__(left=left, right=right, to_right=to_right, to_left=to_left, seed=seed, read=read)
        self._identities = [Identity(Random(f"{seed}/{side}").randbytes(32)) for side in ("left", "right")]
        self._configurations = (left or Configuration(), right or Configuration())
        del coalesce

    def _launch(self, datagram: bytearray, from_left: bool) -> None:
        source = self.left_address if from_left else self.right_address
        flight = _Flight(
            self.now, source, self._launching.destination, bytes(datagram), self._launching.ecn, from_left
        )
        self.flights.append(flight)
        before = self._sequence
        super()._launch(datagram, from_left)
        for sequence in range(before + 1, self._sequence + 1):
            self._flight_of[sequence] = flight

    def _hand_over(self, first: Carried) -> None:
        flight = self._flight_of.pop(first.sequence)
        flight.arrived.append((self.now, bytes(first.data), first.ecn))
        super()._hand_over(first)

    def plan(self, *, corrupting: bool) -> DeploymentPlan:
        """Return the plan of a lab that is this pair.

        Args:
            corrupting: whether the network may damage what it carries.
        """
        lab = LAB if corrupting else LAB.replace(b"      netem: {corrupt: 1%}\n", b"")
        plan = make_plan(parse(lab, file="pair.lab.yml"))
        nodes = tuple(
            replace(
                node,
                private_key=identity.private_key,
                public_key=identity.public_key,
                address=identity.address,
                port=_PORT,
            )
            for node, identity in zip(plan.nodes, self._identities, strict=True)
        )
        # Ends may agree on any size.
        links = tuple(replace(link, mtu=65_535) for link in plan.links)
        first = {"initial_datagram_size": max(one.initial_datagram_size for one in self._configurations)}
        workloads = tuple(replace(flow, transport=first) for flow in plan.workloads)
        return replace(plan, nodes=nodes, links=links, workloads=workloads)

    def report(self, *, corrupting: bool = False) -> WireReport:
        """Return what the wire probe says."""
        plan = self.plan(corrupting=corrupting)
        with tempfile.TemporaryDirectory() as name:
            return verify(plan, self._collect(plan, Path(name)))

    def _collect(self, plan: DeploymentPlan, directory: Path) -> Collected:
        log = directory / "keys.log"
        log.write_text("".join(line + "\n" for line in self.key_log), encoding="ascii")
        captures = {}
        for link in plan.links:
            path = directory / f"{link.index}.pcapng"
            captures[link.name] = [path]
            writer = Writer.create(path)
            for end in (link.a, link.b):
                writer.add_interface(str(end))
            if link is plan.links[0]:
                self._write(writer, plan)
            writer.close()
        return Collected(captures=captures, key_logs=[log])

    def _write(self, writer: Writer, plan: DeploymentPlan) -> None:
        frames: list[tuple[Instant, int, int, Direction, bytes]] = []
        nodes = {node.name: node for node in plan.nodes}
        macs = [bytes.fromhex(nodes[name].interfaces[0].mac.replace(":", "")) for name in ("left", "right")]
        for index, flight in enumerate(self.flights):
            here, there = (0, 1) if flight.from_left else (1, 0)
            source, destination = (_where(address, nodes) for address in (flight.source, flight.destination))

            def framed(payload: bytes, ecn: int) -> bytes:
                packet = Packet(source, destination, payload, ecn=ecn)  # noqa: B023
                return to_frame(packet, macs[here], macs[there])  # noqa: B023

            frames.append((flight.at, index, here, Direction.INBOUND, framed(flight.payload, flight.ecn)))
            frames += [
                (at, index, there, Direction.OUTBOUND, framed(payload, ecn))
                for at, payload, ecn in flight.arrived
            ]
        # What comes at an instant comes before what it makes an end send.
        for at, _, interface, direction, frame in sorted(frames, key=lambda one: (one[0], one[1])):
            writer.write_packet(interface, _START + at, frame, direction=direction)


def _where(address: SocketAddress, nodes: dict[str, NodePlan]) -> SocketAddress:
    """Return the IP address and port of a plan for an address of a pair."""
    name, interface = _HOSTS[address[0]]
    ip = nodes[name].interfaces[interface].ipv4.partition("/")[0]
    return ip, _PORT if name == "right" else 40_000 + address[1]
