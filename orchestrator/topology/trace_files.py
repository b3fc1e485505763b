"""Trace files of links: read where they are named, so that settings hold all of a trace from then on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from node.links.impairments.trace import Trace
from node.links.settings import ImpairmentsError
from node.links.traces import format_trace, read_trace
from node.links.units import UnitError

Value = TypeVar("Value")

#: A trace of two million lines in mahimahi's form.
MAX_FILE_BYTES = 32 * 1024 * 1024


def with_trace(given: Mapping[str, Value | str], directory: Path | None) -> dict[str, Value | str]:
    """Return impairments with the trace in place of the name of its file.

    Args:
        given: name of each impairment, and its value.
        directory: where files are looked for; None: they are not, and the trace is left out.

    Raises:
        ImpairmentsError: the file cannot be read, or is no trace.
    """
    found = dict(given)
    if found.get("trace") is None:
        return found
    try:
        file = Trace.parse(found["trace"]).file
        if file and directory is None:
            del found["trace"]
        elif file and directory is not None:
            found["trace"] = _read(directory / file, file)
    except UnitError as error:
        raise ImpairmentsError({"trace": str(error)}) from error
    return found


def _read(path: Path, name: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise UnitError(f"the file is longer than {MAX_FILE_BYTES} bytes; cut it")
        return format_trace(read_trace(content.decode("utf-8")))
    except OSError as error:
        advice = "paths start at the topology's directory"
        raise ImpairmentsError({"trace": f"{name!r} cannot be read ({error.strerror}): {advice}"}) from error
    except UnicodeDecodeError as error:
        raise ImpairmentsError(
            {"trace": f"{name!r} is not text: give a file of steps or of times"}
        ) from error
    except UnitError as error:
        # Only the advice may follow a colon.
        found, _, advice = str(error).partition("; ")
        raise ImpairmentsError({"trace": f"{name!r}, {found}".replace(": ", ", ") + f": {advice}"}) from error
