"""The probe of bad packets: what it makes is bad, and a transfer beside it does not care."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from node.control.messages import Command
from node.protocol.time import SECOND
from orchestrator.backends.base import BACKENDS, Collected, Deployment
from orchestrator.errors import ProbeError
from orchestrator.probes.base import PROBES
from orchestrator.probes.malformed import RATE, MalformedProbe, payloads
from orchestrator.probes.wire import verify
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from tests.support.topologies import bulk, impaired, line_topology

#: At 4 Mbit/s the transfer takes longer than the ten seconds of bad packets.
SIZE = 5_500_000


def test_probe_is_registered() -> None:
    assert PROBES["malformed"] is MalformedProbe


def test_same_chance_makes_the_same_packets() -> None:
    first, second = (list(islice(payloads(Random(7), target=1, source=2), 50)) for _ in range(2))
    assert first == second
    assert Counter(payload[:1] for payload in first).keys() >= {b"\x41", b"\xc1", b"\xc2"}


def _run(plan: DeploymentPlan, directory: Path, *, probed: bool) -> tuple[int, Collected, int]:
    """Return how long the transfer took (ns), what was collected, and how many bad packets there were."""

    async def main() -> tuple[int, Collected, int]:
        backend = BACKENDS["simulation"]()
        deployment = await backend.deploy(plan, run_id="01234567", directory=directory, capture=True)
        try:
            await _start(deployment, plan)
            probe = asyncio.create_task(_probe(deployment, plan)) if probed else None
            ends = 0
            async for event in deployment.events():
                if event.kind == "flow_finished":
                    assert event.data["ok"]
                    ends += 1
                    if ends == 2:
                        break
            took = deployment.now()
            sent = 0 if probe is None else await probe
            return took, await deployment.collect(directory), sent
        finally:
            await deployment.destroy()

    return asyncio.run(asyncio.wait_for(main(), 240))


async def _start(deployment: Deployment, plan: DeploymentPlan) -> None:
    (flow,) = plan.workloads
    for node, role, peer in ((flow.target, "target", flow.source), (flow.source, "source", flow.target)):
        arguments = {
            "flow": flow.name,
            "workload": flow.kind,
            "role": role,
            "peer": peer,
            "options": flow.options,
            "transport": flow.transport,
        }
        reply = await deployment.request(node, Command("start_flow", arguments))
        assert reply.ok, reply.error


async def _probe(deployment: Deployment, plan: DeploymentPlan) -> int:
    endpoint = LinkEndpoint("r1", "eth2")
    result = await MalformedProbe().run(
        deployment, plan, endpoint=endpoint, duration=10 * SECOND, rng=Random(3)
    )
    assert result.passed
    return int(result.figures["frames_sent"])


@pytest.mark.slow
def test_ten_seconds_of_bad_packets_neither_stop_nor_slow_a_transfer(tmp_path: Path) -> None:
    hop = impaired(delay="5ms", rate="4Mbit", queue="100p")
    # The bad packets enter behind the slow link: they cost the transfer no room.
    plan = make_plan(line_topology(hop, impaired(delay="1ms"), flows=(bulk(SIZE),)))
    quiet, _, _ = _run(plan, tmp_path / "quiet", probed=False)
    took, collected, sent = _run(plan, tmp_path / "probed", probed=True)
    assert sent == 10 * RATE
    assert took < 1.01 * quiet
    report = verify(plan, collected)
    assert [str(violation) for violation in report.violations] == []
    # Equal ones (empty, or cut to a byte or two) are one datagram.
    assert 0.99 * sent < report.injected <= sent


def test_an_endpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    plan = make_plan(line_topology(impaired()))

    async def main() -> None:
        deployment = await BACKENDS["simulation"]().deploy(
            plan, run_id="01234567", directory=tmp_path, capture=False
        )
        try:
            await MalformedProbe().run(
                deployment, plan, endpoint=LinkEndpoint("a", "eth9"), duration=1, rng=Random(1)
            )
        finally:
            await deployment.destroy()

    with pytest.raises(ProbeError, match="there is no a:eth9"):
        asyncio.run(main())
