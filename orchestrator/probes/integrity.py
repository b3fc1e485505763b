"""How much damage each integrity profile misses: told by a real node that gets damaged packets (SPEC 4.1).

The probe opens a connection for each profile and kind of damage, as a target of a flow of its own, and sends
DATA packets that are right but for the damage, each with the next bytes of the flow's stream. No UDP checksum
is on them, so that nothing but the profile stands between damage and application. What was missed is what the
node says that it took and gave to the flow; what was found, what it says that it dropped for its tag. Beside
it the second reading of the format says of each packet what the node ought to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from node.control.messages import Command
from node.dissectors.protection import TagError, opener, seal
from node.dissectors.varint import encode_varint
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from node.workloads.flow import FlowHeader
from orchestrator.backends.base import Deployment
from orchestrator.errors import ProbeError
from orchestrator.probes.base import PROBES, ProbeResult
from orchestrator.probes.damages import DATA_BYTES, KINDS, PROFILES, Rate
from orchestrator.probes.sniffing import Sniffer, framed
from orchestrator.probes.ways import interface_at, paced, targets
from orchestrator.stand_in import StandIn
from orchestrator.topology.model import LinkEndpoint, NodeKind
from orchestrator.topology.plan import DeploymentPlan, NodePlan

#: Damaged packets a second, at most, and at most so much of the slowest link.
RATE, SHARE = 4_000, 0.2
#: Of a frame, about, with all headers.
_FRAME_BITS = 8 * 180
#: UDP ports of the probe, one for each connection, from here on: no node's, and below the ephemeral ones.
_PORTS = 20_000
#: Between the numbers of the handshake's packets and those of damaged ones.
_NUMBERS_APART = 10_000
#: What the flow announces: more than ever comes.
_ANNOUNCED = 1 << 40
_LOOK: Duration = 20 * MILLISECOND
#: After the last packet: looks at whether the node has judged all, a tenth of a second apart.
_LOOKS = 8
#: STREAM with no length: its data goes on to the end of the packet.
_STREAM = b"\x08" + encode_varint(0)


@dataclass(slots=True)
class Series:
    """Damaged packets of one kind, over one connection."""

    profile: str
    kind: str
    stand_in: StandIn
    frame: Callable[[bytes], bytes]
    #: Position in the stream of the next bytes, and number of the next packet.
    offset: int
    number: int = 0
    target_cid: bytes = b""
    key: bytes = b""
    check: Callable[[bytes, int], object] = field(default=lambda _packet, _number: None)
    sent: int = 0
    #: What the second reading expects the node to take, and bytes that these give to its flow.
    expected: int = 0
    expected_bytes: int = 0

    @property
    def name(self) -> str:
        """Name of its flow."""
        return f"integrity-{self.profile}-{self.kind}"

    def begin(self) -> None:
        """Take the keys of the connection, which is ready."""
        self.target_cid, self.key = self.stand_in.keys()
        self.check = opener(self.profile, self.key)
        self.number = self.stand_in.sent + _NUMBERS_APART

    def next_frame(self, rng: Random) -> bytes:
        """Return a frame with the next damaged packet."""
        header = b"\x41" + self.target_cid + self.number.to_bytes(4, "big")
        head = _STREAM + encode_varint(self.offset)
        packet = seal(self.profile, self.key, header, head + rng.randbytes(DATA_BYTES), self.number)
        begin = len(header) + len(head)
        damaged = bytearray(packet[begin:])
        while damaged == packet[begin:]:  # chance may change nothing
            KINDS[self.kind].damage(damaged, rng)
        whole = packet[:begin] + bytes(damaged)
        try:
            self.check(whole, self.number)
        except TagError:
            pass
        else:
            self.expected += 1
            taken = len(damaged) - (len(packet) - begin - DATA_BYTES)
            self.expected_bytes += taken
            self.offset += taken
        self.number += 1
        self.sent += 1
        return self.frame(whole)


@dataclass(frozen=True, slots=True)
class Told:
    """What a node says of a connection: packets that it took, and dropped for their tags; bytes given on."""

    taken: int
    refused: int
    delivered: int


@PROBES.register("integrity")
class IntegrityProbe:
    """Sends a node damaged packets of every kind; compares what each integrity profile misses with theory."""

    name: ClassVar[str] = "integrity"

    async def run(
        self,
        deployment: Deployment,
        plan: DeploymentPlan,
        *,
        endpoint: LinkEndpoint,
        duration: int,
        rng: Random,
    ) -> ProbeResult:
        """Send for ``duration`` ns: longer makes intervals narrower. The verdict is whether theory holds.

        Raises:
            ProbeError: the endpoint is not in the plan, there is no host to send to, or no capture to read.
        """
        began = deployment.now()
        sniffer = Sniffer(deployment, [interface_at(plan, endpoint, probe=self.name).link], probe=self.name)
        (mac, source), (hop, host), target = _target(plan, endpoint)
        series = [
            _series(
                target, number, profile, kind,
                macs=(mac, hop), hosts=(source, host), rng=rng, now=deployment.now(),
            )
            for number, (profile, kind) in enumerate((p, k) for p in PROFILES for k in KINDS)
        ]  # fmt: skip
        async with _flows(deployment, target.name, series):
            await _connect(deployment, endpoint, sniffer, series, until=began + duration // 2)
            ready = [one for one in series if one.stand_in.ready]
            for one in ready:
                one.begin()
            before = await _told(deployment, target.name, ready)
            left = max(0, began + duration - deployment.now())
            async for turn in paced(deployment, left if ready else 0, _rate(plan)):
                await deployment.inject(endpoint, ready[turn % len(ready)].next_frame(rng))
            after = await _settled(deployment, target.name, ready)
        return self._judge(plan, series, before, after)

    def _judge(
        self, plan: DeploymentPlan, series: list[Series], before: dict[str, Told], after: dict[str, Told]
    ) -> ProbeResult:
        rates, notes, differ = [], [], 0
        for one in series:
            early = before.get(one.name, Told(0, 0, 0))
            late = after.get(one.name, early)
            missed = late.taken - early.taken
            packets = missed + late.refused - early.refused
            rates.append(Rate(one.profile, one.kind, packets, missed))
            delivered = late.delivered - early.delivered
            if packets == one.sent and (missed, delivered) != (one.expected, one.expected_bytes):
                differ += 1
                notes.append(
                    f"{one.profile} {one.kind}: the node took {missed} packets with {delivered} bytes, "
                    f"by the format they are {one.expected} with {one.expected_bytes}"
                )
        sent, judged = sum(one.sent for one in series), sum(rate.packets for rate in rates)
        unmeasured = sum(not rate.packets for rate in rates)
        if unmeasured:
            notes.append(f"{unmeasured} of {len(rates)} were not measured: no connection, or nothing came")
        corrupting = any(link.forward.corrupt or link.reverse.corrupt for link in plan.links)
        if corrupting:
            notes.append("not judged: links of this lab damage packets too, which theory does not count")
        outside = sum(rate.verdict == "outside" for rate in rates)
        return ProbeResult(
            self.name,
            passed=not unmeasured and (corrupting or not (outside or differ)),
            figures={
                "damaged_packets_sent": float(sent),
                "damaged_packets_judged_by_the_node": float(judged),
                "damaged_packets_missed": float(sum(rate.missed for rate in rates)),
                "rates_outside_theory": float(outside),
            },
            notes=tuple(notes),
            table=tuple(rate.to_json() for rate in rates),
        )


def _target(
    plan: DeploymentPlan, endpoint: LinkEndpoint
) -> tuple[tuple[str, str], tuple[str, str], NodePlan]:
    for source, hop, node in targets(plan, endpoint, probe=IntegrityProbe.name):
        if node.kind is NodeKind.HOST:
            return source, hop, node
    raise ProbeError(f"integrity: no host to send to from {endpoint}")


def _series(
    target: NodePlan, number: int, profile: str, kind: str, *,
    macs: tuple[str, str], hosts: tuple[str, str], rng: Random, now: Instant,
) -> Series:  # fmt: skip
    first = FlowHeader(f"integrity-{profile}-{kind}", "bulk", {"size": _ANNOUNCED}).encode()
    stand_in = StandIn(target, integrity=profile, first=first, rng=rng, now=now)
    frame = _framer(macs, (hosts[0], _PORTS + number), (hosts[1], target.port))
    return Series(profile, kind, stand_in, frame, offset=len(first))


def _framer(
    macs: tuple[str, str], source: tuple[str, int], destination: tuple[str, int]
) -> Callable[[bytes], bytes]:
    """Return what puts datagrams into frames: headers are made once for each length, if nothing sums up."""
    heads: dict[int, bytes] = {}

    def frame(payload: bytes) -> bytes:
        if ":" in destination[0]:
            return framed(payload, macs=macs, source=source, destination=destination)
        size = len(payload)
        if size not in heads:
            heads[size] = framed(payload, macs=macs, source=source, destination=destination)[:-size]
        return heads[size] + payload

    return frame


@asynccontextmanager
async def _flows(deployment: Deployment, node: str, series: list[Series]) -> AsyncIterator[None]:
    """Have a node expect the flows of all series, and forget them afterwards."""
    expected = []
    try:
        for one in series:
            arguments = {"flow": one.name, "workload": "bulk", "role": "target"}
            reply = await deployment.request(node, Command("start_flow", arguments))
            if not reply.ok:
                raise ProbeError(f"integrity: {node} takes no flow: {reply.error}")
            expected.append(one.name)
        yield
    finally:
        for name in expected:
            await deployment.request(node, Command("stop_flow", {"flow": name}))


async def _connect(
    deployment: Deployment, endpoint: LinkEndpoint, sniffer: Sniffer, series: list[Series], *, until: Instant
) -> None:
    """Open all connections; those that are not open at ``until`` are not ready."""
    by_port = dict(enumerate(series, _PORTS))
    while deployment.now() < until and not all(one.stand_in.ready for one in series):
        for one in series:
            for datagram in one.stand_in.datagrams_to_send(now=deployment.now()):
                await deployment.inject(endpoint, one.frame(datagram))
        await deployment.sleep(_LOOK)
        for seen in sniffer.read():
            if (found := by_port.get(seen.destination_port)) is not None:
                found.stand_in.receive(seen.payload, ecn=seen.ecn, now=deployment.now())


async def _told(deployment: Deployment, node: str, series: list[Series]) -> dict[str, Told]:
    """Return what the node says of each flow's connection; of one that is over it says nothing."""
    told = {}
    for one in series:
        reply = await deployment.request(node, Command("statistics", {"flow": one.name}))
        for found in _connections(reply.data):
            told[one.name] = Told(
                int(str(found["packets_received"])),
                int(str(found["integrity_failures"])),
                int(str(found["stream_bytes_delivered"])),
            )
    return told


def _connections(data: object) -> Iterator[dict[str, object]]:
    connections = data.get("connections", []) if isinstance(data, dict) else []
    for connection in connections:
        yield connection["statistics"]


async def _settled(deployment: Deployment, node: str, series: list[Series]) -> dict[str, Told]:
    """Return what the node says once it has judged all that comes: when it says the same twice."""
    told = await _told(deployment, node, series)
    for _ in range(_LOOKS):
        await deployment.sleep(SECOND // 10)
        before, told = told, await _told(deployment, node, series)
        if told == before:
            break
    return told


def _rate(plan: DeploymentPlan) -> int:
    """Return how many packets a second leave room for the lab's flows on every link."""
    asked = [rate for link in plan.links for rate in (link.forward.rate, link.reverse.rate) if rate]
    return max(1, min([RATE, *(int(SHARE * rate / _FRAME_BITS) for rate in asked)]))
