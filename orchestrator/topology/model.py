"""What a topology file says, as frozen dataclasses: nothing of YAML travels further than here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from node.links.settings import Impairments
from node.protocol.time import Duration
from orchestrator.topology.calibrating import Calibrate


class NodeKind(Enum):
    """What a node does: hosts run the agent and its workloads, routers forward, NAT routers translate too."""

    HOST = "host"
    ROUTER = "router"
    NAT = "nat"

    @property
    def forwards(self) -> bool:
        """Whether packets of others pass through it."""
        return self is not NodeKind.HOST


class NatPorts(Enum):
    """Which outer port a NAT router gives a mapping."""

    #: The inner one, if it is free.
    PRESERVE = "preserve"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Nat:
    """What a NAT router does."""

    #: How long a mapping that carries nothing is kept, ns.
    timeout: Duration
    #: The interface whose address stands for all that is behind the others.
    outside: str
    ports: NatPorts = NatPorts.PRESERVE


class IpVersion(Enum):
    """Which addresses the ends of a link have."""

    FOUR = "4"
    SIX = "6"
    DUAL = "dual"

    @property
    def families(self) -> tuple[int, ...]:
        """Return the versions of IP that cross the link."""
        return (4, 6) if self is IpVersion.DUAL else (int(self.value),)


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the lab."""

    name: str
    kind: NodeKind
    #: Transport settings of this node (``integrity``, ``arq``, ``congestion`` …), merged with the defaults.
    transport: Mapping[str, object] = field(default_factory=dict)
    #: What it does as a NAT router; None: it is none.
    nat: Nat | None = None


@dataclass(frozen=True, slots=True)
class LinkEndpoint:
    """An interface of a node: ``lisbon:eth1``."""

    node: str
    interface: str

    def __str__(self) -> str:
        return f"{self.node}:{self.interface}"


@dataclass(frozen=True, slots=True)
class Link:
    """A point-to-point link with its impairments in each direction."""

    a: LinkEndpoint
    b: LinkEndpoint
    #: From a to b.
    forward: Impairments
    #: From b to a.
    reverse: Impairments
    mtu: int = 1500
    ip: IpVersion = IpVersion.FOUR

    @property
    def name(self) -> str:
        """The link's name in results and files: ``lisbon:eth1--paris:eth1``."""
        return f"{self.a}--{self.b}"


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """One flow: what runs from which node to which."""

    #: Name of the flow in results.
    name: str
    #: Registered workload: ``bulk``, ``echo``, ``messages``.
    kind: str
    source: str
    target: str
    #: Options of the workload (``size`` in bytes, ``file``, ``count`` …), parsed to plain numbers.
    options: Mapping[str, object]
    #: Transport settings of this flow: ``integrity``, ``arq``, ``congestion`` …
    transport: Mapping[str, object]
    start: Duration = 0
    #: How many connections it makes, one after the other.
    connections: int = 1
    #: Whether it starts anew when one of its nodes crashed and has come back.
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """What happens at a time, as the topology says."""

    at: Duration
    #: Registered action: ``cut``, ``crash`` … (orchestrator.faults).
    action: str
    #: Its arguments: plain data, in base units.
    value: object
    #: How long it lasts; None: it is of an instant, or lasts until something ends it.
    duration: Duration | None = None
    #: The time between two of its beginnings; None: it happens once.
    every: Duration | None = None
    #: How often it happens; None: until the time limit.
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """One pass-or-fail statement about the run."""

    #: Registered expectation: ``completion``, ``goodput``, ``rtt``, ``integrity``, ``wire`` …
    kind: str
    #: The flow it is about; None: all flows.
    flow: str | None
    #: Comparison, one of ``<=``, ``>=``, ``==``.
    operator: str
    #: Right-hand side in base units (ns, bit/s, ratio, count).
    value: float
    #: As the user wrote it, for reports.
    text: str
    #: What it is about, in brackets: flows, or the end of a link that sends; empty: all of them.
    arguments: tuple[str, ...] = ()
    #: Of the values of all runs together: median, mean, min, max; empty: it holds in every run.
    aggregate: str = ""


@dataclass(frozen=True, slots=True)
class CaseBreak:
    """A wrong setting that a case must notice."""

    #: Parameter → value, as text.
    parameters: Mapping[str, str]
    #: The expectation that is missed then, as the file writes it.
    misses: str


@dataclass(frozen=True, slots=True)
class Case:
    """What makes a topology a case of the suite (docs/cases.md)."""

    #: Short name in tables: ``H``, ``LR`` …
    letter: str
    #: ``interop``: as in the QUIC interop runner; ``narrows``: ours.
    group: str
    breaks: tuple[CaseBreak, ...]
    #: Back end → parameters that take the place of others there, as text.
    on: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab and its experiment."""

    name: str
    description: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    workloads: tuple[WorkloadSpec, ...]
    expectations: tuple[Expectation, ...]
    #: Seed of everything random in simulation, and of the lab's keys.
    seed: int
    #: The run is stopped after this long (of the back end's clock).
    time_limit: Duration
    #: Whether the nodes write a qlog file of each connection.
    qlog: bool = False
    #: What happens to the lab meanwhile, in the order of the file.
    timeline: tuple[TimelineEvent, ...] = ()
    #: What becomes of a link that does not do what is asked; None: it is told, where links are real.
    calibrate: Calibrate | None = None
    #: How often it is run, with one seed after the other.
    repeats: int = 1
    #: Marks to find the lab by.
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Names of the parameters that its file has.
    parameters: tuple[str, ...] = ()
    #: What it is as a case of the suite; None: it is none.
    case: Case | None = None

    _nodes: Mapping[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the nodes by name: a lab may have ten thousand."""
        object.__setattr__(self, "_nodes", {node.name: node for node in self.nodes})

    def node(self, name: str) -> Node:
        """Return the node called ``name`` (KeyError if there is none)."""
        return self._nodes[name]
