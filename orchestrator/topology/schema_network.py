"""The network of a topology file: nodes, links, kinds of both, defaults, and generators."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, create_model

from orchestrator.topology.closed import Closed
from orchestrator.topology.generators.base import GENERATORS, Generator
from orchestrator.topology.quantities import NameText, PositiveDuration
from orchestrator.topology.schema import Netem, Seed, Transport

Mtu = Annotated[int, Field(ge=1280, le=65_535)]
IpVersion = Literal[4, 6, "dual"]
_IP = "Addresses: 4 for IPv4 (default), 6 for IPv6, or dual for both."
#: A size that no machine has room for is refused with what it would make, not as a number.
_MAX_SIZE = 10**12


class NodeEntry(Closed):
    """A node. Hosts run the agent and its flows, routers forward."""

    noun: ClassVar[str] = "node"

    kind: NameText | None = Field(
        default=None,
        description="host (default), router, nat, or a kind of your own.",
        examples=["host", "router"],
    )
    timeout: PositiveDuration = Field(default=None, validate_default=False)
    outside: NameText | None = Field(
        default=None, description="nat: the interface towards the outside; the last one if not given."
    )
    ports: Literal["preserve", "random"] | None = Field(
        default=None, description="nat: whether a mapping keeps its port where that is free (default)."
    )
    transport: Transport = Field(default=Transport(), description="Transport settings of this node's flows.")


class KindEntry(NodeEntry):
    """What all nodes of a kind have in common; ``kind`` names the kind that it is made from."""

    noun: ClassVar[str] = "kind"


class LinkSettings(Closed):
    """What a link may say of itself. A direction's key overrides the same key of ``netem``."""

    kind: NameText | None = Field(default=None, description="One of link-kinds: what is not said here.")
    netem: Netem = Field(default=Netem(), description="Impairments both ways.")
    netem_forward: Netem = Field(default=Netem(), description="From the first end to the second.")
    netem_reverse: Netem = Field(default=Netem(), description="From the second end to the first.")
    mtu: Mtu | None = Field(default=None, description="MTU in bytes.")
    ip: IpVersion | None = Field(default=None, description=_IP)


class LinkKindEntry(LinkSettings):
    """What all links of a kind have in common; ``kind`` names the kind that it is made from."""

    noun: ClassVar[str] = "kind of links"


class LinkEntry(LinkSettings):
    """A link between two interfaces."""

    noun: ClassVar[str] = "link"

    endpoints: Annotated[list[NameText], Field(min_length=2, max_length=2)] = Field(
        description='The two ends: ["lisbon:eth1", "paris:eth1"].', examples=[["lisbon:eth1", "paris:eth1"]]
    )


class Defaults(Closed):
    """What holds wherever nothing else is said."""

    noun: ClassVar[str] = "set of defaults"

    kind: NameText = Field(default="host", description="Kind of nodes that name none.", examples=["router"])
    transport: Transport = Field(default=Transport(), description="Transport settings of all flows.")
    netem: Netem = Field(default=Netem(), description="Impairments of all links, both ways.")
    mtu: Mtu = Field(default=1500, description="MTU of links in bytes.")
    ip: IpVersion = Field(default=4, description=_IP)


class GeneratorEntry(Closed):
    """Nodes and links by their shape and sizes."""

    noun: ClassVar[str] = "generator"


def _named_kind(value: object) -> object:
    """Take the name of a kind for the settings that name it."""
    return {"kind": value} if isinstance(value, str) else value


def _kind_or(settings: Any) -> Any:
    return Annotated[settings, BeforeValidator(_named_kind, json_schema_input_type=str | settings)]


def _roles(shape: type[Generator], what: str, roles: dict[str, str], kind: Any) -> Any:
    """Return the model of a mapping from role to something."""
    fields: dict[str, Any] = {
        role: (kind | None, Field(default=None, description=description))
        for role, description in roles.items()
    }
    made = create_model(f"{shape.__name__}{what.title()}", __base__=GeneratorEntry, **fields)
    made.noun = f"set of {what} of a {shape.name}"
    return made


def _entry(shape: type[Generator]) -> Any:
    """Return the model of a generator of one shape."""
    nodes = {
        role: f"By default a {found.kind} called {found.pattern}." for role, found in shape.roles.items()
    }
    links = dict(shape.links)
    fields: dict[str, Any] = {"shape": (Literal[shape.name], Field(description=shape.description))}
    for name, size in shape.sizes.items():
        fields[name.replace("-", "_")] = (
            Annotated[int, Field(ge=size.least, le=_MAX_SIZE)],
            Field(default=size.default, description=size.description)
            if size.default is not None
            else Field(description=size.description),
        )
    if shape.chance:
        fields["seed"] = (Seed | None, Field(default=None, description="Another seed gives another graph."))
    patterns = _roles(shape, "names", nodes, str)
    fields["names"] = (
        patterns,
        Field(default=patterns(), description="Role → pattern of names, {n} counting from 1."),
    )
    kinds = _roles(shape, "nodes", nodes, _kind_or(NodeEntry))
    fields["nodes"] = (
        kinds,
        Field(default=kinds(), description="Role → kind of these nodes, or their settings."),
    )
    ways = _roles(shape, "links", links, _kind_or(LinkSettings))
    fields["links"] = (
        ways,
        Field(default=ways(), description="Role → kind of these links, or their settings."),
    )
    made = create_model(shape.__name__, __base__=GeneratorEntry, **fields)
    made.noun = f"{shape.name} generator"
    return made


#: Shape → its model: a new shape is in the schema by being registered.
GENERATOR_ENTRIES: dict[str, type[GeneratorEntry]] = {
    name: _entry(GENERATORS[name]) for name in GENERATORS.names()
}


if TYPE_CHECKING:
    AnyGenerator = GeneratorEntry
else:
    AnyGenerator = Annotated[reduce(or_, GENERATOR_ENTRIES.values()), Field(discriminator="shape")]


class Network(Closed):
    """Nodes and links, as in a containerlab file."""

    noun: ClassVar[str] = "topology"

    defaults: Defaults = Defaults()
    kinds: dict[str, KindEntry | None] = Field(
        default={}, description="Kinds of nodes: settings of host and router, and kinds of your own."
    )
    link_kinds: dict[str, LinkKindEntry] = Field(default={}, description="Named sets of settings of links.")
    generate: dict[str, AnyGenerator] = Field(
        default={}, description="Name → nodes and links by their shape."
    )
    nodes: dict[str, NodeEntry | None] = Field(default={}, description="Name of each node and what it is.")
    links: list[LinkEntry] = Field(default=[], description="Which interfaces are connected.")
