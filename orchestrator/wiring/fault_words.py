"""The words of ``narrows fault ACTION …`` → an action's validated value."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from node.links.units import UnitError, parse_duration
from node.protocol.time import Duration
from node.registry import UnknownNameError
from orchestrator.faults.base import FAULTS, FaultError, FlowsFault, Lasting
from orchestrator.topology.errors import suggestion
from orchestrator.topology.netem_changes import NetemChanges
from orchestrator.topology.timeline import model_of, plain


def read_words(action: str, words: list[str], duration: str | None) -> tuple[object, Duration | None]:
    """Return the value of an action and how long it lasts (ns).

    Raises:
        FaultError: there is no such action, or the words make none.
    """
    try:
        kind = FAULTS[action]
    except UnknownNameError:
        here = [name for name in FAULTS.names() if not is_of_flows(name)]
        advice = suggestion(action, [*here, "list", "clear"])
        raise FaultError(f"there is no such action {action!r}", *advice) from None
    if is_of_flows(action):
        raise FaultError("only a topology's timeline does this", "a lab that is up has no flows of its own")
    if not words:
        raise FaultError("it says of what", f"write for example what a topology has: {kind.example}")
    try:
        value = plain(TypeAdapter(model_of(action) or kind.shape).validate_python(kind.value_of(words)))
        lasts = None if duration is None else parse_duration(duration)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        for found in errors:
            # Before one that is missing: it is what was meant by this one.
            if found["type"] == "extra_forbidden":
                raise _unknown_key(action, found["loc"]) from error
        first = errors[0]
        place = ".".join(str(step) for step in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise FaultError(f"{place}: {message}" if place else message, f"example: {kind.example}") from error
    except UnitError as error:
        raise FaultError(f"--for: {error}") from error
    if lasts is not None and kind.lasting is Lasting.NEVER:
        raise FaultError("it does not last", "take --for out")
    if lasts is None and kind.lasting is Lasting.MUST:
        raise FaultError("it must say how long it lasts", "add --for 5s")
    return value, lasts


def is_of_flows(action: str) -> bool:
    """Return whether there is such an action, and only a lab whose flows run can have it."""
    return action in FAULTS.names() and issubclass(FAULTS[action], FlowsFault)


def _unknown_key(action: str, location: tuple[int | str, ...]) -> FaultError:
    *place, key = (str(step) for step in location)
    model = NetemChanges if place else model_of(action)
    known = [] if model is None else [field.alias or name for name, field in model.model_fields.items()]
    return FaultError(f"{key!r} is no {'impairment' if place else 'key'}", *suggestion(key, known))
