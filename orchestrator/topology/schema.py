"""The structure of a topology file as pydantic models: impairments, transport settings and flows.

Only structure and single values are checked here; what needs two places of the file (does the node
exist, is there a path) is in `load`. Fields hold values in base units already. Nodes, links, kinds and
generators are in `schema_network`, the file as a whole in `schema_file`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    create_model,
    model_validator,
)

from node.links.impairments.base import IMPAIRMENTS, Impairment
from node.protocol.configuration import (
    ARQ_CODES,
    FEC_ARQ_CODES,
    FEC_CODES,
    INTEGRITY_CODES,
    MAX_DATAGRAM_SIZE,
    MAX_HALF_OPEN,
    MAX_KEY_UPDATE_PACKETS,
    MIN_DATAGRAM_SIZE,
)
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.suites import CIPHER_CODES, HANDSHAKE_CODES
from node.series import MAX_CONNECTIONS_IN_SERIES
from node.transports.base import TRANSPORTS
from node.workloads.files import MAX_FILES
from node.workloads.incast import MAX_ROUNDS
from node.workloads.request_response import MAX_STREAMS
from orchestrator.topology.closed import Closed
from orchestrator.topology.quantities import (
    DurationText,
    EndsText,
    FrequencyText,
    NameText,
    PositiveDuration,
    SizeText,
)


def _impairment_field(name: str) -> tuple[Any, None]:
    kind = IMPAIRMENTS[name]

    def check(value: object) -> str:
        return kind.parse(value).format()

    schema = {"type": kind.json_type, "description": kind.description, "examples": [_json_example(kind)]}
    return (Annotated[object, AfterValidator(check), WithJsonSchema(schema)], None)


def _json_example(kind: type[Impairment]) -> object:
    return kind.example if kind.json_type == "string" else json.loads(kind.example)


class NetemEntry(Closed):
    """Impairments of a link, in netem's words."""

    noun: ClassVar[str] = "set of impairments"

    def given(self) -> dict[str, object]:
        """Return the impairments that are written there."""
        return {name.replace("_", "-"): getattr(self, name) for name in sorted(self.model_fields_set)}


#: One field an impairment, so that a new impairment is in the schema by being registered.
_NETEM: type[NetemEntry] = create_model(
    "Netem",
    __base__=NetemEntry,
    __doc__=NetemEntry.__doc__,
    **{name.replace("-", "_"): _impairment_field(name) for name in IMPAIRMENTS.names()},  # type: ignore[call-overload]
)
if TYPE_CHECKING:
    Netem = NetemEntry
else:
    Netem = _NETEM


#: Controllers of every transport; which one has which is checked where the transport is known.
_CONTROLLERS = sorted(
    {
        *CONTROLLERS.names(),
        *(str(c) for name in TRANSPORTS for c in TRANSPORTS[name].settings.get("congestion", ())),
    }
)


def _controller(value: str) -> str:
    if value not in _CONTROLLERS and value not in CONTROLLERS:
        known = ", ".join(_CONTROLLERS)
        raise ValueError(f"there is no congestion controller {value!r}; use one of {known}")
    return value


class Transport(Closed):
    """Settings of the transport; what is not given has the transport's own default."""

    noun: ClassVar[str] = "set of transport options"

    protocol: Literal["strait", "tcp", "quic"] | None = Field(
        default=None,
        description="What carries the flow: Strait, or to compare with it TCP or QUIC.",
    )
    integrity: Literal["aead", "crc32c", "xor"] | None = Field(
        default=None, description="How packets are protected; crc32c and xor are insecure, for teaching."
    )
    arq: Literal["selective-repeat", "stop-and-wait", "go-back-n"] | None = Field(
        default=None, description="How lost packets are sent again."
    )
    fec: Literal["none", "xor", "reed-solomon"] | None = Field(
        default=None, description="Forward error correction; not with stop-and-wait."
    )
    fec_arq: Literal["always", "on-request", "never"] | None = Field(
        default=None,
        description="With FEC, when lost packets are sent again: at once, unless repaired, or never.",
    )
    fec_overhead_percent: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="Repair packets at most, in percent of the packets they protect."
    )
    congestion: (
        Annotated[
            str,
            AfterValidator(_controller),
            WithJsonSchema({"type": "string", "enum": _CONTROLLERS}),
        ]
        | None
    ) = Field(default=None, description="Congestion controller.")
    remember_path: bool | None = Field(
        default=None, description="Begin with half of what the last connection to this peer could send."
    )
    handshake: Literal["ik", "xx", "ik-psk2"] | None = Field(
        default=None, description="Noise pattern of the handshake; ik-psk2's secret follows from the seed."
    )
    cipher: Literal["aes-gcm", "chacha20-poly1305"] | None = Field(
        default=None, description="Cipher of the handshake and of aead packets."
    )
    post_quantum: bool | None = Field(
        default=None, description="Mix ML-KEM-768 into the handshake; needs an MTU of 1500."
    )
    early_data: bool | None = Field(
        default=None,
        description="Send data beside the handshake to a node met before; it may be replayed.",
    )
    max_datagram_size: Annotated[int, Field(ge=MIN_DATAGRAM_SIZE, le=MAX_DATAGRAM_SIZE)] | None = Field(
        default=None, description="UDP payload bytes of a full packet; follows the path's MTU."
    )
    connection_window: SizeText = Field(default=None, validate_default=False)
    stream_window: SizeText = Field(default=None, validate_default=False)
    initial_connection_window: SizeText = Field(default=None, validate_default=False)
    initial_stream_window: SizeText = Field(default=None, validate_default=False)
    max_message_size: SizeText = Field(default=None, validate_default=False)
    idle_timeout: DurationText = Field(default=None, validate_default=False)
    handshake_timeout: PositiveDuration = Field(default=None, validate_default=False)
    max_ack_delay: DurationText = Field(default=None, validate_default=False)
    key_update_packets: Annotated[int, Field(ge=1, le=MAX_KEY_UPDATE_PACKETS)] | None = Field(
        default=None, description="The sender changes its keys after so many packets."
    )
    key_update_interval: DurationText = Field(default=None, validate_default=False)
    initial_datagram_size: Annotated[int, Field(ge=MIN_DATAGRAM_SIZE, le=MAX_DATAGRAM_SIZE)] | None = Field(
        default=None, description="UDP payload bytes of a full packet before the path's MTU is found."
    )
    keep_alive: DurationText = Field(default=None, validate_default=False)
    retry_threshold: Annotated[int, Field(ge=0, le=MAX_HALF_OPEN)] | None = Field(
        default=None,
        description="With so many half-open connections a node asks for a cookie first; 0: always.",
    )
    ecn: bool | None = Field(default=None, description="Use explicit congestion notification; on by default.")

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: object) -> object:
        """Take a protocol's name alone."""
        return {"protocol": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        if "anyOf" not in schema:
            mapping = dict(schema)
            schema.clear()
            schema.update(anyOf=[{"type": "string", "enum": ["strait", "tcp", "quic"]}, mapping])
        return reference

    def given(self) -> dict[str, object]:
        """Return the settings written there, by the names of ``Configuration``'s fields."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


# The Literals above spell the protocol's own tables out, for the type checker and the schema.
assert set(INTEGRITY_CODES) == {"aead", "crc32c", "xor"}
assert set(HANDSHAKE_CODES) == {"ik", "xx", "ik-psk2"}
assert set(CIPHER_CODES) == {"aes-gcm", "chacha20-poly1305"}
assert set(ARQ_CODES) == {"selective-repeat", "stop-and-wait", "go-back-n"}
assert set(FEC_CODES) == {"none", "xor", "reed-solomon"}
assert set(FEC_ARQ_CODES) == {"always", "on-request", "never"}


class WorkloadEntry(Closed):
    """What every flow has."""

    noun: ClassVar[str] = "flow"

    name: NameText | None = Field(default=None, description="Name of the flow in results.")
    from_: EndsText = Field(description="The host that opens the connection; several: a flow for each pair.")
    to: EndsText = Field(description="The host that it connects to, or several.")
    pairs: Literal["all", "matched"] | None = Field(
        default=None, description="With several: each from with each to (all), or the first with the first …"
    )
    per_pair: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="How many such flows each pair has."
    )
    start: DurationText = Field(default=0, description="When the flow starts, from the start of the run.")
    on_crash: Literal["fail", "restart"] = Field(
        default="fail", description="restart: the flow starts anew when a crashed node has come back."
    )
    transport: Transport = Field(default=Transport(), description="Transport settings of this flow.")
    connections: Annotated[int, Field(ge=1, le=MAX_CONNECTIONS_IN_SERIES)] = Field(
        default=1, description="How many connections the flow makes, one after the other."
    )

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
    size: SizeText = Field(default=None, validate_default=False)
    file: str | None = Field(default=None, description="File to send, from the topology's directory.")
    seed: Seed | None = Field(default=None, description="Seed of the generated bytes.")


class EchoEntry(WorkloadEntry):
    """Sends requests and waits for each answer: measures round trips."""

    noun: ClassVar[str] = "echo flow"
    option_names = ("size", "count", "interval", "seed")

    kind: Literal["echo"] = Field(description="Requests, each answered with the same bytes.")
    size: SizeText = Field(default=None, validate_default=False)
    count: Count | None = Field(default=None, description="How many requests.")
    interval: DurationText = Field(default=None, validate_default=False)
    seed: Seed | None = Field(default=None, description="Seed of the generated bytes.")


class MessagesEntry(WorkloadEntry):
    """Sends messages whose boundaries the receiver restores."""

    noun: ClassVar[str] = "messages flow"
    option_names = ("size", "count", "rate", "deadline", "seed")

    kind: Literal["messages"] = Field(description="Messages of one size at a steady rate.")
    size: SizeText = Field(default=None, validate_default=False)
    count: Count | None = Field(default=None, description="How many messages.")
    rate: FrequencyText = Field(default=None, validate_default=False)
    deadline: DurationText = Field(default=None, validate_default=False)
    seed: Seed | None = Field(default=None, description="Seed of the generated bytes.")


class DatagramsEntry(WorkloadEntry):
    """Sends connectionless datagrams and counts what arrives."""

    noun: ClassVar[str] = "datagrams flow"
    option_names = ("size", "count", "interval", "linger", "seed")

    kind: Literal["datagrams"] = Field(description="Sealed datagrams without a connection; none is repeated.")
    size: SizeText = Field(default=None, validate_default=False)
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="How many datagrams."
    )
    interval: PositiveDuration = Field(default=None, validate_default=False)
    linger: DurationText = Field(default=None, validate_default=False)
    seed: Seed | None = Field(default=None, description="Seed of the generated bytes.")


class FilesEntry(WorkloadEntry):
    """Moves several files on one connection at once."""

    noun: ClassVar[str] = "files flow"
    option_names = ("sizes", "files", "seed")

    kind: Literal["files"] = Field(description="Moves several files on one connection at once.")
    sizes: Annotated[list[SizeText], Field(min_length=1, max_length=MAX_FILES)] | None = Field(
        default=None, description="Sizes of generated files.", examples=[["2MB", "3MB", "5MB"]]
    )
    files: Annotated[list[str], Field(min_length=1, max_length=MAX_FILES)] | None = Field(
        default=None, description="Files to send, from the topology's directory."
    )
    seed: Seed | None = Field(default=None, description="Seed of the generated files.")


class RequestResponseEntry(WorkloadEntry):
    """Sends requests, many at once, and waits for their responses: measures latency."""

    noun: ClassVar[str] = "request-response flow"
    option_names = ("count", "size", "response", "streams", "think", "seed")

    kind: Literal["request-response"] = Field(description="Requests, each on a stream of its own.")
    count: Count | None = Field(default=None, description="How many requests.")
    size: SizeText = Field(default=None, validate_default=False)
    response: SizeText = Field(default=None, validate_default=False)
    streams: Annotated[int, Field(ge=1, le=MAX_STREAMS)] | None = Field(
        default=None, description="Requests under way at once."
    )
    think: DurationText = Field(default=None, validate_default=False)
    seed: Seed | None = Field(default=None, description="Seed of the generated bytes.")


class IncastEntry(WorkloadEntry):
    """Has many sources send a block each to one target at the same moment, round after round."""

    noun: ClassVar[str] = "incast flow"
    option_names = ("size", "rounds", "seed")

    kind: Literal["incast"] = Field(description="Many sources send to one target at the same moment.")
    size: SizeText = Field(default=None, validate_default=False)
    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] | None = Field(
        default=None, description="How often all of them send."
    )
    seed: Seed | None = Field(default=None, description="Seed of the generated bytes.")


AnyWorkload = Annotated[
    BulkEntry | EchoEntry | MessagesEntry | DatagramsEntry | FilesEntry | RequestResponseEntry | IncastEntry,
    Field(discriminator="kind"),
]
WORKLOAD_KINDS = ("bulk", "datagrams", "echo", "files", "incast", "messages", "request-response")
