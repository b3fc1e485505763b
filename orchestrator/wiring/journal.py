"""The journal of a run: what is about to be made, on disk before it is made.

One directory a run below the state directory: ``journal.jsonl`` (what was made), ``lab.json`` (what a
running lab looks like, for other commands) and small files. While a process makes or owns a lab it
holds a lock on the journal; the kernel lets go of it when that process dies, however it dies.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.errors import BackendError

JOURNAL_FILE = "journal.jsonl"
#: How long what a killed owner was starting may take to get a turn on a busy machine.
_ORPHAN_SECONDS = 5.0
_POLL_SECONDS = 0.01
_RUN_ID = re.compile(r"[0-9a-f]{8}")

#: Kinds of entries: ``lab`` (name, backend, pid, detached), ``namespace`` (name: made by us),
#: ``adopted`` (name: a link to somebody else's namespace), ``process`` (pid, start, what),
#: ``directory`` (path: made by us), ``docker`` (whatever carries the run's label).
KIND = "kind"


class LabInUseError(BackendError):
    """A running process owns the lab."""


def state_directory() -> Path:
    """Return where journals are kept: ``$NARROWS_STATE``, else /var/lib/narrows or the user's state."""
    chosen = os.environ.get("NARROWS_STATE")
    if chosen:
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/narrows")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "narrows"


def run_directory(run_id: str) -> Path:
    """Return the directory of a run's journal."""
    assert _RUN_ID.fullmatch(run_id), f"run id {run_id!r} is not eight lower-case hex digits"
    return state_directory() / run_id


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One thing that was made, or was about to be."""

    kind: str
    fields: Mapping[str, object]

    def text(self, name: str) -> str:
        """Return a field as text, empty if it is not there."""
        return str(self.fields.get(name, ""))

    def number(self, name: str) -> int:
        """Return a field as a number, 0 if it is not there."""
        value = self.fields.get(name, 0)
        return value if isinstance(value, int) else 0


class Journal:
    """An open, locked journal; use as a context manager, or ``close`` it."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.directory = run_directory(run_id)
        self._descriptor = -1

    @classmethod
    def create(cls, run_id: str) -> Self:
        """Start the journal of a new run.

        Raises:
            BackendError: there is one of that run already, or the state directory cannot be written.
        """
        journal = cls(run_id)
        try:
            journal.directory.mkdir(parents=True)
            journal._open(os.O_CREAT | os.O_EXCL)
            _sync_directory(journal.directory)
            _sync_directory(journal.directory.parent)
        except OSError as error:
            raise BackendError(
                f"no journal can be kept in {journal.directory}: {error.strerror}; "
                "set NARROWS_STATE to a directory that you may write"
            ) from error
        return journal

    @classmethod
    def open(cls, run_id: str, *, even_if_owned: bool = False) -> Self:
        """Open the journal of a run to change what it made, or to remove it.

        Args:
            even_if_owned: do without the lock if another process holds it.

        Raises:
            LabInUseError: a running process owns it.
            FileNotFoundError: there is none.
        """
        journal = cls(run_id)
        journal._open(0, even_if_owned=even_if_owned)
        return journal

    def record(self, *entries: Mapping[str, object]) -> None:
        """Write entries, each a JSON object with ``kind``, and have them on the disk on return.

        Raises:
            BackendError: the journal is gone (another command has destroyed this lab), or its disk is full.
        """
        path = self.directory / JOURNAL_FILE
        if not path.exists():
            raise BackendError(f"lab {self.run_id} has been destroyed by another command")
        data = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
        before = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            # Half a line would take the next one with it, and what that tells of would never be removed.
            os.ftruncate(self._descriptor, before)
            raise BackendError(
                f"{path} cannot be written: {error.strerror}; make room, or set NARROWS_STATE elsewhere"
            ) from error

    def entries(self) -> list[JournalEntry]:
        """Return all entries; one cut off by a crash is not among them, since nothing was made of it."""
        return read_entries(self.run_id)

    def discard(self) -> None:
        """Remove the run's directory, the journal itself last, and close."""
        for path in self.directory.iterdir():
            if path.name == JOURNAL_FILE:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        (self.directory / JOURNAL_FILE).unlink(missing_ok=True)
        self.directory.rmdir()
        self.close()

    def close(self) -> None:
        """Let go of the lock; what was made stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, flags: int, *, even_if_owned: bool = False) -> None:
        path = self.directory / JOURNAL_FILE
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | flags, 0o600)
        if self._lock() or even_if_owned:
            return
        self.close()
        raise LabInUseError(
            f"lab {self.run_id} is in use by another narrows process (pid {self.owner()}); "
            "end that one first, or destroy with force"
        )

    def _lock(self) -> bool:
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                # What a killed owner was just starting holds its descriptors, and so the lock, until
                # it runs its program. From then on it carries the run's label and can be found.
                if _runs(self.owner()) or time.monotonic() > deadline:
                    return False
            time.sleep(_POLL_SECONDS)

    def owner(self) -> int:
        """Return the pid of the process that made the lab, 0 if it is not known."""
        return next((entry.number("pid") for entry in self.entries() if entry.kind == "lab"), 0)


def read_entries(run_id: str) -> list[JournalEntry]:
    """Return the entries of a run's journal without locking it; empty if there is none."""
    try:
        lines = (run_directory(run_id) / JOURNAL_FILE).read_bytes().split(b"\n")
    except OSError:
        return []
    found: list[JournalEntry] = []
    for line in lines[:-1]:
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        found.append(JournalEntry(str(fields.pop(KIND, "")), fields))
    return found


def run_ids() -> list[str]:
    """Return the runs that have a directory below the state directory, sorted."""
    try:
        names: Iterable[str] = os.listdir(state_directory())
    except OSError:
        return []
    return sorted(name for name in names if _RUN_ID.fullmatch(name))


def _runs(pid: int) -> bool:
    try:
        text = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
