"""Does what a topology's ``timeline:`` says while a lab runs, and keeps account of it.

Everything has its time on the lab's clock, exact where that clock is virtual. Actions on one thing (one node,
the links) follow one another; those on different things do not wait for each other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import logging
from collections.abc import Callable, Coroutine
from typing import Protocol

from node.control.client import ControlError
from node.control.messages import Command, Reply
from node.links.units import format_duration
from node.protocol.time import Duration, Instant
from orchestrator.backends.base import Deployment, NodeState
from orchestrator.errors import BackendError, TestbedError
from orchestrator.faulted_links import FaultedLinks
from orchestrator.faults.base import Flows
from orchestrator.results import TimelineResult
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.timeline import Step, steps_of, view_of

_log = logging.getLogger(__name__)
_TROUBLE = (TestbedError, ControlError, OSError)
BEGINS, ENDS = "begins", "ends"


class RunningFlows(Flows, Protocol):
    """The flows of a run, which have to do with what becomes of nodes."""

    def node_left(self, node: str, *, crashed: bool) -> None:
        """Take note that a node is about to run no more; ``crashed``: and forgets what it did."""
        ...

    async def node_returned(self, node: str, *, crashed: bool) -> None:
        """Take note that a node runs again; ``crashed``: it remembers nothing."""
        ...


class Timeline:
    """The timeline of one run.

    Args:
        deployment: the lab.
        plan: what it was made of.
        flows: the run's flows.
        began: when the run began, on the lab's clock.
        on_done: is told of each beginning and end when it was done, or failed.
    """

    def __init__(
        self,
        deployment: Deployment,
        plan: DeploymentPlan,
        flows: RunningFlows,
        *,
        began: Instant,
        on_done: Callable[[TimelineResult], None] = lambda done: None,
    ) -> None:
        self._on_done = on_done
        self._deployment = deployment
        self._flows = flows
        self._began = began
        self._steps = steps_of(plan.timeline, view_of(plan), limit=plan.time_limit)
        self._lab = RunningLab(deployment, plan, flows)
        self._lanes: dict[str, asyncio.Lock] = {}
        #: What has been done, in order of its ends.
        self._done: list[TimelineResult] = []
        self._reached: set[int] = set()

    async def run(self) -> None:
        """Do everything at its time; ends when all is done."""
        # (time, end before begin, order, step)
        queue = [(step.at, 1, number, step) for number, step in enumerate(self._steps)]
        heapq.heapify(queue)
        async with asyncio.TaskGroup() as group:
            while queue:
                at, begins, number, step = heapq.heappop(queue)
                early = self._began + at - self._deployment.now()
                if early > 0:
                    await self._deployment.sleep(early)
                self._reached.add(number * 2 + begins)
                if begins and step.duration is not None:
                    heapq.heappush(queue, (at + step.duration, 0, number, step))
                group.create_task(self._do(step, at, begins=bool(begins)))

    def results(self) -> tuple[TimelineResult, ...]:
        """Return what became of everything, in the order of the times that were planned."""
        return tuple(sorted([*self._done, *self._left()], key=lambda found: found.planned))

    def _left(self) -> list[TimelineResult]:
        """Return what was not reached: of each entry the first time, which says how many there are."""
        left: dict[tuple[int, str], list[TimelineResult]] = {}
        for number, step in enumerate(self._steps):
            for when, phase, mark in _phases(step, number):
                if mark not in self._reached:
                    told = (step.fault.name, str(step.fault), phase, "not reached", "the run was over")
                    left.setdefault((step.entry, phase), []).append(TimelineResult(when, None, *told))
        return [
            dataclasses.replace(found[0], detail=f"the run was over; so for {len(found)} times")
            if len(found) > 1
            else found[0]
            for found in left.values()
        ]

    @property
    def failures(self) -> list[str]:
        """Why the run failed, as far as the timeline goes."""
        return [
            f"timeline, {format_duration(found.planned)}: {found.action} {found.subject} "
            f"{'did not begin' if found.phase == BEGINS else 'did not end'}: {found.detail}"
            for found in self._done
            if found.outcome == "failed"
        ]

    async def _do(self, step: Step, planned: Duration, *, begins: bool) -> None:
        fault = step.fault
        async with self._lanes.setdefault(fault.lane(), asyncio.Lock()):
            at = self._deployment.now() - self._began
            outcome, detail = "done", ""
            act: Coroutine[object, object, str] = fault.begin(self._lab) if begins else fault.end(self._lab)
            try:
                detail = await act
            except _TROUBLE as error:
                outcome, detail = "failed", str(error)
        phase = BEGINS if begins else ENDS
        _log.info("timeline: %s %s %s: %s %s", fault.name, fault, phase, outcome, detail)
        done = TimelineResult(planned, at, fault.name, str(fault), phase, outcome, detail)
        self._done.append(done)
        self._on_done(done)


def _phases(step: Step, number: int) -> list[tuple[Duration, str, int]]:
    found = [(step.at, BEGINS, number * 2 + 1)]
    return found if step.duration is None else [*found, (step.at + step.duration, ENDS, number * 2)]


class RunningLab:
    """What actions may do to the lab of a run (``faults.base.FaultLab``)."""

    def __init__(self, deployment: Deployment, plan: DeploymentPlan, flows: RunningFlows) -> None:
        self._deployment = deployment
        self._plan = plan
        self._flows = flows
        base = {
            end: side for link in plan.links for end, side in ((link.a, link.forward), (link.b, link.reverse))
        }
        self._links = FaultedLinks(base, deployment.set_impairments)
        self._crashed: set[str] = set()
        self._moves: dict[str, int] = {}

    @property
    def links(self) -> FaultedLinks:
        """Impairments of links."""
        return self._links

    async def crash(self, node: str) -> None:
        """End a node's agent at once."""
        self._crashed.add(node)
        self._flows.node_left(node, crashed=True)
        await self._deployment.set_node_state(node, NodeState.STOPPED)

    async def pause(self, node: str) -> None:
        """Let a node get no CPU."""
        self._flows.node_left(node, crashed=False)
        await self._deployment.set_node_state(node, NodeState.PAUSED)

    async def run(self, node: str) -> None:
        """Let a crashed or paused node run again."""
        await self._deployment.set_node_state(node, NodeState.RUNNING)
        crashed = node in self._crashed
        self._crashed.discard(node)
        await self._flows.node_returned(node, crashed=crashed)

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node's agent."""
        return await self._deployment.request(node, command)

    @property
    def flows(self) -> Flows:
        """The flows of the run."""
        return self._flows

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Change a NAT router's time-out, or let it forget."""
        return await self._deployment.control_nat(node, keep_for=keep_for, flush=flush)

    def next_address(self, node: str) -> str:
        """Return the address that a node moves to: its others in turn, then its first again."""
        planned = self._plan.node(node)
        choices = [planned.host, *planned.other_addresses]
        if len(choices) == 1:
            raise BackendError(f"node {node} has no other address: write port: true")
        turn = self._moves[node] = self._moves.get(node, 0) + 1
        return choices[turn % len(choices)]

    def main_address(self, node: str) -> str:
        """Return the address that a node has by its topology."""
        return self._plan.node(node).host

    def nat_timeout(self, node: str) -> Duration:
        """Return the time-out that a NAT router has by its topology."""
        nat = self._plan.node(node).nat
        assert nat is not None, f"{node} is no NAT router"
        return nat.timeout


def flows_left_to(plan: DeploymentPlan) -> frozenset[str]:
    """Return the flows that start when the timeline says, and not by themselves."""
    return frozenset(
        str(flow)
        for event in plan.timeline
        if event.action == "start" and isinstance(event.value, list)
        for flow in event.value
    )
