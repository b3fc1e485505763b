"""Bad packets: random bytes, cut and bit-flipped Strait packets, put on a link beside running flows.

A node must drop each without an answer (SPEC 1-2). The frames carry a DSCP of their own, so that the wire
probe tells them from what nodes send.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import ClassVar

from node.dissectors.protection import seal
from node.dissectors.scapy_layer import SETUP_KINDS, SUITES, VERSION, Ack, Data, Frames, SetUp, Stream
from orchestrator.backends.base import Deployment
from orchestrator.probes.base import PROBES, ProbeResult
from orchestrator.probes.sniffing import framed
from orchestrator.probes.ways import paced, targets
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan

#: Frames a second: enough to matter, and little beside a bulk flow.
RATE = 200
_MAX_PAYLOAD = 1400


def payloads(rng: Random, *, target: int = 0, source: int = 0) -> Iterator[bytes]:
    """Yield bad datagrams for ever, each kind as often as the others.

    Args:
        rng: all chance.
        target: node address that half-right set-up packets name as theirs.
        source: node address they come from.
    """
    kinds = (_random_bytes, _random_data, _cut, _flipped, _wrong_frames)
    while True:
        yield rng.choice(kinds)(rng, target, source)


def frames(
    rng: Random, *, source: tuple[str, str], destination: tuple[str, str], port: int, target: int, sender: int
) -> Iterator[bytes]:
    """Yield Ethernet frames with :func:`payloads` for ever.

    Args:
        rng: all chance.
        source: MAC and IP address they seem to come from.
        destination: MAC of the next hop, and IP address of the target.
        port: UDP port of both.
        target: node address of the target.
        sender: node address they seem to come from.
    """
    for payload in payloads(rng, target=target, source=sender):
        place = destination[1], port
        yield framed(payload, macs=(source[0], destination[0]), source=(source[1], port), destination=place)


@PROBES.register("malformed")
class MalformedProbe:
    """Sends bad packets from one end of a link to every other host."""

    name: ClassVar[str] = "malformed"

    async def run(
        self,
        deployment: Deployment,
        plan: DeploymentPlan,
        *,
        endpoint: LinkEndpoint,
        duration: int,
        rng: Random,
    ) -> ProbeResult:
        """Inject for ``duration`` ns; what the flows make of it is for the run's expectations to judge.

        Raises:
            ProbeError: the endpoint is not in the plan, or there is nobody to send to.
        """
        streams = [
            frames(
                rng,
                source=source,
                destination=destination,
                port=target.port,
                target=target.address,
                sender=plan.node(endpoint.node).address,
            )
            for source, destination, target in targets(plan, endpoint, probe=self.name)
        ]
        sent = 0
        async for turn in paced(deployment, duration, RATE):
            await deployment.inject(endpoint, next(streams[turn % len(streams)]))
            sent = turn + 1
        return ProbeResult(self.name, passed=True, figures={"frames_sent": sent})


def _random_bytes(rng: Random, _target: int, _source: int) -> bytes:
    return rng.randbytes(rng.randrange(_MAX_PAYLOAD))


def _random_data(rng: Random, _target: int, _source: int) -> bytes:
    return b"\x41" + rng.randbytes(rng.randrange(_MAX_PAYLOAD))


def _cut(rng: Random, target: int, source: int) -> bytes:
    whole = _setup(rng, target, source)
    return whole[: rng.randrange(len(whole))]


def _flipped(rng: Random, target: int, source: int) -> bytes:
    damaged = bytearray(_setup(rng, target, source))
    for _ in range(rng.randrange(1, 9)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _setup(rng: Random, target: int, source: int) -> bytes:
    """Return a set-up packet that is right but for its Noise message."""
    return bytes(
        SetUp(
            type=rng.choice(list(SETUP_KINDS)),
            version=rng.choice((VERSION, rng.getrandbits(32))),
            suite=rng.choice((*SUITES, rng.getrandbits(8))),
            target_address=target,
            source_address=source,
            source_cid=rng.getrandbits(64),
            packet_number=rng.getrandbits(32),
            cookie=rng.randbytes(rng.choice((0, 0, 16, 7))),
            noise=rng.randbytes(rng.randrange(200)),
        )
    )


def _wrong_frames(rng: Random, _target: int, _source: int) -> bytes:
    """Return a DATA packet that is right but for its connection ID and its frames' contents."""
    carried = Frames(
        frames=[
            Ack(largest=rng.getrandbits(30), first_range=rng.getrandbits(30)),
            Stream(stream_id=rng.getrandbits(61), offset=rng.getrandbits(61), data=rng.randbytes(100)),
        ]
    )
    header = bytes(Data(target_cid=rng.getrandbits(64), packet_number=rng.getrandbits(32)))
    return seal(rng.choice(("crc32c", "xor")), b"", header, bytes(carried), 0)
