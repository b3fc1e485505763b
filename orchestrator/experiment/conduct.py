"""Runs the flows of a lab that is up, until all are over, one way or the other: never a hang."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field

from node.control.client import ControlError
from node.control.messages import Command, NodeEvent
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from orchestrator.backends.base import Deployment
from orchestrator.errors import TestbedError
from orchestrator.experiment.flows import SOURCE, TARGET, FlowTracker
from orchestrator.topology.model import WorkloadSpec
from orchestrator.topology.plan import DeploymentPlan

_log = logging.getLogger(__name__)

#: After the last flow: time for the connections' ends and for frames on their way to reach the captures.
SETTLING: Duration = 300 * MILLISECOND
#: How often real nodes are asked whether they live. A dead one is noticed after this and the answer's limit.
HEARTBEAT: Duration = 2 * SECOND
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
    began = deployment.now()
    conductor = _Conductor(deployment, plan, tracker, findings)
    helpers: list[Coroutine[object, object, None]] = [conductor.listen(), conductor.start_flows()]
    if not virtual_time:
        helpers.append(conductor.watch_nodes())
    tasks = [asyncio.create_task(helper) for helper in helpers]
    over = asyncio.create_task(tracker.all_over.wait())
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
        self, deployment: Deployment, plan: DeploymentPlan, tracker: FlowTracker, findings: Findings
    ) -> None:
        self._deployment = deployment
        self._plan = plan
        self._tracker = tracker
        self._findings = findings
        self._began: Instant = deployment.now()

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
        """Start each flow at its time; for each the target first, since it must know what comes."""
        for flow in sorted(self._plan.workloads, key=lambda flow: flow.start):
            early = self._began + flow.start - self._deployment.now()
            if early > 0:
                await self._deployment.sleep(early)
            try:
                await self._start(flow)
            except TROUBLE as error:
                self._tracker.fail(flow.name, f"cannot start: {error}")

    async def watch_nodes(self) -> None:
        """Ask the ends of running flows for a sign of life: one that crashed gives none."""
        while True:
            await self._deployment.sleep(HEARTBEAT)
            for node in self._tracker.running_nodes():
                try:
                    await self._deployment.request(node, Command("status"))
                except TROUBLE as error:
                    self._on_node_failed(node, str(error))

    async def _start(self, flow: WorkloadSpec) -> None:
        for role, node, peer in ((TARGET, flow.target, flow.source), (SOURCE, flow.source, flow.target)):
            arguments = {
                "flow": flow.name,
                "workload": flow.kind,
                "role": role,
                "peer": peer,
                "options": dict(flow.options),
                "transport": dict(flow.transport),
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
        message = f"node {node} failed: {reason}"
        self._findings.fail(message)
        self._tracker.fail_node(node, message)
