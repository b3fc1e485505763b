"""A topology file as a whole, and the JSON Schema that editors use."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from node.protocol.time import SECOND
from orchestrator.topology.closed import Closed
from orchestrator.topology.labels import LabelKey, LabelValue
from orchestrator.topology.quantities import NameText, PositiveDuration
from orchestrator.topology.schema import AnyWorkload, Seed
from orchestrator.topology.schema_network import Network
from orchestrator.topology.timeline import TimelineEntry

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


def _shape(value: object) -> str:
    return "map" if isinstance(value, dict) else "list"


def _either(listed: Any, mapped: Any) -> Any:
    return Annotated[Annotated[listed, Tag("list")] | Annotated[mapped, Tag("map")], Discriminator(_shape)]


Parameters = dict[str, str | int | float | bool]


class CaseBreakEntry(Closed):
    """Parameters with which a case must fail."""

    noun: ClassVar[str] = "break"

    set_: Annotated[Parameters, Field(min_length=1)] = Field(description="Parameter → the wrong value.")
    misses: str = Field(description="The expectation that is missed then, as it stands in expect:.")


class CaseEntry(Closed):
    """What makes a topology a case of `narrows cases`."""

    noun: ClassVar[str] = "case"

    letter: Annotated[str, Field(pattern="^[A-Z0-9]{1,3}$")] = Field(description="Its name in tables.")
    group: Literal["interop", "narrows"] = Field(
        description="interop: as in the QUIC interop runner; narrows: ours on top."
    )
    breaks: Annotated[list[CaseBreakEntry], Field(min_length=1)] = Field(
        description="Wrong settings that it must notice."
    )
    on: dict[str, Parameters] = Field(
        default={}, description="Back end → parameters that take the place of others there."
    )


class TopologyFile(Closed):
    """A lab, what runs on it, and what is expected of it."""

    noun: ClassVar[str] = "topology file"

    name: NameText = Field(description="Name of the lab.")
    extends: str | list[str] | None = Field(
        default=None, description="Topology files that this one changes, key by key."
    )
    parameters: dict[str, str | int | float | bool | None] = Field(
        default={},
        description="Name → value, put in wherever ${name} stands; --set NAME=VALUE overrides it.",
        examples=[{"rtt": "20ms", "clients": 4}],
    )
    description: str = Field(default="", description="One line that says what the lab shows.")
    topology: Network
    workloads: _either(list[AnyWorkload], dict[str, AnyWorkload]) = Field(  # type: ignore[valid-type]
        [], description="The flows: a list with names, or a mapping from name to flow."
    )
    timeline: list[TimelineEntry] = Field(
        default=[],
        description="What happens to the lab while it runs: at a time, one action.",
        examples=[[{"at": "5s", "cut": ["b:eth1"], "for": "2s"}]],
    )
    expect: list[str | dict[str, str]] = Field(
        default=[],
        description="What must hold: 'integrity == ok' for all flows, 'flow: completion <= 30s' for one.",
        examples=[["integrity == ok", {"film": "completion <= 30s"}]],
    )
    seed: Seed = Field(default=1, description="Seed of the lab's keys and of all chance in simulation.")
    time_limit: PositiveDuration = Field(default=60 * SECOND, description="The run is stopped after this.")
    repeats: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="How often it is run: with the seed, the next one, and so on."
    )
    calibrate: Literal["warn", "strict", "off"] | None = Field(
        default=None,
        description="Measure the links before the flows start: tell of those that are not as asked, or fail.",
    )
    case: CaseEntry | None = Field(default=None, description="Makes it a case of `narrows cases`.")
    qlog: bool = Field(default=False, description="Write a qlog file of each connection, at both ends.")
    labels: dict[LabelKey, LabelValue] = Field(
        default={},
        description="Marks of the lab, to find it by; containers carry them too.",
        examples=[{"owner": "ci", "ticket": "42"}],
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a topology file."""
    schema = _or_parameter(TopologyFile.model_json_schema(by_alias=True))
    # A file that extends another may leave out what the other one says.
    del schema["required"]
    schema["$defs"]["Parameter"] = {
        "type": "string",
        "pattern": r"\$\{[A-Za-z][A-Za-z0-9_-]*\}",
        "description": "The value of a parameter.",
    }
    return {"$schema": SCHEMA_ID, **schema, "title": "Narrows topology"}


def _or_parameter(schema: Any) -> Any:
    """Return a schema in which ``${name}`` may stand for numbers, truth values and words of a list."""
    if isinstance(schema, list):
        return [_or_parameter(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _or_parameter(value) for key, value in schema.items()}
    if made.get("type") in ("integer", "number", "boolean") or isinstance(made.get("enum"), list):
        about = {key: made.pop(key) for key in ("title", "description", "default", "examples") if key in made}
        return {"anyOf": [made, {"$ref": "#/$defs/Parameter"}], **about}
    return made


def json_schema_text() -> str:
    """Return the schema as the file ``topologies/schema.json`` holds it."""
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"
