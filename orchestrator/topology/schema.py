"""The structure of a topology file as pydantic models, and the JSON Schema that editors use.

Only structure and single values are checked here; what needs two places of the file (does the node
exist, is there a path) is in `load`. Fields hold values in base units already.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    create_model,
)

from node.links.impairments.base import IMPAIRMENTS
from node.protocol.configuration import ARQ_CODES, INTEGRITY_CODES, MAX_DATAGRAM_SIZE, MIN_DATAGRAM_SIZE
from node.protocol.congestion.base import CONTROLLERS
from node.registry import UnknownNameError
from orchestrator.topology.quantities import (
    DurationText,
    FrequencyText,
    NameText,
    PositiveDuration,
    SizeText,
)

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


class Closed(BaseModel):
    """A mapping in which every key must be known. Keys are written with hyphens."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=lambda name: name.rstrip("_").replace("_", "-"),
    )
    #: What a user calls this mapping.
    noun: ClassVar[str] = "mapping"


def _impairment_field(name: str) -> tuple[Any, None]:
    kind = IMPAIRMENTS[name]

    def check(value: object) -> str:
        return kind.parse(value).format()

    schema = {"type": "string", "description": kind.description, "examples": [kind.example]}
    return (Annotated[object, AfterValidator(check), WithJsonSchema(schema)], None)


class _NetemBase(Closed):
    """Impairments of a link, in netem's words."""

    noun: ClassVar[str] = "set of impairments"

    def given(self) -> dict[str, object]:
        """Return the impairments that are written there."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


#: One field an impairment, so that a new impairment is in the schema by being registered.
Netem: type[_NetemBase] = create_model(
    "Netem",
    __base__=_NetemBase,
    __doc__=_NetemBase.__doc__,
    **{name: _impairment_field(name) for name in IMPAIRMENTS.names()},  # type: ignore[call-overload]
)


def _controller(value: str) -> str:
    try:
        CONTROLLERS[value]
    except UnknownNameError as error:
        raise ValueError(str(error)) from None
    return value


class Transport(Closed):
    """Settings of the transport; what is not given has the transport's own default."""

    noun: ClassVar[str] = "set of transport options"

    integrity: Literal["aead", "crc32c", "xor"] | None = Field(
        None, description="How packets are protected; crc32c and xor are insecure, for teaching."
    )
    arq: Literal["selective-repeat", "stop-and-wait", "go-back-n"] | None = Field(
        None, description="How lost packets are sent again."
    )
    congestion: (
        Annotated[
            str,
            AfterValidator(_controller),
            WithJsonSchema({"type": "string", "enum": CONTROLLERS.names()}),
        ]
        | None
    ) = Field(None, description="Congestion controller.")
    max_datagram_size: (
        Annotated[int, Field(ge=MIN_DATAGRAM_SIZE, le=MAX_DATAGRAM_SIZE)] | None
    ) = Field(None, description="UDP payload bytes of a full packet; follows the path's MTU by itself.")
    connection_window: SizeText = Field(None, validate_default=False)
    stream_window: SizeText = Field(None, validate_default=False)
    idle_timeout: DurationText = Field(None, validate_default=False)
    handshake_timeout: PositiveDuration = Field(None, validate_default=False)
    max_ack_delay: DurationText = Field(None, validate_default=False)

    def given(self) -> dict[str, object]:
        """Return the settings written there, by the names of ``Configuration``'s fields."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


# The Literals above spell the protocol's own tables out, for the type checker and the schema.
assert set(INTEGRITY_CODES) == {"aead", "crc32c", "xor"}
assert set(ARQ_CODES) == {"selective-repeat", "stop-and-wait", "go-back-n"}


class NodeEntry(Closed):
    """A node. Hosts run the agent and its flows, routers forward."""

    noun: ClassVar[str] = "node"

    kind: Literal["host", "router"] | None = Field(None, description="host (default) or router.")
    transport: Transport = Field(Transport(), description="Transport settings of this node's flows.")


class KindEntry(Closed):
    """What all nodes of a kind have in common."""

    noun: ClassVar[str] = "kind"

    transport: Transport = Field(Transport(), description="Transport settings of these nodes' flows.")


class Kinds(Closed):
    """Settings by kind of node."""

    noun: ClassVar[str] = "list of kinds"

    host: KindEntry = KindEntry()
    router: KindEntry = KindEntry()


Mtu = Annotated[int, Field(ge=1280, le=65_535)]


class Defaults(Closed):
    """What holds wherever nothing else is said."""

    noun: ClassVar[str] = "set of defaults"

    kind: Literal["host", "router"] = Field("host", description="Kind of nodes that name none.")
    transport: Transport = Field(Transport(), description="Transport settings of all flows.")
    netem: Netem = Field(Netem(), description="Impairments of all links, both ways.")  # type: ignore[valid-type]
    mtu: Mtu = Field(1500, description="MTU of links in bytes.")


class LinkEntry(Closed):
    """A link between two interfaces. A direction's key overrides the same key of ``netem``."""

    noun: ClassVar[str] = "link"

    endpoints: Annotated[list[NameText], Field(min_length=2, max_length=2)] = Field(
        description='The two ends: ["lisbon:eth1", "paris:eth1"].', examples=[["lisbon:eth1", "paris:eth1"]]
    )
    netem: Netem = Field(Netem(), description="Impairments both ways.")  # type: ignore[valid-type]
    netem_forward: Netem = Field(Netem(), description="From the first end to the second.")  # type: ignore[valid-type]
    netem_reverse: Netem = Field(Netem(), description="From the second end to the first.")  # type: ignore[valid-type]
    mtu: Mtu | None = Field(None, description="MTU in bytes.")


def _tolerate_empty(value: object) -> object:
    return {} if value is None else value


class Network(Closed):
    """Nodes and links, as in a containerlab file."""

    noun: ClassVar[str] = "topology"

    defaults: Defaults = Defaults()
    kinds: Kinds = Kinds()
    nodes: dict[str, Annotated[NodeEntry, BeforeValidator(_tolerate_empty)]] = Field(
        min_length=1, description="Name of each node and what it is."
    )
    links: list[LinkEntry] = Field([], description="Which interfaces are connected.")


class WorkloadEntry(Closed):
    """What every flow has."""

    noun: ClassVar[str] = "flow"

    name: NameText | None = Field(None, description="Name of the flow in results.")
    from_: NameText = Field(description="The host that opens the connection.")
    to: NameText = Field(description="The host that it connects to.")
    start: DurationText = Field(0, description="When the flow starts, from the start of the run.")
    transport: Transport = Field(Transport(), description="Transport settings of this flow.")

    #: Fields of a kind that are its options.
    option_names: ClassVar[tuple[str, ...]] = ()

    def options(self) -> dict[str, object]:
        """Return the workload's own options, in base units."""
        return {name: getattr(self, name) for name in self.option_names if name in self.model_fields_set}


Count = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class BulkEntry(WorkloadEntry):
    """Moves a file, or generated bytes, as fast as the path allows."""

    noun: ClassVar[str] = "bulk flow"
    option_names = ("size", "file", "seed")

    kind: Literal["bulk"] = Field(description="Moves a file, or generated bytes.")
    size: SizeText = Field(None, validate_default=False)
    file: str | None = Field(None, description="File to send, from the topology's directory.")
    seed: Seed | None = Field(None, description="Seed of the generated bytes.")


class EchoEntry(WorkloadEntry):
    """Sends requests and waits for each answer: measures round trips."""

    noun: ClassVar[str] = "echo flow"
    option_names = ("size", "count", "interval", "seed")

    kind: Literal["echo"] = Field(description="Requests, each answered with the same bytes.")
    size: SizeText = Field(None, validate_default=False)
    count: Count | None = Field(None, description="How many requests.")
    interval: DurationText = Field(None, validate_default=False)
    seed: Seed | None = Field(None, description="Seed of the generated bytes.")


class MessagesEntry(WorkloadEntry):
    """Sends messages whose boundaries the receiver restores."""

    noun: ClassVar[str] = "messages flow"
    option_names = ("size", "count", "rate", "seed")

    kind: Literal["messages"] = Field(description="Messages of one size at a steady rate.")
    size: SizeText = Field(None, validate_default=False)
    count: Count | None = Field(None, description="How many messages.")
    rate: FrequencyText = Field(None, validate_default=False)
    seed: Seed | None = Field(None, description="Seed of the generated bytes.")


AnyWorkload = Annotated[BulkEntry | EchoEntry | MessagesEntry, Field(discriminator="kind")]
WORKLOAD_KINDS = ("bulk", "echo", "messages")


def _shape(value: object) -> str:
    return "map" if isinstance(value, dict) else "list"


def _either(listed: Any, mapped: Any) -> Any:
    return Annotated[
        Annotated[listed, Tag("list")] | Annotated[mapped, Tag("map")], Discriminator(_shape)
    ]


class TopologyFile(Closed):
    """A lab, what runs on it, and what is expected of it."""

    noun: ClassVar[str] = "topology file"

    name: NameText = Field(description="Name of the lab.")
    description: str = Field("", description="One line that says what the lab shows.")
    topology: Network
    workloads: _either(list[AnyWorkload], dict[str, AnyWorkload]) = Field(  # type: ignore[valid-type]
        [], description="The flows: a list with names, or a mapping from name to flow."
    )
    expect: list[str | dict[str, str]] = Field(
        [],
        description="Statements that must hold: 'integrity == ok' for all flows, or 'flow: completion <= 30s'.",
        examples=[["integrity == ok", {"film": "completion <= 30s"}]],
    )
    seed: Seed = Field(1, description="Seed of the lab's keys and of everything random in simulation.")
    time_limit: PositiveDuration = Field(60 * 10**9, description="The run is stopped after this long.")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a topology file."""
    schema = TopologyFile.model_json_schema(by_alias=True)
    return {"$schema": SCHEMA_ID, **schema, "title": "Narrows topology"}


def json_schema_text() -> str:
    """Return the schema as the file ``topologies/schema.json`` holds it."""
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"
