"""An attacker beside the path: forged sources, guessed connection IDs, replays, any type, version and size.

What it sends is well-formed as far as somebody can make it who holds no key: set-up packets with the right
CRC and node addresses, answers nobody asked for, resets, sealed datagrams, early data. A node may answer a
DATA packet of an unknown connection with a STATELESS_RESET, smaller than what it answers and at most 64 a
second (SPEC 4.3-3, 4.3-4), and an INITIATION of XX, which is in clear, with one RESPONSE of its size (SPEC
3.1-6). It answers nothing else, keeps at most 1024 of what nobody confirms (SPEC 3-5), and counts its drops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import ClassVar

from node.control.messages import Command
from node.dissectors.scapy_layer import (
    COMPLETION,
    EARLY,
    INITIATION,
    RESPONSE,
    RETRY,
    SUITES,
    VERSION,
    SetUp,
)
from node.dissectors.sealed import LARGEST_BYTES, SealedPacket
from orchestrator.backends.base import Deployment
from orchestrator.probes.base import PROBES, ProbeResult
from orchestrator.probes.sniffing import Answers, framed
from orchestrator.probes.ways import paced, targets
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, NodePlan

#: Frames a second.
RATE = 200
#: The largest UDP payload in an IP packet of 1500 bytes, IPv4 and IPv6.
_LARGEST, _LARGEST_IPV6 = 1472, 1452
#: SPEC 3-5.
_HALF_OPEN = 1024
#: So often the same packet is sent again.
_REPLAYS = 3


def payloads(rng: Random, *, target: NodePlan, sender: int) -> Iterator[bytes]:
    """Yield an attacker's datagrams for ever, each kind as often as the others.

    Args:
        rng: all chance.
        target: whom they are for.
        sender: node address that they claim to come from.
    """
    kinds: tuple[Callable[[Random, int, int], bytes], ...] = (
        *(_set_up_of(kind) for kind in (INITIATION, RESPONSE, COMPLETION, RETRY)),
        *(_data, _early, _reset, _sealed, _any_type, _any_version, _oversize, _truncated),
    )
    while True:
        payload = rng.choice(kinds)(rng, target.address, sender)
        for _ in range(rng.choice((1, _REPLAYS))):
            yield payload


@PROBES.register("spoofed")
class SpoofedProbe:
    """Sends what an off-path attacker can to every host with flows, and looks at what they make of it."""

    name: ClassVar[str] = "spoofed"

    async def run(
        self,
        deployment: Deployment,
        plan: DeploymentPlan,
        *,
        endpoint: LinkEndpoint,
        duration: int,
        rng: Random,
    ) -> ProbeResult:
        """Attack for ``duration`` ns; the verdict is on state, no connection may come of it, and on answers.

        Raises:
            ProbeError: the endpoint is not in the plan, or there is nobody to send to.
        """
        found = targets(plan, endpoint, probe=self.name)
        hosts = [node.host for node in plan.nodes if node.host]
        addresses = [node.address for node in plan.nodes]
        streams = [
            _frames(rng, macs=(source[0], hop[0]), hosts=hosts, senders=addresses, target=target)
            for source, hop, target in found
        ]
        answers = Answers(deployment, plan, probe=self.name)
        names = sorted({target.name for _, _, target in found})
        before = [await _status(deployment, name) for name in names]
        sent = 0
        async for turn in paced(deployment, duration, RATE):
            payload, source, target, frame = next(streams[turn % len(streams)])
            answers.sent(payload, source=source, target=target)
            await deployment.inject(endpoint, frame)
            sent = turn + 1
        bounded, figures, told = answers.count()
        after = [await _status(deployment, name) for name in names]
        flows = sum(name in (flow.source, flow.target) for flow in plan.workloads for name in names)
        connections = max((state[0] for state in after), default=0)
        dropped = sum(late[1] - early[1] for early, late in zip(before, after, strict=True))
        notes = tuple(
            f"{name} dropped {count} packets: {reason}"
            for name, early, late in zip(names, before, after, strict=True)
            for reason, count in sorted(late[2].items() - early[2].items())
        )
        return ProbeResult(
            self.name,
            passed=bounded and connections <= flows + _HALF_OPEN,
            figures=figures
            | {
                "frames_sent": sent,
                "packets_dropped_and_counted": dropped,
                "connections_most": connections,
            },
            notes=(*told, *notes),
        )


async def _status(deployment: Deployment, node: str) -> tuple[int, int, dict[str, int]]:
    """Return a node's connections, drops, and drops by reason."""
    reply = await deployment.request(node, Command("status"))
    drops = reply.data.get("drops", {})
    assert isinstance(drops, dict)
    counted = {str(reason): int(count) for reason, count in drops.items()}
    return int(str(reply.data.get("connections", 0))), sum(counted.values()), counted


def _frames(
    rng: Random, *, macs: tuple[str, str], hosts: list[str], senders: list[int], target: NodePlan
) -> Iterator[tuple[bytes, tuple[str, int], str, bytes]]:
    """Yield payload, forged source, target and frame: other nodes' addresses, and some that nobody has."""
    host = target.host
    near = "2001:db8::" if ":" in host else "192.0.2."
    others = [other for other in hosts if other != host and (":" in other) == (":" in host)]
    for whole in payloads(rng, target=target, sender=rng.choice(senders)):
        payload = whole[:_LARGEST_IPV6] if ":" in host else whole
        source = rng.choice([*others, f"{near}{rng.randrange(1, 255)}"])
        place = source, rng.choice((target.port, rng.randrange(1024, 65536)))
        yield payload, place, host, framed(payload, macs=macs, source=place, destination=(host, target.port))


def _set_up_of(kind: int) -> Callable[[Random, int, int], bytes]:
    def made(rng: Random, target: int, sender: int) -> bytes:
        answers = kind in (RESPONSE, COMPLETION, RETRY)
        return bytes(
            SetUp(
                type=kind,
                suite=rng.choice([suite for suite in SUITES if suite < 0x80]),
                target_address=target,
                source_address=sender,
                target_cid=rng.getrandbits(64) if answers else 0,
                source_cid=0 if kind == RETRY else rng.getrandbits(64),
                packet_number=rng.getrandbits(4),
                cookie=rng.randbytes(16) if kind == RETRY or rng.random() < 0.3 else b"",
                noise=b"" if kind == RETRY else rng.randbytes(rng.choice((32, 64, 96, 200, 400))),
            )
        )

    return made


def _data(rng: Random, _target: int, _sender: int) -> bytes:
    """A DATA packet of a guessed connection, shorter and longer than a reset."""
    return bytes((rng.choice((0x41, 0x45)),)) + rng.randbytes(rng.choice((12, 24, 25, 60, 1200)))


def _early(rng: Random, _target: int, _sender: int) -> bytes:
    return bytes((EARLY,)) + rng.randbytes(rng.randrange(12, 1200))


def _reset(rng: Random, _target: int, _sender: int) -> bytes:
    return b"\x42" + rng.randbytes(24)


def _sealed(rng: Random, target: int, sender: int) -> bytes:
    head = SealedPacket(target, sender, rng.randbytes(16), rng.getrandbits(20)).header()
    return head + rng.randbytes(rng.randrange(20, LARGEST_BYTES + 40 - len(head)))


def _any_type(rng: Random, _target: int, _sender: int) -> bytes:
    return bytes((rng.randrange(256),)) + rng.randbytes(rng.choice((0, 1, 8, 12, 13, 64, 1199)))


def _any_version(rng: Random, target: int, sender: int) -> bytes:
    packet = SetUp(type=INITIATION, version=rng.choice((0, 1, VERSION + 1, rng.getrandbits(32))))
    packet.target_address, packet.source_address, packet.source_cid = target, sender, rng.getrandbits(64)
    return bytes(packet)


def _oversize(rng: Random, target: int, sender: int) -> bytes:
    """A right beginning, and as much behind it as a frame takes."""
    return _set_up_of(rng.choice((INITIATION, RESPONSE)))(rng, target, sender).ljust(_LARGEST, b"\0")


def _truncated(rng: Random, target: int, sender: int) -> bytes:
    whole = rng.choice((_set_up_of(INITIATION), _sealed, _reset))(rng, target, sender)
    return whole[: rng.randrange(len(whole))]
