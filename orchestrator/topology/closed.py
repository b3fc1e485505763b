"""The base of all models of the topology file: mappings in which every key must be known."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


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
