"""The words of ``narrows fault ACTION …`` → an action's validated value."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from node.links.units import UnitError, parse_duration
from node.protocol.time import Duration
from node.registry import UnknownNameError
from orchestrator.faults.base import FAULTS, FaultError, Lasting
from orchestrator.topology.errors import suggestion
from orchestrator.topology.timeline import model_of, plain


def read_words(action: str, words: list[str], duration: str | None) -> tuple[object, Duration | None]:
    """Return the value of an action and how long it lasts (ns).

    Raises:
        FaultError: there is no such action, or the words make none.
    """
    try:
        kind = FAULTS[action]
    except UnknownNameError:
        advice = suggestion(action, [*FAULTS.names(), "list", "clear"])
        raise FaultError(f"there is no such action {action!r}", *advice) from None
    if not words:
        raise FaultError("it says of what", f"write for example what a topology has: {kind.example}")
    try:
        value = plain(TypeAdapter(model_of(action) or kind.shape).validate_python(kind.value_of(words)))
        lasts = None if duration is None else parse_duration(duration)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
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
