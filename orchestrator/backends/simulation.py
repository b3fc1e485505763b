"""The simulation back end: the whole lab in this process, on virtual time.

Virtual time advances only while somebody waits for it, in ``sleep`` or for the next of ``events``: so one
runner serves this back end and the real ones. What it does between two waits takes no virtual time.
"""

from __future__ import annotations

import asyncio
import heapq
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from node.agent.files import FlowFiles
from node.control.messages import Command, NodeEvent, Reply
from node.links.fates import Fates
from node.links.impairments.base import IMPAIRMENTS
from node.links.settings import Impairments
from node.protocol.time import SECOND, Duration, Instant
from node.workloads.base import ByteSink
from orchestrator.backends.base import (
    BACKENDS,
    Capabilities,
    Collected,
    Deployment,
    Impairment,
    NodeState,
    Problem,
    files_below,
)
from orchestrator.errors import BackendError
from orchestrator.measure.prober import Prober
from orchestrator.simulation.artefacts import Artefacts
from orchestrator.simulation.lab import SimulatedLab
from orchestrator.simulation.link import LinkDirection
from orchestrator.simulation.probing import SimulatedProber
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan

#: Steps between two looks at the event loop: a few ms of real time, so that progress is shown and Ctrl-C
#: works.
STEPS_PER_TURN = 2_000
#: Turns of the event loop that whoever was woken gets before virtual time moves on: he may be several
#: tasks away from what woke him.
SETTLING_TURNS = 10
#: Steps of a run: at 10 µs each, three hours of real time.
MAX_STEPS = 1_000_000_000


@BACKENDS.register("simulation")
class SimulationBackend:
    """Labs on virtual time; runs everywhere and needs no rights.

    Args:
        fates: what becomes of packets by number, by the end that sends, where that was recorded.
    """

    name: ClassVar[str] = "simulation"

    def __init__(self, *, fates: Mapping[LinkEndpoint, Fates] = MappingProxyType({})) -> None:
        self._fates = fates

    def capabilities(self) -> Capabilities:
        """Return what the link model can do: everything."""
        return Capabilities(
            virtual_time=True,
            impairments=frozenset(IMPAIRMENTS.names()),
            transports=frozenset({"strait", "quic"}),
        )

    def check(self) -> list[Problem]:
        """Return nothing: it runs wherever Python does."""
        return []

    async def deploy(
        self, plan: DeploymentPlan, *, run_id: str, directory: Path, capture: bool = True
    ) -> Deployment:
        """Make the lab at virtual time zero.

        Raises:
            BackendError: the run's files cannot be made.
        """
        with files_below(directory):
            return SimulationDeployment(plan, directory, capture=capture, fates=self._fates)


class SimulationDeployment:
    """A simulated lab that is up."""

    impairment = Impairment.SIMULATED

    def __init__(
        self,
        plan: DeploymentPlan,
        directory: Path,
        *,
        capture: bool,
        fates: Mapping[LinkEndpoint, Fates] = MappingProxyType({}),
    ) -> None:
        self._artefacts = Artefacts(directory)
        self._files: dict[str, _NodeFiles] = {
            # The places where every back end has them.
            node.name: _NodeFiles(FlowFiles(directory / "files", directory / "received" / node.name))
            for node in plan.nodes
        }
        try:
            self._lab = SimulatedLab(
                plan,
                files_of=self._files.__getitem__,
                key_log_of=self._artefacts.key_log_of,
                tracers_of=self._artefacts.tracers_of,
                fates=fates,
            )
            if capture:
                self._artefacts.capture(self._lab.network, plan)
        except BaseException:
            self._artefacts.close()
            raise
        self._clock = _VirtualClock(self._lab)

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node and return its reply; takes no virtual time.

        Raises:
            BackendError: there is no such node.
        """
        self._check_node(node)
        reply = self._lab.command(node, command)
        self._clock.stir()
        return reply

    async def set_impairments(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Replace the whole set of what leaves ``endpoint``; packets on their way keep their fate.

        Raises:
            BackendError: there is no such endpoint.
        """
        direction = self._direction(endpoint)
        direction.replace(impairments)
        self._clock.stir()
        return direction.model.impairments

    async def begin(self) -> list[str]:
        """Let the run start: links number packets from now on. They are all simulated."""
        for direction in self._lab.network.directions.values():
            direction.begin()
        return []

    def prober(self, links: Sequence[str]) -> Prober:
        """Return what measures links, on virtual time; of any of them."""
        network = self._lab.network
        mtus = {
            str(end): network.stations[end.node].interfaces[end.interface].plan.mtu
            for end in network.directions
        }
        return SimulatedProber(network, mtus, self.sleep)

    async def link_counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return what happened to packets on each link, by the end that sends."""
        directions = self._lab.network.directions
        return {str(end): asdict(found.model.counters()) for end, found in directions.items()}

    async def set_node_state(self, node: str, state: NodeState) -> None:
        """Run, pause or stop a node. A router that is not running forwards nothing.

        Raises:
            BackendError: there is no such node.
        """
        self._check_node(node)
        lab, host = self._lab, self._lab.hosts.get(node)
        lab.network.stations[node].up = state is not NodeState.STOPPED
        match state:
            case NodeState.RUNNING if host is not None:
                host.resume()
            case NodeState.RUNNING if lab.is_host(node):
                lab.start(node)
            case NodeState.PAUSED if host is not None:
                host.pause()
            case NodeState.STOPPED if host is not None:
                lab.stop(node)
                self._files[node].abort()
            case _:
                lab.network.stations[node].up = state is NodeState.RUNNING
        self._clock.stir()

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Change how long a NAT router keeps idle mappings, or let it forget all; return what to tell.

        Raises:
            BackendError: there is no such NAT router.
        """
        self._check_node(node)
        nat = self._lab.network.stations[node].nat
        if nat is None:
            raise BackendError(f"node {node} is no NAT router")
        if keep_for is not None:
            nat.timeout = keep_for
        return f"{nat.flush()} mappings forgotten" if flush else ""

    async def inject(self, endpoint: LinkEndpoint, frame: bytes) -> None:
        """Put an Ethernet frame on the link as if ``endpoint`` had sent it now.

        Raises:
            BackendError: there is no such endpoint.
        """
        self._direction(endpoint)
        self._lab.network.inject(endpoint, frame)
        self._clock.stir()

    async def events(self) -> AsyncIterator[NodeEvent]:
        """Yield what the nodes report; virtual time advances while the next one is waited for.

        Raises:
            BackendError: nothing is left to happen and nobody sleeps, but flows are unfinished.
        """
        events = self._lab.events
        while True:
            while events:
                yield events.popleft()
            if not await self._clock.wait_for_event():
                return

    def running_captures(self) -> dict[str, list[Path]]:
        """Return the files of the captures by link; all that was captured is in them."""
        return self._artefacts.running()

    def now(self) -> Instant:
        """Return the virtual time in ns."""
        return self._lab.scheduler.now

    async def sleep(self, duration: Duration) -> None:
        """Let virtual time advance by ``duration`` ns; returns early when the lab is destroyed."""
        await self._clock.sleep(duration)

    async def collect(self, directory: Path) -> Collected:
        """End the captures and bring all files below ``directory``."""
        captures, key_logs = self._artefacts.finish()
        return Collected(
            captures={link: [_below(directory, path) for path in paths] for link, paths in captures.items()},
            key_logs=[_below(directory, path) for path in key_logs],
            under_way={
                str(end): direction.under_way for end, direction in self._lab.network.directions.items()
            },
        )

    async def destroy(self) -> None:
        """End the lab; may be called twice."""
        await self._clock.close()
        for files in self._files.values():
            files.abort()
        self._artefacts.close()

    def _check_node(self, node: str) -> None:
        if node not in self._lab.network.stations:
            known = ", ".join(self._lab.network.stations)
            raise BackendError(f"no node {node!r} in this lab: use one of {known}")

    def _direction(self, endpoint: LinkEndpoint) -> LinkDirection:
        try:
            return self._lab.network.directions[endpoint]
        except KeyError:
            known = ", ".join(map(str, self._lab.network.directions))
            raise BackendError(f"no endpoint {endpoint} in this lab: use one of {known}") from None


def _below(directory: Path, path: Path) -> Path:
    """Return ``path`` if it lies below ``directory``, else move it there."""
    if path.resolve().is_relative_to(directory.resolve()):
        return path
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(path, directory / path.name))


class _NodeFiles:
    """A node's files; those that its flows have not finished are given up when it is killed."""

    def __init__(self, files: FlowFiles) -> None:
        self._sinks: list[ByteSink] = []
        self._files = files
        self.source_of = files.source_of

    def sink_of(self, options: Mapping[str, object]) -> ByteSink:
        """Return what keeps the bytes of a flow."""
        sink = self._files.sink_of(options)
        self._sinks.append(sink)
        return sink

    def abort(self) -> None:
        """Remove what is not whole; a killed process would leave the part, and nobody would want it."""
        for sink in self._sinks:
            sink.abort()
        self._sinks.clear()


class _VirtualClock:
    """Makes virtual time advance while somebody waits for it."""

    def __init__(self, lab: SimulatedLab) -> None:
        self._lab = lab
        self._scheduler = lab.scheduler
        self._closed = False
        self._sequence = 0
        # Who sleeps: (deadline, sequence, future).
        self._sleepers: list[tuple[Instant, int, asyncio.Future[None]]] = []
        # Who waits for events: his future says whether there may be some.
        self._listeners: list[asyncio.Future[bool]] = []
        self._stirred = asyncio.Event()
        self._driver: asyncio.Task[None] | None = None

    def stir(self) -> None:
        """Note that something was done from outside, so there may be something to do again."""
        self._stirred.set()

    async def sleep(self, duration: Duration) -> None:
        """Wait until virtual time has advanced by ``duration`` ns."""
        if self._closed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._sleepers, (self._scheduler.now + max(0, duration), self._sequence, future))
        self._drive()
        await future

    async def wait_for_event(self) -> bool:
        """Wait until the lab has an event to read; False: it never will, the lab was destroyed."""
        if self._closed:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._listeners.append(future)
        self._drive()
        return await future

    async def close(self) -> None:
        """Stop virtual time, and let everybody go who waits for it."""
        self._closed = True
        driver, self._driver = self._driver, None
        if driver is not None and driver is not asyncio.current_task():
            driver.cancel()
            await asyncio.wait([driver])
        self._release(None)

    def _drive(self) -> None:
        self._stirred.set()
        if self._driver is None or self._driver.done():
            self._driver = asyncio.get_running_loop().create_task(self._run(), name="virtual time")

    async def _run(self) -> None:
        """Advance virtual time until nobody waits for it."""
        try:
            while self._waited_for():
                if self._wake_those_due():
                    for _ in range(SETTLING_TURNS):
                        await asyncio.sleep(0)
                elif self._idle():
                    self._stirred.clear()
                    await self._stirred.wait()
                else:
                    self._turn()
                    await asyncio.sleep(0)
        except Exception as error:  # whatever went wrong in the lab belongs to those who wait for it
            self._release(error)

    def _turn(self) -> None:
        """Do a bounded number of steps, not beyond what somebody waits for."""
        scheduler, events = self._scheduler, self._lab.events
        deadline = self._sleepers[0][0] if self._sleepers else None
        for _ in range(STEPS_PER_TURN):
            due = scheduler.next_at()
            if deadline is not None and (due is None or due > deadline):
                scheduler.advance(deadline)
                return
            if not scheduler.step() or (events and self._listeners):
                return
        if scheduler.steps > MAX_STEPS:
            raise BackendError(f"the run took more than {MAX_STEPS} steps; it is taken for endless")

    def _wake_those_due(self) -> bool:
        """Wake listeners if there are events, and the sleepers whose time has come."""
        woken = False
        if self._lab.events:
            for listener in self._listeners:
                if not listener.done():
                    listener.set_result(True)
                    woken = True
            self._listeners.clear()
        while self._sleepers and self._sleepers[0][0] <= self._scheduler.now:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
                woken = True
        return woken

    def _waited_for(self) -> bool:
        self._listeners = [listener for listener in self._listeners if not listener.done()]
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return bool(self._listeners or self._sleepers)

    def _idle(self) -> bool:
        """Return whether nothing can happen before somebody acts; that is an error if work is left."""
        if self._sleepers or self._lab.events or self._scheduler.next_at() is not None:
            return False
        unfinished = self._lab.unfinished()
        if unfinished:
            raise BackendError(
                f"at {self._scheduler.now / SECOND:.3f} s nothing is left to happen, but "
                f"{', '.join(unfinished)} did not finish: a node waits for what nobody will send"
            )
        return True

    def _release(self, error: Exception | None) -> None:
        listeners, self._listeners = self._listeners, []
        sleepers, self._sleepers = self._sleepers, []
        waiting: list[asyncio.Future[bool] | asyncio.Future[None]] = [*listeners]
        waiting += [sleeper for _, _, sleeper in sleepers]
        for future in waiting:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
        for listener in listeners:
            if not listener.done():
                listener.set_result(False)
        for _, _, sleeper in sleepers:
            if not sleeper.done():
                sleeper.set_result(None)
