"""Labs as tests have them (orchestrator.pytest_plugin): plain calls, whatever the back end does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from orchestrator.pytest_termination import termination_in_order

# Nothing else of ours is imported before a test has a lab: the plugin is loaded by every pytest.
if TYPE_CHECKING:
    from node.control.messages import Reply
    from node.links.settings import Impairments
    from orchestrator.backends.base import Collected, Deployment
    from orchestrator.experiment.timeline import RunningLab
    from orchestrator.results import RunResult
    from orchestrator.topology.model import Topology
    from orchestrator.topology.plan import DeploymentPlan

T = TypeVar("T")


class LabUsageError(Exception):
    """A test uses the plugin wrongly; the message says how to use it."""


@dataclass(slots=True)
class DeployedLab:
    """A lab that is up, for tests that are no coroutines.

    Attributes:
        topology: what was asked for.
        plan: what it was made from.
        deployment: the interface of its back end, all coroutines: hand these to ``do``.
        run_id: eight lower-case hex digits; part of every name that it has on this machine.
        directory: where its files go.
    """

    topology: Topology
    plan: DeploymentPlan
    deployment: Deployment
    run_id: str
    directory: Path
    _runner: asyncio.Runner
    _lab: RunningLab
    _collected: Collected | None = None

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on the lab's own event loop, and return what it returns."""
        return self._runner.run(coroutine)

    def request(self, node: str, command: str, **arguments: object) -> Reply:
        """Hand a command to a node's agent and return its reply (node.control.messages)."""
        from node.control.messages import Command

        return self.do(self.deployment.request(node, Command(command, arguments)))

    def netem(self, endpoint: str, **changes: str | None) -> Impairments:
        """Change the named impairments of what leaves ``endpoint``, leave the others; return what holds.

        ``netem("left:eth1", loss="5%", delay=None)`` takes the delay out; ``_`` in a name stands for ``-``.
        Faults lie over it: what holds is theirs until they end.
        """
        links = self._lab.links
        ends = {str(end): end for end in links.base}
        if endpoint not in ends:
            raise LabUsageError(f"no link ends at {endpoint!r}: use one of {', '.join(ends)}")
        end = ends[endpoint]
        wanted = links.base[end].replace({name.replace("_", "-"): value for name, value in changes.items()})
        if links.layers:
            links.base[end] = wanted
            self.do(links.refresh([end]))
            return links.effective(end)
        links.base[end] = self.do(self.deployment.set_impairments(end, wanted))
        return links.base[end]

    @contextmanager
    def fault(self, action: str, *words: str) -> Iterator[str]:
        """Do an action of timelines; one that lasts ends with the block. Yield what there is to tell.

        The words are those of ``narrows fault``: ``fault("cut", "left:eth1")``, ``fault("crash", "left")``,
        ``fault("rebind", "left", "port=true")``.

        Raises:
            FaultError: there is no such action, or it makes no sense in this lab.
            LabUsageError: it is one of flows, and none runs.
            BackendError: it cannot be done here.
        """
        from orchestrator.faults.base import FAULTS, Lasting, View
        from orchestrator.wiring.fault_words import is_of_flows, read_words

        if is_of_flows(action):
            raise _refusal(" ".join(words))
        value, _ = read_words(action, list(words), None)
        fault = FAULTS[action](value, View.of(self.topology))
        told = self.do(fault.begin(self._lab))
        try:
            yield told
        finally:
            if fault.lasting is not Lasting.NEVER:
                self.do(fault.end(self._lab))

    def sleep(self, seconds: float) -> None:
        """Let the lab's clock advance: virtual time in simulation."""
        self.do(self.deployment.sleep(round(seconds * 1_000_000_000)))

    def collect(self) -> Collected:
        """End the captures and bring all files below ``directory``; done by itself at the end of the lab.

        Nodes may have ended after it. The second call returns what the first did.
        """
        if self._collected is None:
            self._collected = self.do(self.deployment.collect(self.directory))
        return self._collected


class _NoFlows:
    """The flows of a lab whose flows do not run (``timeline.RunningFlows``)."""

    async def start_flow(self, flow: str) -> None:
        """Refuse."""
        raise _refusal(flow)

    async def stop_flow(self, flow: str) -> None:
        """Refuse."""
        raise _refusal(flow)

    def node_left(self, node: str, *, crashed: bool) -> None:
        """Do nothing: no flow runs at the node."""

    async def node_returned(self, node: str, *, crashed: bool) -> None:
        """Do nothing: no flow waits for the node."""


def _refusal(flow: str) -> LabUsageError:
    return LabUsageError(f"flow {flow!r} does not run in a lab that is only deployed: use lab.run()")


@dataclass(slots=True)
class Lab:
    """What a test does with its topology.

    Attributes:
        topology: as loaded, with its parameters.
        backend: name of the back end.
        seed: of the run; None: the topology's own.
        directory: where runs keep their files.
        qlog: whether connections are traced, where a call does not say.
        source: how to load the topology again, for people.
        results: of the runs so far.
    """

    topology: Topology
    backend: str
    seed: int | None
    directory: Path
    qlog: bool = True
    source: str = ""
    results: list[RunResult] = field(default_factory=list)
    #: Loads the topology with these parameters beside its marker's; None: it cannot be loaded.
    load: Callable[[Mapping[str, str]], tuple[Topology, str]] | None = None
    #: What a report says of labs that were only deployed.
    _deployed: list[str] = field(default_factory=list)

    def set(self, **parameters: object) -> Lab:
        """Load the topology with these parameters (``--set NAME=VALUE``) over its marker's; return the lab.

        ``_`` in a name stands for ``-``.

        Raises:
            TopologyError: it has no such parameter, or cannot be read with it.
        """
        if self.load is None:
            raise LabUsageError("this lab was made of an object, which has no parameters")
        given = {name.replace("_", "-"): str(value) for name, value in parameters.items()}
        self.topology, self.source = self.load(given)
        return self

    def run(self, *, seed: int | None = None, capture: bool = True, qlog: bool | None = None) -> RunResult:
        """Make the lab, run its flows, remove it, and return the result; nothing is asserted.

        Args:
            seed: for this run.
            capture: whether every link is captured and every frame checked.
            qlog: whether connections are traced; None: as ``--narrows-no-qlog`` says.

        Raises:
            TestbedError: the lab could not be made. Where this machine lacks something for it, or the
                back end cannot do what the topology asks, the test is skipped with that reason.
        """
        from orchestrator.errors import EnvironmentMissingError, NotSupportedError
        from orchestrator.experiment.runner import run

        chosen = seed if seed is not None else self.seed
        try:
            with termination_in_order():
                result = asyncio.run(
                    run(
                        self.topology,
                        self.backend,
                        directory=self.directory,
                        seed=chosen,
                        capture=capture,
                        qlog=self.qlog if qlog is None else qlog,
                    )
                )
        except (EnvironmentMissingError, NotSupportedError) as error:
            pytest.skip(str(error))
        self.results.append(result)
        return result

    def passes(self, **options: Any) -> RunResult:
        """Run, and fail the test with the reasons unless the verdict is PASS; options as of ``run``."""
        from orchestrator.results import Verdict

        result = self.run(**options)
        if result.verdict is not Verdict.PASS:
            pytest.fail("the run ended with FAIL:\n" + "\n".join(f"  - {why}" for why in result.reasons))
        return result

    @contextmanager
    def deployed(self, *, capture: bool = True, qlog: bool | None = None) -> Iterator[DeployedLab]:
        """Make the lab without running its flows; remove it at the end of the block.

        Args:
            capture: whether every link is captured.
            qlog: whether connections are traced; None: as ``--narrows-no-qlog`` says.

        Raises:
            TestbedError: as of ``run``.
        """
        from orchestrator.errors import EnvironmentMissingError, NotSupportedError
        from orchestrator.experiment.manifest import new_run_id
        from orchestrator.experiment.selection import select_backend
        from orchestrator.experiment.timeline import RunningLab
        from orchestrator.results import make_run_directory
        from orchestrator.topology.planning import make_plan

        plan = make_plan(self.topology, seed=self.seed, qlog=self.qlog if qlog is None else qlog)
        try:
            backend = select_backend(self.backend, plan)
        except (EnvironmentMissingError, NotSupportedError) as error:
            pytest.skip(str(error))
        run_id = new_run_id()
        place = make_run_directory(self.directory, plan.name, run_id)
        self._deployed += [
            f"{plan.name} on {backend.name}, seed {plan.seed}: deployed as {run_id}",
            f"  captures, traces, keys and logs: {place}",
        ]
        with termination_in_order(), asyncio.Runner() as runner:
            deployment = runner.run(backend.deploy(plan, run_id=run_id, directory=place, capture=capture))
            lab = RunningLab(deployment, plan, _NoFlows())
            up = DeployedLab(self.topology, plan, deployment, run_id, place, runner, lab)
            try:
                yield up
            finally:
                self._end(up)

    def _end(self, up: DeployedLab) -> None:
        """Collect what a report is to name, and remove the lab."""
        from orchestrator.errors import TestbedError

        try:
            up.collect()
        except (TestbedError, OSError) as error:
            # Not raised: what the test itself did to the lab may be why, and what it found counts more.
            self._deployed.append(f"  not all could be collected: {error}")
        finally:
            up.do(up.deployment.destroy())

    def told(self) -> str:
        """Return what a report says of a failed test's runs."""
        lines = list(self._deployed)
        for result in self.results:
            made = result.manifest
            again = f"narrows run {self.source} --backend {made.backend} --seed {made.seed}"
            lines += [
                f"{made.lab} on {made.backend}, impaired by {made.impairment}, seed {made.seed}: "
                f"{result.verdict.value}",
                *(f"  - {why}" for why in result.reasons),
                f"  captures, traces, keys and logs: {result.directory}",
                f"  again: {again}",
            ]
        return "\n".join(lines)
