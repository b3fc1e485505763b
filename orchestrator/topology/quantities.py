"""Field types of the schema: text with a unit, read by `node.links.units`, described for editors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from node.links.units import (
    UnitError,
    parse_duration,
    parse_rate,
    parse_size,
)

#: Letters and digits and hyphens: valid as a host name, a container name and a file name at once.
NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", re.ASCII)
MAX_NODE_NAME = 32
#: Linux's IFNAMSIZ less its final zero.
MAX_INTERFACE_NAME = 15
_INTERFACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


def _quantity(parse: Callable[[object], Any], description: str, examples: list[str]) -> Any:
    schema = {"type": "string", "description": description, "examples": examples}
    return Annotated[object, AfterValidator(parse), WithJsonSchema(schema)]


def _positive(parse: Callable[[object], int], what: str) -> Callable[[object], int]:
    def check(value: object) -> int:
        number = parse(value)
        if number == 0:
            raise UnitError(f"{value!r}: a {what} must be more than zero; write more")
        return number

    return check


def parse_frequency(value: object) -> int:
    """Return ``100/s`` as 100.

    Raises:
        UnitError: it is not a whole number a second.
    """
    match = re.fullmatch(r"\s*([0-9]{1,8})\s*/s\s*", value) if isinstance(value, str) else None
    if match is None:
        raise UnitError(f"{value!r} is not a number of messages a second; write for example 100/s")
    return int(match.group(1))


def name_problem(name: str, what: str) -> str | None:
    """Return what is wrong with the name of a node, flow or lab, or None."""
    if len(name) > MAX_NODE_NAME:
        most = f"the name of a {what} {MAX_NODE_NAME} at most"
        return f"{name!r} has {len(name)} characters, {most}: shorten it"
    if NODE_NAME.fullmatch(name) is None:
        return f"{name!r} cannot name a {what}: use letters, digits and inner hyphens"
    return None


def interface_problem(name: str) -> str | None:
    """Return what is wrong with an interface's name, or None."""
    if len(name) > MAX_INTERFACE_NAME:
        length = f"{len(name)} characters, Linux allows {MAX_INTERFACE_NAME}"
        return f"interface name {name!r} has {length}: shorten it"
    if _INTERFACE_NAME.fullmatch(name) is None:
        return f"{name!r} cannot name an interface: use letters, digits, '.', '_', '-', as in eth1"
    if name == "lo":
        return "'lo' is every node's loopback: use eth1 and up"
    if name == "eth0":
        return "'eth0' is kept for the management network of containers: use eth1 and up"
    return None


def _text(value: object) -> str:
    """Take names that look like numbers (a node called 1) as the text they were."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # type: ignore[return-value]


def _listed(value: object) -> object:
    """Take one name for a list of one."""
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


NameText = Annotated[str, BeforeValidator(_text)]
Names = Annotated[
    list[NameText],
    BeforeValidator(_listed),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
#: A node; in the file perhaps several, by a pattern or a list: they became a flow a pair before this is read.
EndsText = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
DurationText = _quantity(parse_duration, "A length of time with its unit.", ["20ms", "1.5s"])
PositiveDuration = _quantity(_positive(parse_duration, "time"), "A length of time with its unit.", ["30s"])
RateText = _quantity(_positive(parse_rate, "rate"), "A rate with its unit.", ["10Mbit"])
SizeText = _quantity(parse_size, "A size with its unit: kB MB GB (1000), KiB MiB GiB (1024).", ["20MB"])
FrequencyText = _quantity(parse_frequency, "A number of messages a second.", ["100/s"])
