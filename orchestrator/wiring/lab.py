"""Lab: the namespaces and links of a plan, as the namespace and Docker back ends share them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from node.links.settings import Impairments
from node.protocol.time import Duration
from orchestrator.backends.base import Impairment
from orchestrator.errors import BackendError
from orchestrator.executor import RUN_VARIABLE, Commands, Executor, Process
from orchestrator.topology.model import LinkEndpoint, NodeKind
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.wiring import captures, cleanup, namespaces, nat, state
from orchestrator.wiring.construction import Construction
from orchestrator.wiring.forkserver import LINK_MODULES, ForkServer, Wanted
from orchestrator.wiring.injection import Injector
from orchestrator.wiring.journal import Journal
from orchestrator.wiring.shaping import LinkShaping, direction_from, kernel_netem_problem
from orchestrator.wiring.state import LabRecord, record_of, socket_directory
from orchestrator.wiring.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class Lab:
    """Everything of a lab but its agents: make it with ``create``, then ``build``.

    Whatever goes wrong in ``build`` or later, ``destroy`` removes what was made; so does
    ``orchestrator.wiring.cleanup`` from the journal alone.
    """

    def __init__(
        self,
        plan: DeploymentPlan,
        journal: Journal,
        record: LabRecord,
        adopted: Mapping[str, Path],
        commands_: Commands,
        *,
        detached: bool,
        modules: Sequence[str],
    ) -> None:
        self.plan = plan
        self.journal = journal
        self.record = record
        self.impairment = Impairment(record.impairment)
        self.processes: list[Process] = []
        self._places = {node.name: Path(node.namespace) for node in record.nodes}
        self._detached = detached
        self._captures: list[captures.Capture] = []
        self._injector = Injector()
        self._fork_server = ForkServer(
            commands_,
            journal,
            socket_directory(record.run_id) / "fork.sock",
            log=Path(record.directory) / "logs" / "forkserver.log",
            attached=not detached,
            modules=modules,
        )
        # Of our own: `destroy` must wait for what a cancelled `build` still does in its threads.
        self._threads = Threads()
        self._shaping = {
            link.name: LinkShaping(link, self.impairment, commands_, self._spawn_for_link)
            for link in record.links
        }
        self._construction = Construction(
            plan, journal, record, adopted, self._shaping, commands_=commands_, threads=self._threads
        )

    @classmethod
    def create(
        cls,
        plan: DeploymentPlan,
        *,
        run_id: str,
        directory: Path,
        backend: str = "netns",
        adopted: Mapping[str, Path] | None = None,
        detached: bool = False,
        controls: Mapping[str, Path] | None = None,
        containers: Mapping[str, str] | None = None,
        impairment: Impairment | None = None,
        modules: Sequence[str] = LINK_MODULES,
        commands_: Commands | None = None,
    ) -> Lab:
        """Start the journal of a lab; nothing else is made yet.

        Args:
            plan: what is to be made.
            run_id: eight lower-case hex digits; part of every name.
            directory: where the run's files go.
            backend: who makes the lab, for listings.
            adopted: node name → path of its network namespace, for nodes that have one already
                (``/proc/<pid>/ns/net``); all others get one.
            detached: whether the lab outlives this process; else all its processes end with it.
            controls: node name → path of its agent's control socket, for other commands.
            containers: node name → name of its container, for other commands.
            impairment: who impairs; None: the kernel if it can.
            modules: what its processes import: imported once, before they are forked.
            commands_: runs commands.

        Raises:
            BackendError: there is such a lab, or no journal can be kept.
        """
        # Labelled: a command that outlives us when we are killed must not go on making things unseen.
        doer = commands_ or Executor({RUN_VARIABLE: run_id})
        if impairment is None:
            # Not labelled: there is no journal yet, and a nameless namespace to try in leaves nothing.
            lacking = kernel_netem_problem(commands_ or Executor())
            impairment = Impairment.USERSPACE if lacking else Impairment.KERNEL
        record = record_of(
            plan, run_id, backend, impairment, directory, controls=controls or {}, containers=containers or {}
        )
        journal = Journal.create(run_id)
        sockets = socket_directory(run_id)
        try:
            journal.record(
                {
                    "kind": "lab",
                    "name": plan.name,
                    "backend": backend,
                    "pid": os.getpid(),
                    "detached": detached,
                    "labels": dict(plan.labels),
                    "made": int(time.time()),
                },
                {"kind": "directory", "path": str(sockets)},
            )
            sockets.mkdir(parents=True, mode=0o700)
        except OSError as error:
            journal.discard()
            where = error.filename or journal.directory
            advice = "make room there, or set NARROWS_STATE to another directory"
            message = f"lab {run_id} cannot be started: {where}: {error.strerror}; {advice}"
            raise BackendError(message) from error
        return cls(plan, journal, record, adopted or {}, doer, detached=detached, modules=modules)

    @classmethod
    def resume(
        cls,
        plan: DeploymentPlan,
        journal: Journal,
        former: LabRecord,
        modules: Sequence[str],
        *,
        adopted: Mapping[str, Path] | None = None,
        controls: Mapping[str, Path] | None = None,
        containers: Mapping[str, str] | None = None,
    ) -> Lab:
        """Take up a lab that was left up, to change it; its fork server is started anew.

        Args:
            plan: what it is to be; links that stay have the indexes that they had.
            journal: of the lab, locked.
            former: what it is now.
            modules: as ``create``.
            adopted: as ``create``, for nodes that are to be made.
            controls: as ``create``, for nodes that are to be made; hosts get one if none is given.
            containers: as ``create``, for nodes that are to be made.
        """
        controls = {
            **(controls or {}),
            **{node.name: Path(node.control) for node in former.nodes if node.control},
        }
        numbers = [path.stem.removeprefix("node") for path in controls.values()]
        free = 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)
        for node in plan.nodes:
            if node.kind is NodeKind.HOST and node.name not in controls:
                controls[node.name] = socket_directory(former.run_id) / f"node{free}.sock"
                free += 1
        record = record_of(
            plan,
            former.run_id,
            former.backend,
            Impairment(former.impairment),
            Path(former.directory),
            controls=controls,
            containers={
                **(containers or {}),
                **{node.name: node.container for node in former.nodes if node.container},
            },
        )
        doer = Executor({RUN_VARIABLE: former.run_id})
        return cls(plan, journal, record, adopted or {}, doer, detached=True, modules=modules)

    def start_server(self) -> None:
        """Start what forks the processes of a lab that was taken up."""
        (socket_directory(self.record.run_id) / "fork.sock").unlink(missing_ok=True)
        self._fork_server.start()

    async def build(self) -> None:
        """Make namespaces and links, with addresses, routes and impairments, and read these back.

        Raises:
            BackendError: something cannot be made; ``destroy`` removes the rest.
        """
        # Here, in a thread that goes on: the server ends with the one that started it.
        self._fork_server.start()
        await self._construction.build()

    async def grow(self, former: DeploymentPlan, nodes: Sequence[str], links: Sequence[str]) -> None:
        """Make nodes and links that a lab which is up does not have yet, as Construction.grow says."""
        await self._construction.grow(former, nodes, links)

    def save(self) -> None:
        """Write down what the lab is now, for other commands: they take it for wholly up from then on."""
        self.record.save()
        state.save_plan(self.record.run_id, self.plan)

    def namespace(self, node: str) -> Path:
        """Return the path of a node's network namespace (BackendError: there is no such node)."""
        if node not in self._places:
            self.record.node(node)  # which says what nodes there are
        return self._places[node]

    def spawn(self, wanted: Sequence[Wanted]) -> list[Process]:
        """Start long-lived processes of the lab, each in its namespace; they are in the journal and labelled.

        Raises:
            BackendError: they cannot be started.
        """
        started = self._fork_server.spawn(wanted)
        self.processes += started
        return started

    def log_of(self, what: str) -> Path:
        """Return the file for what a process of the lab says."""
        name = what.replace(" of ", "-").replace(":", ".").replace("/", "_")
        return Path(self.record.directory) / "logs" / f"{name}.log"

    def _spawn_for_link(self, what: str, argv: Sequence[str], namespace: Path) -> Process:
        """Start ``python -m MODULE …``, as LinkShaping asks for it."""
        module, *arguments = argv[2:]
        title = f"{module.rpartition('.')[2]} {namespace.name.rpartition('-')[2]}"
        return self.spawn([Wanted(what, module, tuple(arguments), namespace, self.log_of(what), title)])[0]

    async def set_impairments(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Replace the whole set of what leaves ``endpoint`` on its link; return what was read back.

        Raises:
            BackendError: what was read back is not what was asked.
        """
        link = self.record.link_at(endpoint)
        shaping = self._shaping[link.name]
        return await self.do(shaping.set, direction_from(link, endpoint), impairments)

    async def impairments(self, endpoint: LinkEndpoint) -> Impairments:
        """Return the impairments of what leaves ``endpoint``, read from whoever impairs.

        Raises:
            BackendError: they cannot be read.
        """
        link = self.record.link_at(endpoint)
        return await self.do(self._shaping[link.name].read, direction_from(link, endpoint))

    async def begin(self) -> list[str]:
        """Let the run start: links number packets from now on; return whom the kernel does not impair.

        Raises:
            BackendError: a link's shaper does not answer.
        """
        await asyncio.gather(*(self.do(shaping.begin) for shaping in self._shaping.values()))
        return [
            f"{name}: impaired by the user-space shaper, not by the kernel: {shaping.why}"
            for name, shaping in self._shaping.items()
            if shaping.why
        ]

    async def counters(self, link: str) -> dict[str, dict[str, int]]:
        """Return what happened to a link's packets: by direction (``forward``, ``reverse``), by name."""
        return await self.do(self._shaping[link].counters)

    async def inject(self, endpoint: LinkEndpoint, frame: bytes) -> None:
        """Put an Ethernet frame on the link as if ``endpoint`` had sent it.

        Raises:
            BackendError: there is no such endpoint, or the frame does not fit.
        """
        self.record.link_at(endpoint)
        await self._injector.send(endpoint, self.namespace(endpoint.node), frame)

    async def set_forwarding(self, node: str, *, on: bool) -> None:
        """Let a router forward packets, or not.

        Raises:
            BackendError: there is no such node.
        """
        forwards = "1" if on else "0"
        setting = {"net/ipv4/ip_forward": forwards, "net/ipv6/conf/all/forwarding": forwards}
        await self.do(namespaces.inside, {self.namespace(node): partial(namespaces.write_settings, setting)})

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Change how long a NAT router keeps idle mappings (ns), or let it forget all; return what to tell.

        Raises:
            BackendError: it is no NAT router, or the kernel refuses.
        """
        if self.plan.node(node).nat is None:
            raise BackendError(f"node {node} is no NAT router")
        told = await self.do(nat.set_timeout, self.namespace(node), keep_for) if keep_for is not None else ""
        return f"{await self.do(nat.flush, self.namespace(node))} mappings forgotten" if flush else told

    async def start_captures(self, links: Collection[str] | None = None) -> None:
        """Capture every link from now on, or those named.

        Raises:
            BackendError: a capture does not come up.
        """
        await self.spawn_captures(links)
        await self.wait_for_captures()

    async def spawn_captures(self, links: Collection[str] | None = None) -> None:
        """Start the captures of every link, or of those named; ``wait_for_captures`` follows.

        Raises:
            BackendError: they cannot be started.
        """
        directory = Path(self.record.directory)
        chosen = [link for link in self.record.links if links is None or link.name in links]
        self._captures = await self.do(captures.start, chosen, directory, self.spawn)

    async def wait_for_captures(self) -> None:
        """Wait until every capture that was started sees packets.

        Raises:
            BackendError: one does not come up.
        """
        await captures.wait_ready(self._captures)

    def running_captures(self) -> dict[str, list[Path]]:
        """Return link name → the files that its running capture is written to."""
        return {capture.link.name: [capture.path] for capture in self._captures}

    async def stop_captures(self) -> dict[str, list[Path]]:
        """End the captures with everything written; return link name → files (none at the second call).

        Raises:
            BackendError: a capture failed.
        """
        running, self._captures = self._captures, []
        return await captures.stop(running)

    async def destroy(self) -> None:
        """Remove everything that was made; may be called twice."""
        self._injector.close()
        # Whoever waits for one of its processes in a thread stops waiting.
        await asyncio.to_thread(self._fork_server.end)
        await asyncio.to_thread(self._threads.end)
        await asyncio.to_thread(cleanup.remove, self.journal)
        for process in self.processes:
            process.poll()
            process.release()
        if self._fork_server.process is not None:
            self._fork_server.process.poll()

    def leave(self) -> None:
        """Let go of a detached lab: it stays up, for other commands to change and to destroy."""
        assert self._detached, "the processes of this lab end with ours"
        self._injector.close()
        self._threads.end()
        self._fork_server.leave()
        for process in self.processes:
            process.release()
        self.journal.close()

    async def do(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function that blocks, in a thread of the lab: ``destroy`` waits for its end."""
        return await self._threads.do(function, *arguments, **named)
