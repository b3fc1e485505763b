"""Which actions are on in a lab that is up: a file beside its journal, for any command to read and change.

It is written before anything is done, so that what a killed command left can be listed and cleared.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from node.protocol.time import Instant
from orchestrator.errors import BackendError
from orchestrator.wiring.journal import run_directory

BOOK_FILE = "faults.json"
_LOCK_FILE = "faults.lock"


@dataclass(slots=True)
class Entry:
    """An action that is on."""

    id: int
    action: str
    #: Its arguments, as faults take them. Any: plain data.
    value: Any
    #: What it is done to, in words.
    subject: str
    #: When it began, and when it is to end, on this machine's monotonic clock; None: when it is cleared.
    began: Instant
    until: Instant | None
    #: Where it lies over links now, as ``a:eth1``.
    endpoints: list[str] = field(default_factory=list)

    @property
    def overdue(self) -> bool:
        """Whether it should have ended: whoever was to end it was killed."""
        return self.until is not None and time.monotonic_ns() > self.until


@dataclass(slots=True)
class FaultBook:
    """All of a lab, in the order in which they began."""

    next_id: int = 1
    #: What links do without any action, by endpoint; only of those that one has lain over.
    base: dict[str, dict[str, str]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def entry(self, number: int) -> Entry:
        """Return an action by its number.

        Raises:
            BackendError: it is not on.
        """
        for entry in self.entries:
            if entry.id == number:
                return entry
        known = ", ".join(str(entry.id) for entry in self.entries) or "none is on"
        raise BackendError(f"no fault {number} is on: {known}")


def read(run_id: str) -> FaultBook:
    """Return the book of a lab; an empty one if nothing was ever done to it."""
    try:
        text = _path(run_id).read_text(encoding="utf-8")
    except FileNotFoundError:
        return FaultBook()
    data = json.loads(text)
    return FaultBook(data["next_id"], data["base"], [Entry(**entry) for entry in data["entries"]])


def write(run_id: str, book: FaultBook) -> None:
    """Write the book, whole or not at all."""
    path = _path(run_id)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(asdict(book)), encoding="utf-8")
    os.replace(temporary, path)


@contextmanager
def locked(run_id: str) -> Iterator[FaultBook]:
    """Give the book to one process at a time; it is written when the block ends, however it ends.

    Raises:
        BackendError: there is no such lab any more.
    """
    try:
        descriptor = os.open(run_directory(run_id) / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise BackendError(f"lab {run_id} is not there any more") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        book = read(run_id)
        try:
            yield book
        finally:
            write(run_id, book)
    finally:
        os.close(descriptor)


def _path(run_id: str) -> Path:
    return run_directory(run_id) / BOOK_FILE
