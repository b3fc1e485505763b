"""Makes a lab, runs its flows, and lets a probe act on it meanwhile; then says what all of it came to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random

from node.protocol.time import Duration
from orchestrator.errors import ProbeError
from orchestrator.experiment.conduct import Findings, run_flows
from orchestrator.experiment.files import stage_files
from orchestrator.experiment.flows import FlowTracker
from orchestrator.experiment.manifest import new_run_id
from orchestrator.experiment.selection import select_backend
from orchestrator.experiment.wire import UNCHECKED, check_wire
from orchestrator.probes.base import PROBES, ProbeResult
from orchestrator.results import WireResult, make_run_directory
from orchestrator.topology.model import LinkEndpoint, Topology
from orchestrator.topology.planning import make_plan


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found, and what became of the lab's flows and frames beside it."""

    result: ProbeResult
    backend: str
    directory: Path
    wire: WireResult
    #: Flows that did not end as they should, and why.
    failures: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the probe is content, the flows were not harmed, and no frame broke the protocol."""
        return self.result.passed and not self.failures and not self.wire.violations

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "version": 1,
            "passed": self.passed,
            **self.result.to_json(),
            "backend": self.backend,
            "directory": str(self.directory),
            "failures": list(self.failures),
            "wire": {
                "checked": self.wire.checked,
                "frames": self.wire.frames,
                "violations": self.wire.violations,
                "details": list(self.wire.details),
            },
            "lab_notes": list(self.notes),
        }


async def probe(
    topology: Topology,
    name: str,
    backend_name: str,
    *,
    directory: Path,
    endpoint: LinkEndpoint | None,
    duration: Duration,
    seed: int | None,
) -> Probed:
    """Run a probe beside the flows of a topology.

    Args:
        name: of the probe.
        directory: where the run's directory is made.
        endpoint: where on a link it acts; None: at the first end of the first link.
        duration: how long, in ns of the lab's clock.

    Raises:
        UnknownNameError: there is no such probe.
        ProbeError: it gives no verdict, or the topology has no link.
        TestbedError: the lab could not be made.
    """
    plan = make_plan(topology, seed=seed)
    kind = PROBES[name]
    if endpoint is None:
        if not plan.links:
            raise ProbeError(f"{plan.name} has no link to probe")
        endpoint = plan.links[0].a
    backend = select_backend(backend_name, plan)
    run_id = new_run_id()
    place = make_run_directory(directory, f"{plan.name}-{name}", run_id)
    virtual = backend.capabilities().virtual_time
    staged = await asyncio.to_thread(stage_files, plan, place, backend=backend, generate=not virtual)
    tracker, findings = FlowTracker(plan), Findings()
    deployment = await backend.deploy(staged.plan, run_id=run_id, directory=place, capture=True)
    try:
        flows = asyncio.create_task(
            run_flows(deployment, staged.plan, tracker, findings, virtual_time=virtual)
        )
        try:
            rng = Random(f"{plan.seed}/probe/{name}")
            result = await kind().run(deployment, plan, endpoint=endpoint, duration=duration, rng=rng)
            await flows
        finally:
            flows.cancel()
            await asyncio.gather(flows, return_exceptions=True)
        collected = await deployment.collect(place)
    finally:
        await deployment.destroy()
    try:
        found = await asyncio.to_thread(check_wire, plan, collected)
        wire, notes = found.wire, found.notes
    except ProbeError as error:
        wire, notes = UNCHECKED, (f"the captures could not be checked: {error}",)
    failures = [f"{flow.name}: {flow.error}" for flow in tracker.results() if not flow.completed]
    return Probed(
        result, backend.name, place, wire, (*findings.failures, *failures), (*findings.notes, *notes)
    )
