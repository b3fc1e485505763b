"""The two interfaces that every back end implements: Backend makes a Deployment of a plan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from node.control.messages import Command, NodeEvent, Reply
from node.links.settings import Impairments
from node.protocol.time import Duration, Instant
from node.registry import Registry
from orchestrator.errors import BackendError
from orchestrator.measure.prober import Prober
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan


class Impairment(Enum):
    """Who impairs the packets; every report says which."""

    KERNEL = "kernel"
    USERSPACE = "userspace"
    SIMULATED = "simulated"


class NodeState(Enum):
    """What a node can be set to."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a back end can do at all, machine aside."""

    virtual_time: bool
    impairments: frozenset[str]
    captures: bool = True
    injection: bool = True
    #: Whether a node that was stopped can be set running again.
    nodes_return: bool = True
    #: Whether nodes can be paused and stopped at all.
    node_states: bool = True
    #: Transports of flows that its nodes have.
    transports: frozenset[str] = frozenset({"strait", "tcp", "quic"})
    #: Whether its nodes have what these need by themselves; else this machine must have it.
    brings_transports: bool = False
    #: Whether its nodes have other rights than this process: what it may do says nothing of them.
    nodes_have_own_rights: bool = False
    #: Whether it has NAT routers.
    nat: bool = True
    #: Whether links carry IPv6.
    ipv6: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """Something this machine lacks for a back end, and how to get it."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What a run left behind, all below the results directory."""

    #: link name → the pcapng files of that link (one for each end, or one for both).
    captures: dict[str, list[Path]] = field(default_factory=dict)
    #: Key logs of the nodes.
    key_logs: list[Path] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    #: Sending end → frames that were still on the link when the captures ended; not there: none, or unknown.
    under_way: dict[str, int] = field(default_factory=dict)


class Deployment(Protocol):
    """A lab that is up."""

    #: Who impairs the packets here.
    impairment: Impairment

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node's agent and return its reply."""
        ...

    async def set_impairments(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Replace the whole set of what leaves ``endpoint`` on its link; return what was read back.

        Raises:
            BackendError: what was read back is not what was asked.
        """
        ...

    async def set_node_state(self, node: str, state: NodeState) -> None:
        """Run, pause or stop a node. A router that is not running forwards nothing.

        Raises:
            BackendError: there is no such node, or the back end cannot do that (``Capabilities``).
        """
        ...

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Change how long a NAT router keeps idle mappings, or let it forget all; return what to tell.

        Args:
            node: the router.
            keep_for: the new time-out, ns; None: as it is.
            flush: whether it forgets all mappings now.

        Raises:
            BackendError: it is no NAT router, or cannot do that.
        """
        ...

    async def inject(self, endpoint: LinkEndpoint, frame: bytes) -> None:
        """Put an Ethernet frame on the link as if ``endpoint`` had sent it."""
        ...

    def events(self) -> AsyncIterator[NodeEvent]:
        """Yield what the nodes report, in order of arrival, until the deployment is destroyed."""
        ...

    def now(self) -> Instant:
        """Return the lab's clock in ns (virtual in simulation)."""
        ...

    async def sleep(self, duration: Duration) -> None:
        """Let the lab's clock advance."""
        ...

    async def collect(self, directory: Path) -> Collected:
        """End the captures and bring all artefacts below ``directory``."""
        ...

    async def destroy(self) -> None:
        """Remove everything; may be called twice."""
        ...


@runtime_checkable
class Begins(Protocol):
    """A deployment whose links know when the run starts: all of ours."""

    async def begin(self) -> list[str]:
        """Let the run start: from now on links number packets, and play their traces.

        Return what the user must know of who impairs which link.

        Raises:
            BackendError: who impairs does not answer.
        """
        ...


@runtime_checkable
class Measurable(Protocol):
    """A deployment that can put frames of its own on its links, and see what comes out of them."""

    def prober(self, links: Sequence[str]) -> Prober:
        """Return what measures the named links; ``close`` it afterwards.

        Raises:
            BackendError: it cannot be had.
        """
        ...


@runtime_checkable
class Sniffed(Protocol):
    """A deployment whose captures can be read while they run."""

    def running_captures(self) -> dict[str, list[Path]]:
        """Return link name → the files that its capture is written to; none: nothing is captured.

        What has been captured is in them but for what the capture itself holds back: on virtual time
        nothing, else the last moments. The last block may be cut off.
        """
        ...


@runtime_checkable
class Counting(Protocol):
    """A deployment whose links count what becomes of packets."""

    async def link_counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return what happened so far (sent, lost, overflowed …), by the end that sends.

        Raises:
            BackendError: it cannot be read.
        """
        ...


class Backend(Protocol):
    """A way to make labs."""

    name: ClassVar[str]

    def capabilities(self) -> Capabilities:
        """Return what this back end can do."""
        ...

    def check(self) -> list[Problem]:
        """Return, by trying, what this machine lacks; empty: it can run here."""
        ...

    async def deploy(
        self, plan: DeploymentPlan, *, run_id: str, directory: Path, capture: bool = True
    ) -> Deployment:
        """Make the lab: nodes with running agents, links with impairments set, captures running.

        Args:
            run_id: eight lower-case hex digits; part of every name and label made.
            directory: where the run's files go (configurations, sockets, captures, logs).
            capture: whether each link is captured.

        Raises:
            BackendError: it cannot be made; what was made so far has been removed.
        """
        ...


@contextmanager
def files_below(directory: Path) -> Iterator[None]:
    """Tell where the files of a run were to go, if they cannot be made there.

    Raises:
        BackendError: the block raised OSError.
    """
    try:
        yield
    except OSError as error:
        raise BackendError(f"the files of the run cannot be made in {directory}: {error}") from error


BACKENDS: Registry[type[Backend]] = Registry("backend", "orchestrator.backends")
