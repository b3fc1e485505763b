"""Changes of impairments: as in a link's ``netem:``, and ``none`` takes one out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, WithJsonSchema, create_model

from node.links.impairments.base import IMPAIRMENTS
from orchestrator.topology.closed import Closed

#: Takes an impairment out.
NO_IMPAIRMENT = "none"


class ChangesEntry(Closed):
    """Impairments that change; none takes one out."""

    noun: ClassVar[str] = "set of impairments"


def _field(name: str) -> tuple[Any, None]:
    kind = IMPAIRMENTS[name]

    def check(value: object) -> str:
        return NO_IMPAIRMENT if value == NO_IMPAIRMENT else kind.parse(value).format()

    schema = {"type": "string", "description": kind.description, "examples": [kind.example, NO_IMPAIRMENT]}
    return (Annotated[object, AfterValidator(check), WithJsonSchema(schema)], None)


#: One field an impairment, so that a new impairment can be changed by being registered.
_CHANGES: type[ChangesEntry] = create_model(
    "NetemChanges",
    __base__=ChangesEntry,
    __doc__=ChangesEntry.__doc__,
    **{name: _field(name) for name in IMPAIRMENTS.names()},  # type: ignore[call-overload]
)
if TYPE_CHECKING:
    NetemChanges = ChangesEntry
else:
    NetemChanges = _CHANGES
