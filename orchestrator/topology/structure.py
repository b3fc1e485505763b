"""Runs the schema over a document and says what is wrong in users' words, at the right place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from node.links.settings import REFUSED
from orchestrator.topology.closed import Closed
from orchestrator.topology.document import Document, Path, Value, core_scalar
from orchestrator.topology.errors import suggestion
from orchestrator.topology.schema import (
    WORKLOAD_KINDS,
    BulkEntry,
    DatagramsEntry,
    EchoEntry,
    FilesEntry,
    IncastEntry,
    MessagesEntry,
    Netem,
    RequestResponseEntry,
    Transport,
)
from orchestrator.topology.schema_file import CaseBreakEntry, CaseEntry, TopologyFile
from orchestrator.topology.schema_network import (
    GENERATOR_ENTRIES,
    Defaults,
    GeneratorEntry,
    KindEntry,
    LinkEntry,
    LinkKindEntry,
    LinkSettings,
    Network,
    NodeEntry,
)
from orchestrator.topology.timeline import TimelineEntry, model_of

_BY_KEY: dict[str | int, type[Closed]] = {
    "topology": Network,
    "defaults": Defaults,
    "netem": Netem,
    "netem-forward": Netem,
    "netem-reverse": Netem,
    "transport": Transport,
    "case": CaseEntry,
}
_BY_PARENT: dict[str | int, type[Closed]] = {
    "nodes": NodeEntry,
    "links": LinkEntry,
    "kinds": KindEntry,
    "link-kinds": LinkKindEntry,
    "breaks": CaseBreakEntry,
}
_BY_WORKLOAD: dict[object, type[Closed]] = {
    "bulk": BulkEntry,
    "datagrams": DatagramsEntry,
    "echo": EchoEntry,
    "files": FilesEntry,
    "incast": IncastEntry,
    "messages": MessagesEntry,
    "request-response": RequestResponseEntry,
}
_TYPES = {
    "int_type": "a whole number",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "bool_type": "true or false",
}

_HOW_TO_WRITE = {
    "int_type": "write digits only, without unit or quotes",
    "string_type": "write one text, in quotes if it has special characters",
    "list_type": "write each item on a line of its own that starts with '- '",
    "dict_type": "write 'key: value' lines below it, or {} for none",
    "model_attributes_type": "write 'key: value' lines below it",
    "model_type": "write 'key: value' lines below it, or {} for none",
    "bool_type": "write true or false",
}
#: What a text must be where the schema has a pattern for it.
_PATTERNS = {
    "labels": "write keys of letters, digits, '.', '_', '/' and '-', the first a letter or digit",
    "letter": "write one to three capitals and digits",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}

#: What users may look for, and why it is not there (docs/decisions/0085-one-mtu-a-link.md).
_ONE_WAY_MTU = ("mtu-forward", "mtu-reverse")
_ONE_WAY = "write mtu:, for both directions: no kernel takes in what is longer than the MTU where it arrives"


def check_structure(document: Document) -> TopologyFile | None:
    """Return the file as models, or None after reporting every problem to ``document``."""
    try:
        return TopologyFile.model_validate(document.data)
    except ValidationError as error:
        for details in _distinct(error.errors(include_url=False)):
            _report(document, details)
    return None


def _distinct(errors: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out what a union says about alternatives that were not meant."""
    for details in errors:
        location = details["loc"]
        if location[:1] == ("expect",) and location[-1] == "str" and isinstance(details["input"], dict):
            continue
        if location[:1] == ("expect",) and location[-1] == "dict[str,str]":
            continue
        yield details


def _report(document: Document, details: ErrorDetails) -> None:
    path = _path(document, details["loc"])
    kind, context = details["type"], details.get("ctx", {})
    found = _shown(details["input"])
    what = _name(document, path)
    if kind == "extra_forbidden":
        owner, explained = _owner(document, path[:-1]), (*REFUSED, *_ONE_WAY_MTU)
        document.report(
            path,
            f"unknown key {path[-1]!r} in {_article(owner.noun)}",
            *_how_else(owner, str(path[-1])),
            *(() if path[-1] in explained else suggestion(str(path[-1]), _keys(owner), what="allowed")),
            key=True,
        )
    elif kind in ("missing", "union_tag_not_found") and document.baseless:
        return  # the file that could not be taken may have it
    elif kind == "missing":
        missing = str(details["loc"][-1])
        where = "" if not path else f" in this {_owner(document, path).noun}"
        document.report(path, f"{missing!r} is missing{where}", f"add {missing}:", key=bool(path))
    elif kind in ("literal_error", "enum"):
        expected = str(context.get("expected", ""))
        allowed = [word or number for word, number in re.findall(r"'([^']*)'|\b(\d+)\b", expected)]
        document.report(path, f"{what}: found {found}", *suggestion(str(details["input"]), allowed))
    elif kind == "union_tag_invalid" and path[:2] == ("topology", "generate"):
        document.report(
            (*path, "shape"),
            f"unknown shape {context['tag']!r}",
            *suggestion(str(context["tag"]), GENERATOR_ENTRIES),
        )
    elif kind == "union_tag_not_found" and path[:2] == ("topology", "generate"):
        document.report(
            path,
            "'shape' is missing in this generator",
            f"use one of: {', '.join(GENERATOR_ENTRIES)}",
            key=True,
        )
    elif kind == "union_tag_invalid":
        document.report(
            (*path, "kind"),
            f"unknown kind of flow {context['tag']!r}",
            *suggestion(str(context["tag"]), WORKLOAD_KINDS),
        )
    elif kind == "union_tag_not_found":
        document.report(path, "'kind' is missing in this flow", f"use one of: {', '.join(WORKLOAD_KINDS)}")
    elif kind == "value_error":
        message, _, advice = str(context["error"]).partition("; ")
        document.report(path, f"{what}: {message}", *([advice] if advice else []))
    elif kind in _TYPES:
        message = f"{what}: found {found}, must be {_TYPES[kind]}"
        document.report(path, message, _type_advice(kind, details["input"]))
    elif kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        document.report(path, f"{what}: found {found}", f"write a number of {words} {context[key]}")
    elif kind == "string_pattern_mismatch":
        document.report(path, f"{what}: found {found}", _PATTERNS["labels" if path[0] == "labels" else what])
    elif kind in ("too_short", "too_long"):
        document.report(path, *_length(what, details))
    else:
        document.report(path, f"{what}: found {found}", details["msg"])


def _name(document: Document, path: Path) -> str:
    if path and isinstance(path[-1], str):
        return path[-1]
    if len(path) > 2 and path[0] == "workloads" and isinstance(path[-2], str):
        return path[-2]  # one of a list
    return "expectation" if path[:1] == ("expect",) else _owner(document, path).noun


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _how_else(owner: type[Closed], key: str) -> tuple[str, ...]:
    """Return advice for a key that was run together with its value, or stands one level too high."""
    if owner is Netem and key in REFUSED:
        return (REFUSED[key],)
    if issubclass(owner, LinkSettings) and key in _ONE_WAY_MTU:
        return (_ONE_WAY,)
    name, colon, value = key.partition(":")
    if colon:
        return (f"put a space after the colon: {name}: {value}",)
    if owner is TopologyFile and key in _keys(Network):
        return (f"put {key}: below topology:",)
    return ()


def _length(what: str, details: ErrorDetails) -> tuple[str, ...]:
    if what == "endpoints":
        count = details["ctx"]["actual_length"]
        return f"a link has two endpoints, found {count}", 'write endpoints: ["a:eth1", "b:eth1"]'
    return f"{what} is empty", f"add at least one to {what}:"


def _type_advice(kind: str, found: object) -> str:
    if kind == "int_type" and isinstance(found, str):
        if isinstance(core_scalar(found), int):
            return f"take the quotes off: {found}"
        if found.isascii() and found.isdigit():
            return "write fewer digits"
    if kind == "string_type" and isinstance(found, int | float):
        return f'put it into quotes: "{found}"'
    return _HOW_TO_WRITE[kind]


def _path(document: Document, location: tuple[str | int, ...]) -> Path:
    """Return the part of pydantic's location that exists in the data, without the tags of unions."""
    path: Path = ()
    for step in location:
        if document.has((*path, step)):
            path = (*path, step)
    return path


def _owner(document: Document, path: Path) -> type[Closed]:
    """Return the model of the mapping at ``path``."""
    if not path:
        return TopologyFile
    if path[0] == "timeline" and len(path) < 4:
        return TimelineEntry if len(path) == 2 else model_of(str(path[-1])) or TimelineEntry
    parent = path[-2] if len(path) > 1 else None
    if path[:2] == ("topology", "generate") and len(path) > 2:
        return _generator_owner(document, path)
    if parent == "workloads":
        entry: Value = document.data
        for step in path:
            entry = entry[step]  # type: ignore[index]
        kind = entry.get("kind") if isinstance(entry, dict) else None
        return _BY_WORKLOAD.get(kind, BulkEntry)
    if parent in _BY_PARENT:
        return _BY_PARENT[parent]
    return _BY_KEY.get(path[-1], TopologyFile)


def _generator_owner(document: Document, path: Path) -> type[Closed]:
    """Return the model of a mapping within a generator: itself, what its roles are, or what a role is."""
    entry: Value = document.data
    for step in path[:3]:
        entry = entry[step]  # type: ignore[index]
    shape = entry.get("shape") if isinstance(entry, dict) else None
    model = GENERATOR_ENTRIES.get(str(shape), GeneratorEntry)
    if len(path) == 3:
        return model
    if len(path) == 4:
        field = model.model_fields.get(str(path[3]))
        found = field.annotation if field is not None else None
        return found if isinstance(found, type) and issubclass(found, Closed) else model
    if len(path) == 5:
        return NodeEntry if path[3] == "nodes" else LinkSettings
    return _BY_KEY.get(path[-1], TopologyFile)


def _keys(model: type[Closed]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
