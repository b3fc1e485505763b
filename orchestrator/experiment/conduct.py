"""Runs the flows of a lab that is up, until all are over, one way or the other: never a hang."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import groupby

from node.control.client import ControlError
from node.control.messages import Command, NodeEvent
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from orchestrator.backends.base import Begins, Deployment
from orchestrator.errors import TestbedError
from orchestrator.experiment.flows import SOURCE, TARGET, FlowTracker
from orchestrator.experiment.timeline import Timeline, flows_left_to
from orchestrator.results import TimelineResult
from orchestrator.topology.model import WorkloadSpec
from orchestrator.topology.plan import DeploymentPlan

_log = logging.getLogger(__name__)

#: After the last flow: time for the connections' ends and for frames on their way to reach the captures.
SETTLING: Duration = 300 * MILLISECOND
#: How often real nodes are asked whether they live. A dead one is noticed after this and the answer's limit.
HEARTBEAT: Duration = 2 * SECOND
#: Flows that are started at once. One after the other, each waits for two answers first: the last of twelve
#: began 8 s after the first on a machine that had a thousand nodes up. All of thousands at once would wait so
#: long for one busy node that its answers come too late.
STARTING = 32
#: What a node or a back end in trouble raises.
TROUBLE = (TestbedError, ControlError, OSError)


@dataclass(slots=True)
class Findings:
    """What a run has shown so far, beside its flows."""

    #: Why it failed, apart from flows and expectations.
    failures: list[str] = field(default_factory=list)
    #: Worth knowing, and no failure.
    notes: list[str] = field(default_factory=list)
    #: How long the flows took.
    duration: Duration = 0
    #: What the timeline did.
    timeline: tuple[TimelineResult, ...] = ()
    #: The same while it goes on, and who wants to know of each.
    happened: list[TimelineResult] = field(default_factory=list)
    on_happened: Callable[[], None] = lambda: None

    def take(self, done: TimelineResult) -> None:
        """Take what the timeline did."""
        self.happened.append(done)
        self.on_happened()

    def fail(self, message: str) -> None:
        """Add a failure, once."""
        if message not in self.failures:
            self.failures.append(message)

    def note(self, message: str) -> None:
        """Add a note, once."""
        if message not in self.notes:
            self.notes.append(message)


async def run_flows(
    deployment: Deployment,
    plan: DeploymentPlan,
    tracker: FlowTracker,
    findings: Findings,
    *,
    virtual_time: bool,
) -> None:
    """Start the flows and wait until all are over, the time limit has passed, or the lab is gone.

    Args:
        tracker: is told what becomes of every flow.
        findings: take what goes wrong elsewhere.
        virtual_time: nodes cannot crash behind our back, so they are not watched.
    """
    if isinstance(deployment, Begins):
        for note in await deployment.begin():
            findings.note(note)
    began = deployment.now()
    conductor = _Conductor(deployment, plan, tracker, findings, virtual_time=virtual_time)
    helpers: list[Coroutine[object, object, None]] = [conductor.listen(), conductor.start_flows()]
    if not virtual_time:
        helpers.append(conductor.watch_nodes())
    timeline = Timeline(deployment, plan, conductor, began=began, on_done=findings.take)
    tasks = [asyncio.create_task(helper) for helper in helpers]
    events = asyncio.create_task(timeline.run())
    tasks.append(events)
    over = asyncio.create_task(_all_over(tracker, events))
    limit = asyncio.create_task(deployment.sleep(plan.time_limit))
    try:
        await _wait(tasks, until=(over, limit))
        tracker.fail_all(f"did not complete within the time limit of {plan.time_limit / SECOND:g} s")
        findings.duration = deployment.now() - began
        await deployment.sleep(SETTLING)
    except TROUBLE as error:
        tracker.fail_all(str(error))
    finally:
        for task in (*tasks, over, limit):
            task.cancel()
        await asyncio.gather(*tasks, over, limit, return_exceptions=True)
        findings.timeline = timeline.results()
        for failure in timeline.failures:
            findings.fail(failure)


def _start_of(flow: WorkloadSpec) -> Duration:
    return flow.start


async def _all_over(tracker: FlowTracker, events: asyncio.Task[None]) -> None:
    """Wait until all flows are over; a lab without flows is there for its timeline."""
    if not tracker.progress():
        await asyncio.wait([events])
    await tracker.all_over.wait()


async def _wait(tasks: list[asyncio.Task[None]], *, until: tuple[asyncio.Task[object], ...]) -> None:
    """Wait until one of ``until`` is done; raise at once what a task raises."""
    pending: set[asyncio.Task[object]] = {*tasks, *until}
    while not any(task.done() for task in until):
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


class _Conductor:
    """The parts of a run that go on at the same time."""

    def __init__(
        self,
        deployment: Deployment,
        plan: DeploymentPlan,
        tracker: FlowTracker,
        findings: Findings,
        *,
        virtual_time: bool,
    ) -> None:
        self._virtual_time = virtual_time
        self._deployment = deployment
        self._plan = plan
        self._tracker = tracker
        self._findings = findings
        self._began: Instant = deployment.now()
        #: Nodes that do not run, since the timeline says so.
        self._away: set[str] = set()
        #: When nodes that were away came back.
        self._returned: dict[str, Instant] = {}

    async def listen(self) -> None:
        """Take the nodes' events until the lab is gone."""
        try:
            async for event in self._deployment.events():
                self._on_event(event)
        except TROUBLE as error:
            self._tracker.fail_all(str(error))
        else:
            self._tracker.fail_all("the lab is gone: its nodes report nothing any more")

    async def start_flows(self) -> None:
        """Start each flow at its time, those of one time together."""
        left = flows_left_to(self._plan)
        own = (flow for flow in self._plan.workloads if flow.name not in left)
        in_turn = asyncio.Semaphore(STARTING)
        for start, flows in groupby(sorted(own, key=_start_of), key=_start_of):
            early = self._began + start - self._deployment.now()
            if early > 0:
                await self._deployment.sleep(early)
            starting = [self._start_or_fail(flow, in_turn) for flow in flows]
            if self._virtual_time:
                # It would go on before the first has been asked; and no answer takes any of it.
                for start_one in starting:
                    await start_one
            else:
                await asyncio.gather(*starting)

    async def _start_or_fail(self, flow: WorkloadSpec, in_turn: asyncio.Semaphore) -> None:
        async with in_turn:
            try:
                await self._start(flow)
            except TROUBLE as error:
                self._tracker.fail(flow.name, f"cannot start: {error}")

    # What the timeline does.

    async def start_flow(self, flow: str) -> None:
        """Start a flow (BackendError: it cannot start)."""
        await self._start(self._spec(flow))

    async def stop_flow(self, flow: str) -> None:
        """End a flow at both ends; nothing happens if it is over."""
        spec = self._spec(flow)
        if self._tracker.stop(flow):
            await self._stop(spec)

    def node_left(self, node: str, *, crashed: bool) -> None:
        """Take note that a node is about to run no more."""
        self._away.add(node)
        if crashed:
            at = (self._deployment.now() - self._began) / SECOND
            self._tracker.on_crash(node, f"node {node} crashed at {at:.3g} s, as the timeline says")

    async def node_returned(self, node: str, *, crashed: bool) -> None:
        """Start the flows anew that waited for a node, and whose other end runs too."""
        self._away.discard(node)
        self._returned[node] = self._deployment.now()
        for name in self._tracker.waiting_for(node) if crashed else ():
            spec = self._spec(name)
            if self._away.isdisjoint((spec.source, spec.target)):
                await self._stop(spec)
                self._tracker.restart(name, now=self._deployment.now())
                await self._start(spec)

    def _spec(self, flow: str) -> WorkloadSpec:
        return next(spec for spec in self._plan.workloads if spec.name == flow)

    async def _stop(self, spec: WorkloadSpec) -> None:
        """End a flow at its ends, where it runs."""
        for node in (spec.source, spec.target):
            if node not in self._away:
                # A refusal means that there is no such flow, which is what was wanted.
                await self._deployment.request(node, Command("stop_flow", {"flow": spec.name}))

    async def watch_nodes(self) -> None:
        """Ask the ends of running flows for a sign of life: one that crashed gives none."""
        while True:
            await self._deployment.sleep(HEARTBEAT)
            for node in self._tracker.running_nodes():
                asked = self._deployment.now()
                try:
                    if node not in self._away:
                        await self._deployment.request(node, Command("status"))
                except TROUBLE as error:
                    if self._returned.get(node, asked - 1) < asked:
                        self._on_node_failed(node, str(error))

    async def _start(self, flow: WorkloadSpec) -> None:
        """Start a flow at both its ends; the target first, since it must know what comes."""
        for role, node, peer in ((TARGET, flow.target, flow.source), (SOURCE, flow.source, flow.target)):
            arguments = {
                "flow": flow.name,
                "workload": flow.kind,
                "role": role,
                "peer": peer,
                "options": dict(flow.options),
                "transport": dict(flow.transport),
                **({"connections": flow.connections} if flow.connections > 1 else {}),
            }
            reply = await self._deployment.request(node, Command("start_flow", arguments))
            if not reply.ok:
                self._tracker.fail(flow.name, f"{node} cannot start it: {reply.error}")
                return

    def _on_event(self, event: NodeEvent) -> None:
        message = str(event.data.get("message", "no reason given"))
        if event.kind == "node_failed":
            self._on_node_failed(event.node, message)
        elif event.kind == "exited":
            log = event.data.get("log")
            ending = f"its agent ended with exit code {event.data.get('exit_code')}"
            self._on_node_failed(event.node, f"{ending}; its log ends: {log}" if log else ending)
        elif event.kind == "warning":
            _log.warning("%s: %s", event.node, message)
            self._findings.note(f"{event.node}: {message}")
        self._tracker.on_event(event)

    def _on_node_failed(self, node: str, reason: str) -> None:
        if node in self._away:
            return
        message = f"node {node} failed: {reason}"
        self._findings.fail(message)
        self._tracker.fail_node(node, message)
