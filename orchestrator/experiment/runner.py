"""One experiment on any back end: deploy, run the flows, collect, destroy, check, judge.

Whatever happens between deploy and destroy, destroy is called: on errors, on Ctrl-C, on a node's
crash. A run that could be started ends with a result; what went wrong is in its reasons.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from node.transports.base import STRAIT
from orchestrator.backends.base import Backend, Collected, Counting, Deployment, Impairment
from orchestrator.errors import TestbedError
from orchestrator.experiment.calibration import calibrate as calibrate_links
from orchestrator.experiment.conduct import TROUBLE, Findings, run_flows
from orchestrator.experiment.damage import corrupted_bytes
from orchestrator.experiment.expectations import Counters, judge, judgeable, needs_counters
from orchestrator.experiment.files import (
    Staged,
    check_received,
    check_several,
    keep_files,
    received_file,
    stage_files,
)
from orchestrator.experiment.flows import FlowTracker
from orchestrator.experiment.kept import keep_run
from orchestrator.experiment.lasting import check_can_last, deploy_lasting, leave
from orchestrator.experiment.manifest import make_manifest, new_run_id, started_at
from orchestrator.experiment.progress import Observer, Phase, Progress, ignore
from orchestrator.experiment.selection import select_backend
from orchestrator.experiment.shaper_notes import shaper_notes
from orchestrator.experiment.wire import WireFindings, check_wire
from orchestrator.results import CalibrationResult, FlowResult, RunResult, WireResult, make_run_directory
from orchestrator.topology.calibrating import Calibrate
from orchestrator.topology.model import Expectation, Topology
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan

_log = logging.getLogger(__name__)


async def run(
    topology: Topology,
    backend_name: str = "auto",
    *,
    directory: Path = Path("results"),
    seed: int | None = None,
    capture: bool = True,
    qlog: bool | None = None,
    keep: bool = False,
    calibrate: Calibrate | None = None,
    judge_aggregates: bool = True,
    on_progress: Observer = ignore,
) -> RunResult:
    """Run a topology and return its result, which has been written to the run's directory too.

    Args:
        backend_name: a registered back end, or ``auto``: the most real one that can run here.
        directory: the results directory; the run makes its own below it.
        seed: takes the place of the topology's own.
        capture: whether every link is captured and every frame checked.
        qlog: whether the nodes trace their connections; None: as the topology says.
        keep: leave the lab up.
        calibrate: how the links are measured first, whatever the topology says; None: as it says.
        judge_aggregates: judge expectations about all runs, by this one; False: it is one of several.
        on_progress: called with each new snapshot.

    Raises:
        EnvironmentMissingError: this machine lacks what the back end needs.
        NotSupportedError: the back end cannot do what the topology asks.
        BackendError: the lab could not be made.
        ResultsError: the results cannot be written.
    """
    plan = make_plan(topology, seed=seed, qlog=qlog)
    backend = select_backend(backend_name, plan)
    return await run_plan(
        plan,
        backend,
        directory=directory,
        capture=capture,
        keep=keep,
        calibrate=calibrate or topology.calibrate,
        judge_aggregates=judge_aggregates,
        on_progress=on_progress,
    )


async def run_plan(
    plan: DeploymentPlan,
    backend: Backend,
    *,
    directory: Path,
    capture: bool = True,
    keep: bool = False,
    calibrate: Calibrate | None = None,
    judge_aggregates: bool = True,
    on_progress: Observer = ignore,
) -> RunResult:
    """Run a plan on a back end that can do it; arguments and errors as of ``run``.

    ``calibrate``: None measures links that are real, and tells of those that are not as asked.
    """
    if keep:
        check_can_last(backend)
    run_id = new_run_id()
    place = make_run_directory(directory, plan.name, run_id)
    if calibrate is None:
        calibrate = Calibrate.OFF if backend.capabilities().virtual_time else Calibrate.WARN
    experiment = _Experiment(
        plan,
        backend,
        run_id,
        place,
        on_progress,
        capture=capture,
        calibrate=calibrate,
        judge_aggregates=judge_aggregates,
    )
    result = await experiment.run(keep=keep)
    result.write()
    return result


class _Experiment:
    """One run, from deploy to result."""

    def __init__(
        self,
        plan: DeploymentPlan,
        backend: Backend,
        run_id: str,
        directory: Path,
        observer: Observer,
        *,
        capture: bool,
        calibrate: Calibrate,
        judge_aggregates: bool,
    ) -> None:
        self._plan = plan
        #: The same, but its files are where agents may read them.
        self._staged = Staged(plan, {})
        self._backend = backend
        self._run_id = run_id
        self._directory = directory
        self._observer = observer
        self._capture = capture
        self._judge_aggregates = judge_aggregates
        self._mode = calibrate
        self._calibration = CalibrationResult(calibrate.value)
        self._counters: Counters = {}
        self._tracker = FlowTracker(plan, on_change=self._show)
        self._findings = Findings(on_happened=self._show)
        self._collected = Collected()
        self._phase = Phase.DEPLOYING
        self._deployment: Deployment | None = None
        self._began = 0

    async def run(self, *, keep: bool) -> RunResult:
        """Do all of it and return the result."""
        started = started_at()
        self._enter(Phase.DEPLOYING)
        virtual_time = self._backend.capabilities().virtual_time
        self._staged = await asyncio.to_thread(
            stage_files, self._plan, self._directory, backend=self._backend, generate=not virtual_time
        )
        async with self._deployed(keep=keep) as deployment:
            impairment = deployment.impairment
            self._began = deployment.now()
            self._tell_of_nat()
            if await self._links_will_do(deployment, virtual_time=virtual_time):
                self._began = deployment.now()
                self._enter(Phase.RUNNING)
                before = await self._counted(deployment)
                await run_flows(
                    deployment, self._staged.plan, self._tracker, self._findings, virtual_time=virtual_time
                )
                self._counters = _grown(before, await self._counted(deployment))
                for note in shaper_notes(self._plan.links, self._counters):
                    self._findings.note(note)
            self._enter(Phase.COLLECTING)
            await self._collect(deployment)
            if not keep:
                self._enter(Phase.DESTROYING)
        self._enter(Phase.CHECKING)
        flows = await asyncio.to_thread(self._flows)
        seen = await asyncio.to_thread(self._check_wire)
        self._findings.failures += _failures(flows, seen.wire, self._plan)
        self._findings.notes += [*self._staged.notes, *seen.notes, *_damage_notes(flows)]
        result = RunResult(
            manifest=make_manifest(
                self._plan,
                run_id=self._run_id,
                backend=self._backend.name,
                impairment=impairment,
                started=started,
            ),
            flows=flows,
            links=seen.links,
            wire=seen.wire,
            expectations=judge(
                self._judged(), flows, seen.wire, seen.links, self._findings.timeline, self._counters
            ),
            failures=tuple(self._findings.failures),
            notes=tuple(self._findings.notes),
            duration=self._findings.duration,
            directory=self._directory,
            timeline=self._findings.timeline,
            calibration=self._calibration,
            counters=self._counters,
        )
        self._enter(Phase.DONE)
        return result

    @asynccontextmanager
    async def _deployed(self, *, keep: bool) -> AsyncIterator[Deployment]:
        """Make the lab; remove it however the block ends, unless it is to be kept and nothing is wrong."""
        deploy = partial(deploy_lasting, self._backend) if keep else self._backend.deploy
        deployment = await deploy(
            self._staged.plan, run_id=self._run_id, directory=self._directory, capture=self._capture
        )
        self._deployment = deployment
        kept = False
        try:
            yield deployment
            kept = keep
        finally:
            self._deployment = None
            if kept:
                await leave(deployment)
                self._findings.note(f"the lab is up; remove it with: narrows destroy {self._run_id}")
            else:
                await self._destroy(deployment)

    async def _destroy(self, deployment: Deployment) -> None:
        try:
            await deployment.destroy()
        except TROUBLE as error:
            self._findings.failures.append(
                f"the lab was not removed wholly: {error}; `narrows destroy --all` tries again"
            )

    # Afterwards.

    def _tell_of_nat(self) -> None:
        """Say who translates, as every report says who impairs."""
        routers = [node.name for node in self._plan.nodes if node.nat is not None]
        if routers:
            virtual = self._backend.capabilities().virtual_time
            who = "the simulator" if virtual else "the kernel (conntrack)"
            self._findings.note(f"{who} translates at {', '.join(routers)}")

    async def _links_will_do(self, deployment: Deployment, *, virtual_time: bool) -> bool:
        """Measure the links, if that is wanted; return whether the flows may start."""
        if self._mode is Calibrate.OFF:
            return True
        self._enter(Phase.CALIBRATING)
        self._calibration = await calibrate_links(
            deployment, self._plan, self._mode, virtual_time=virtual_time
        )
        self._show()
        for note in self._calibration.notes:
            self._findings.note(f"calibration: {note}")
        wrong = [row.describe() for row in self._calibration.outside]
        if self._mode is Calibrate.WARN:
            for sentence in wrong:
                self._findings.note(f"calibration: {sentence}")
            return True
        if not self._calibration.rows:
            wrong.append("; ".join(["strict, but nothing could be measured", *self._calibration.notes]))
        for sentence in wrong:
            self._findings.fail(f"calibration: {sentence}")
        if wrong:
            self._tracker.fail_all("not started, since the links are not as asked")
        return not wrong

    async def _counted(self, deployment: Deployment) -> Counters:
        """Return what links have counted so far, if they do and an expectation or the report needs it."""
        wanted = deployment.impairment is Impairment.USERSPACE or any(
            map(needs_counters, self._plan.expectations)
        )
        if not wanted or not isinstance(deployment, Counting):
            return {}
        try:
            return await deployment.link_counters()
        except TROUBLE as error:
            self._findings.note(f"the links' counters could not be read: {error}")
            return {}

    async def _collect(self, deployment: Deployment) -> None:
        try:
            self._collected = await deployment.collect(self._directory)
        except TROUBLE as error:
            self._findings.failures.append(f"captures and logs could not be collected: {error}")
        try:
            await asyncio.to_thread(keep_run, self._directory, self._plan, self._collected)
        except TestbedError as error:
            self._findings.fail(str(error))
        if self._plan.qlog and not any(self._directory.rglob("*.sqlog")):
            self._findings.note(
                "no connection was traced: agents of a Compose lab trace when the topology says `qlog: true`"
                if self._backend.name == "compose"
                else "no connection was traced: the logs of the nodes say why"
            )

    def _flows(self) -> tuple[FlowResult, ...]:
        """Return what became of the flows, with the files that are there now."""
        try:
            sent = keep_files(self._staged, self._directory)
        except TestbedError as error:
            self._findings.fail(str(error))
            sent = {}
        return tuple(self._with_files(flow, sent.get(flow.name)) for flow in self._tracker.results())

    def _with_files(self, flow: FlowResult, sent: Path | None) -> FlowResult:
        """Add a flow's files; count the bytes that differ where the profile lets damage through."""
        if flow.workload == "files":
            for wrong in check_several(flow, self._directory):
                self._findings.fail(wrong)
        if flow.workload != "bulk":
            return flow
        received = received_file(self._directory, flow.name)
        wrong = check_received(flow, received)
        if wrong:
            self._findings.fail(wrong)
        corrupted = None
        if received is not None and flow.integrity != "aead" and not flow.intact:
            spec = next(spec for spec in self._plan.workloads if spec.name == flow.name)
            corrupted = corrupted_bytes(spec, received)
        return dataclasses.replace(
            flow,
            sent_file=self._below(sent),
            received_file=self._below(received),
            corrupted_bytes=corrupted,
        )

    def _below(self, path: Path | None) -> str | None:
        return None if path is None else str(path.relative_to(self._directory))

    def _check_wire(self) -> WireFindings:
        if not self._capture:
            return WireFindings()
        try:
            return check_wire(self._plan, self._collected, duration=self._findings.duration)
        except TestbedError as error:
            self._findings.fail(f"the captures could not be checked: {error}")
            return WireFindings()

    def _judged(self) -> list[Expectation]:
        """Return the expectations to judge: those of the wire only when there was to be a capture."""
        judged = judgeable(self._plan.expectations, captured=self._capture)
        for expectation in self._plan.expectations:
            if expectation not in judged:
                self._findings.note(f"{expectation.text}: not judged, since nothing was captured")
        return [each for each in judged if self._judge_aggregates or not each.aggregate]

    # Telling.

    def _enter(self, phase: Phase) -> None:
        _log.info("%s", phase.value)
        self._phase = phase
        self._show()

    def _show(self) -> None:
        deployment = self._deployment
        elapsed = deployment.now() - self._began if deployment is not None else self._findings.duration
        measured = self._calibration.rows or self._calibration.notes
        self._observer(
            Progress(
                self._phase,
                elapsed,
                self._tracker.progress(),
                run_id=self._run_id,
                lab=self._plan.name,
                backend=self._backend.name,
                seed=self._plan.seed,
                happened=tuple(self._findings.happened),
                calibration=self._calibration if measured else None,
            )
        )


def _grown(before: Counters, after: Counters) -> Counters:
    """Return what was counted between two looks; a link that was set anew in between counts from there."""
    return {
        end: {
            name: count - old if count >= (old := before.get(end, {}).get(name, 0)) else count
            for name, count in found.items()
        }
        for end, found in after.items()
    }


def _failures(flows: Sequence[FlowResult], wire: WireResult, plan: DeploymentPlan) -> Iterator[str]:
    """Yield what no run may have, whether its topology expects it or not."""
    for flow in flows:
        if flow.stopped:
            continue
        if not flow.completed:
            yield f"{flow.name}: {flow.error}"
        elif not flow.intact and flow.integrity != "xor":
            yield f"{flow.name}: what arrived is not what was sent"
    judged = any(expectation.kind == "wire violations" for expectation in plan.expectations)
    if wire.violations and not judged:
        yield f"{wire.violations} frames break the protocol"
    if wire.checked and not wire.frames and any(flow.bytes for flow in flows if flow.transport == STRAIT):
        yield "the captures hold no frame of the flows, so nothing was checked on the wire"


def _damage_notes(flows: Iterable[FlowResult]) -> Iterator[str]:
    """Yield what slipped through a check that is known to let some damage pass."""
    for flow in flows:
        if flow.completed and not flow.intact and flow.integrity == "xor":
            count = "bytes" if flow.corrupted_bytes is None else f"{flow.corrupted_bytes:,} bytes"
            yield f"{flow.name}: damage slipped through the xor checksum: {count} differ from what was sent"
