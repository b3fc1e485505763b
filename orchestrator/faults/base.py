"""The interface of an action, what it may ask of a lab, and the registry.

An action is made from its arguments (plain data in base units, as the topology file or the command line
gave them) and from a ``View`` of the lab's names. Making it checks it; it is data from then on.

::

    begin ──► (for: … passes) ──► end         actions that last
    begin                                     actions of an instant
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

from node.control.messages import Command, Reply
from node.links.settings import Impairments
from node.protocol.time import Duration
from node.registry import Registry
from orchestrator.errors import BackendError
from orchestrator.topology.errors import suggestion
from orchestrator.topology.model import LinkEndpoint, NodeKind, Topology
from orchestrator.topology.quantities import Names

Ends = tuple[LinkEndpoint, LinkEndpoint]


class FaultError(ValueError):
    """An action cannot be made of its arguments, or makes no sense in this lab.

    Args:
        message: what was found, and why it is wrong.
        advice: what to do, a sentence each.
        path: where below the action's own value.
    """

    def __init__(self, message: str, *advice: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__("; ".join((message, *advice)))
        self.message = message
        self.advice = advice
        self.path = path


class Lasting(Enum):
    """Whether an action has an end."""

    #: It happens, and that is all: ``for:`` makes no sense.
    NEVER = "never"
    #: It lasts until ``for:`` is over, or until something else ends it.
    MAY = "may"
    #: It must say how long.
    MUST = "must"


class Need(Enum):
    """What a back end must be able to do for an action; the values are what users read."""

    NODE_STATES = "crash or pause nodes"
    NODES_RETURN = "bring a crashed node back"
    NAT = "make NAT routers"


@dataclass(frozen=True, slots=True)
class View:
    """The names of a lab, which arguments of actions refer to."""

    nodes: Mapping[str, NodeKind]
    links: tuple[Ends, ...]
    flows: frozenset[str]

    @classmethod
    def of(cls, topology: Topology) -> View:
        """Return the view of a topology."""
        return cls(
            {node.name: node.kind for node in topology.nodes},
            tuple((link.a, link.b) for link in topology.links),
            frozenset(flow.name for flow in topology.workloads),
        )

    def node(self, name: str, *, path: tuple[str | int, ...] = ()) -> str:
        """Return ``name`` if it is a node's (FaultError: it is not)."""
        if name not in self.nodes:
            raise FaultError(f"no node is called {name!r}", *suggestion(name, self.nodes), path=path)
        return name

    def host(self, name: str, *, path: tuple[str | int, ...] = ()) -> str:
        """Return ``name`` if it is a host's (FaultError: it is not)."""
        kind = self.nodes[self.node(name, path=path)]
        if kind is not NodeKind.HOST:
            hosts = [found for found, kind in self.nodes.items() if kind is NodeKind.HOST]
            raise FaultError(
                f"{name!r} is a {kind.value} and has no agent", f"use a host: {', '.join(hosts)}", path=path
            )
        return name

    def nat(self, name: str, *, path: tuple[str | int, ...] = ()) -> str:
        """Return ``name`` if it is a NAT router's (FaultError: it is not)."""
        kind = self.nodes[self.node(name, path=path)]
        if kind is not NodeKind.NAT:
            message = f"{name!r} is a {kind.value} and has no mappings to forget"
            raise FaultError(message, "name a node of kind nat", path=path)
        return name

    def flow(self, name: str, *, path: tuple[str | int, ...] = ()) -> str:
        """Return ``name`` if it is a flow's (FaultError: it is not)."""
        if name not in self.flows:
            raise FaultError(f"no flow is called {name!r}", *suggestion(name, self.flows), path=path)
        return name

    def endpoint(self, text: str, *, path: tuple[str | int, ...] = ()) -> LinkEndpoint:
        """Return the endpoint written ``lisbon:eth1`` (FaultError: there is none)."""
        known = {str(end): end for ends in self.links for end in ends}
        if text not in known:
            raise FaultError(f"no link ends at {text!r}", *suggestion(text, known), path=path)
        return known[text]

    def links_at(self, text: str, *, path: tuple[str | int, ...] = ()) -> list[Ends]:
        """Return the links that ``text`` names: by an end, by both, or all of a node or between two nodes.

        Both ends are written ``a:eth1--b:eth1`` and two nodes ``a--b``, in either order.

        Raises:
            FaultError: there is none.
        """
        found = [ends for ends in self.links if text in _names(*ends)]
        if not found:
            between = text.count("--") == 1
            known = (
                [f"{a.node}--{b.node}" for a, b in self.links]
                if between
                else [*(str(end) for ends in self.links for end in ends), *self.nodes]
            )
            problem = f"no link is called {text!r}" if between else f"no link ends at {text!r}"
            raise FaultError(problem, *suggestion(text, known), path=path)
        return found

    def directions(
        self, texts: Iterable[str], *, path: tuple[str | int, ...] = ()
    ) -> tuple[LinkEndpoint, ...]:
        """Return both ends of all links that ``texts`` name, each once (FaultError: one names none)."""
        ends = (
            end
            for index, text in enumerate(texts)
            for link in self.links_at(text, path=(*path, index))
            for end in link
        )
        return tuple(dict.fromkeys(ends))


def _names(a: LinkEndpoint, b: LinkEndpoint) -> frozenset[str]:
    """Return all that name the link between two ends."""
    pairs = ((a, b), (b, a), (a.node, b.node), (b.node, a.node))
    return frozenset((str(a), str(b), a.node, b.node, *(f"{one}--{other}" for one, other in pairs)))


class Fault:
    """An action on a lab. A class each; made anew for each time that it happens."""

    name: ClassVar[str]
    #: What it does, in a sentence, for help and schema.
    summary: ClassVar[str]
    #: Its value as a topology file has it, for documents and the contract test.
    example: ClassVar[str]
    #: What pydantic reads its value as: a type, or a field's type for each key of a mapping.
    shape: ClassVar[Any]
    lasting: ClassVar[Lasting] = Lasting.NEVER

    def __init__(self, value: Any, view: View) -> None:
        raise NotImplementedError

    @classmethod
    def value_of(cls, words: list[str]) -> object:
        """Return what a topology file would have for the words of a command line.

        A mapping's first key takes the first word without ``=``; all others are ``key=value``.
        """
        if not isinstance(cls.shape, Mapping):
            return words
        value: dict[str, object] = {}
        for word in words:
            key, equals, text = word.partition("=")
            name = key if equals else next(iter(cls.shape))
            plain = text if equals else word
            value[name] = {"true": True, "false": False}.get(plain, plain)
        return value

    def claims(self) -> tuple[str, ...]:
        """Return what it holds while it lasts: no second action may hold the same at the same time."""
        return ()

    def ends(self, claim: str) -> bool:
        """Return whether it ends what holds ``claim``."""
        return False

    def expects(self) -> tuple[str, str] | None:
        """Return what must be held when it begins, as (start of a claim, words); None: nothing."""
        return None

    def needs_up(self) -> tuple[str, ...]:
        """Return the nodes that must run when it begins."""
        return ()

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return what the back end must be able to do; ``ends``: it is to end by itself."""
        return frozenset()

    def lane(self) -> str:
        """Return what it is done to: what has one lane is done one after the other."""
        return self.name

    def steps(self, duration: Duration | None) -> Iterator[tuple[Duration, Duration | None]]:
        """Yield when it begins, from its time on, and how long it then lasts, in order."""
        yield 0, duration

    def count_steps(self, duration: Duration | None) -> int:
        """Return how many ``steps`` there would be, without making them."""
        return 1

    async def begin(self, lab: FaultLab) -> str:
        """Do it; return what is worth telling.

        Raises:
            TestbedError: it cannot be done.
        """
        raise NotImplementedError

    async def end(self, lab: FaultLab) -> str:
        """Undo it; return what is worth telling.

        Raises:
            TestbedError: it cannot be undone.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        """Return what it is done to, as users read it."""
        return ""


class NodesFault(Fault):
    """An action on nodes, which its value lists by name."""

    example: ClassVar[str] = "b"
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self.nodes = tuple(self.find(view, name, (index,)) for index, name in enumerate(value))
        #: What is held by who keeps the nodes from running.
        self.held = tuple(f"node {name}" for name in self.nodes)

    def find(self, view: View, name: str, path: tuple[int]) -> str:
        """Return ``name`` if the action can be done to that node (FaultError: it cannot)."""
        return view.node(name, path=path)

    def lane(self) -> str:
        """Return the nodes' lane."""
        return self.held[0]

    def __str__(self) -> str:
        """Return the nodes."""
        return ", ".join(self.nodes)


class DownFault(NodesFault):
    """An action that keeps nodes from running while it lasts."""

    lasting: ClassVar[Lasting] = Lasting.MAY

    def claims(self) -> tuple[str, ...]:
        """Return the nodes, which are not there for other actions while it lasts."""
        return self.held

    def needs_up(self) -> tuple[str, ...]:
        """Return the nodes."""
        return self.nodes

    async def end(self, lab: FaultLab) -> str:
        """Let them run again."""
        for node in self.nodes:
            await lab.run(node)
        return ""


class FlowsFault(Fault):
    """An action on flows, which its value lists by name."""

    example: ClassVar[str] = "film"
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self.flows = tuple(view.flow(name, path=(index,)) for index, name in enumerate(value))

    def lane(self) -> str:
        """Return the flows' lane."""
        return "flows"

    def __str__(self) -> str:
        """Return the flows."""
        return ", ".join(self.flows)


class LinkFault(Fault):
    """An action on directions of links, by endpoints that send: what it does to their impairments.

    It lies over what the topology and earlier actions say, and leaves that alone: when it ends, what is
    below it holds again, whatever has changed there in between.
    """

    lasting: ClassVar[Lasting] = Lasting.MAY
    endpoints: tuple[LinkEndpoint, ...] = ()

    def transform(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Return what holds for ``endpoint`` instead of ``impairments`` (ImpairmentsError: nothing can)."""
        raise NotImplementedError

    def lane(self) -> str:
        """Return the one lane of all links."""
        return "links"

    def claims(self) -> tuple[str, ...]:
        """Return each direction: one action of a kind at a time."""
        return tuple(f"{self.name} {endpoint}" for endpoint in self.endpoints)

    async def begin(self, lab: FaultLab) -> str:
        """Lay it over the links."""
        await lab.links.add(self)
        return ""

    async def end(self, lab: FaultLab) -> str:
        """Take it off again."""
        await lab.links.remove(self)
        return ""

    def __str__(self) -> str:
        """Return the endpoints; a link that is meant both ways by its name."""
        return ", ".join(map(str, self.endpoints))


def lost(impairments: Impairments) -> Impairments:
    """Return what loses every packet and else is as ``impairments``: packets on their way go on."""
    try:
        return impairments.replace({"loss": "100%"})
    except ValueError:  # another kind of loss is there, and two do not go together
        return Impairments.parse({"loss": "100%"})


class Links(Protocol):
    """The impairments of a lab's links, with actions laid over them."""

    async def add(self, fault: LinkFault) -> None:
        """Lay an action over all that is there (BackendError: a link does not take it)."""
        ...

    async def remove(self, fault: LinkFault) -> None:
        """Take it off; nothing happens if it is not there."""
        ...

    async def lift(self, names: frozenset[str], endpoints: Iterable[LinkEndpoint]) -> int:
        """Take actions of these names off these endpoints; return how many were touched."""
        ...


class Flows(Protocol):
    """The flows of a run."""

    async def start_flow(self, flow: str) -> None:
        """Start a flow (BackendError: it does not start)."""
        ...

    async def stop_flow(self, flow: str) -> None:
        """End a flow in good order; nothing happens if it is over."""
        ...


class FaultLab(Protocol):
    """What an action may do to a lab."""

    @property
    def links(self) -> Links:
        """Impairments of links."""
        ...

    async def crash(self, node: str) -> None:
        """End a node's agent at once; a router forwards no more."""
        ...

    async def pause(self, node: str) -> None:
        """Let a node get no CPU."""
        ...

    async def run(self, node: str) -> None:
        """Let a crashed or paused node run again."""
        ...

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node's agent."""
        ...

    @property
    def flows(self) -> Flows:
        """The flows of the run (BackendError: there is no run)."""
        ...

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Change a NAT router's time-out (ns; None: as it is), or let it forget; return what to tell."""
        ...

    def next_address(self, node: str) -> str:
        """Return the address that a node moves to when it leaves its present one (BackendError: none)."""
        ...

    def main_address(self, node: str) -> str:
        """Return the address that a node has by its topology."""
        ...

    def nat_timeout(self, node: str) -> Duration:
        """Return the time-out that a NAT router has by its topology, ns."""
        ...


async def order(lab: FaultLab, node: str, name: str, **arguments: object) -> Mapping[str, object]:
    """Hand a command to a node, and return the data of its reply.

    Raises:
        BackendError: the node refused.
    """
    reply = await lab.request(node, Command(name, arguments))
    if not reply.ok:
        raise BackendError(f"{node}: {reply.error}")
    return reply.data


#: name → class of action
FAULTS: Registry[type[Fault]] = Registry("fault", "orchestrator.faults")
