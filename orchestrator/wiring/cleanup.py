"""Taking labs down from their journals alone: whatever became of their processes and YAML.

Only what a journal names, and what carries the run's label, is touched.
"""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import BackendError
from orchestrator.executor import Executor, run_batch
from orchestrator.wiring import namespaces, processes, state
from orchestrator.wiring.commands import DEVICE_A, DEVICE_B
from orchestrator.wiring.journal import Journal, JournalEntry, LabInUseError, read_entries, run_ids

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LabSummary:
    """A lab that has a journal."""

    run_id: str
    #: Empty: its making was cut short at once.
    name: str
    backend: str
    #: Whether it is wholly up, with a record for other commands.
    up: bool
    #: Process that made it and owns it still; None: nobody does (it was left up, or its maker died).
    owner: int | None
    #: Whether it was made to outlive its maker.
    detached: bool
    labels: Mapping[str, str]
    #: When it was made, seconds since 1970; 0: that is not known.
    made: int


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What a call destroyed, and what it left."""

    removed: tuple[LabSummary, ...]
    #: Those that a running process owns.
    in_use: tuple[LabSummary, ...]


def list_labs() -> list[LabSummary]:
    """Return all labs that have a journal, ordered by run id."""
    return [_summary(run_id) for run_id in run_ids()]


def find(name: str) -> list[LabSummary]:
    """Return the labs of a name, or the one of a run id."""
    return [lab for lab in list_labs() if name in (lab.name, lab.run_id)]


def destroy_all(*, force: bool = False) -> Destroyed:
    """Remove every lab that no running process owns; nothing happens if there is none.

    Args:
        force: also those that are owned; their owners will then fail.

    Raises:
        BackendError: something cannot be removed; the rest has been.
    """
    return _destroy(list_labs(), force=force)


def destroy(name: str, *, force: bool = False) -> Destroyed:
    """Remove the labs of a name, or the one of a run id; arguments and errors as ``destroy_all``."""
    return _destroy(find(name), force=force)


def remove(journal: Journal) -> None:
    """Remove everything that a journal names, then the journal; may be called twice.

    Raises:
        BackendError: something is left; it is named, and the journal stays.
    """
    entries = journal.entries()
    if not entries and not journal.directory.exists():
        journal.close()
        return
    own = [entry.text("name") for entry in entries if entry.kind == "namespace"]
    adopted = [entry.text("name") for entry in entries if entry.kind == "adopted"]
    known = {
        processes.ProcessIdentity(entry.number("pid"), entry.number("start"))
        for entry in entries
        if entry.kind == "process"
    }
    identities = {found for name in own if (found := namespaces.identity(namespaces.path_of(name)))}
    left = processes.end_all(journal.run_id, namespaces=identities, known=known)
    if left:
        raise BackendError(f"lab {journal.run_id}: processes {left} do not end, even when killed")
    if any(entry.kind == "docker" for entry in entries):
        _remove_containers(journal.run_id)
    if adopted:
        _cut_off(own)
    for name in [*own, *adopted]:
        namespaces.remove(name)
    # Again: one that was between two steps of its start may have entered a namespace since.
    processes.end_all(journal.run_id, namespaces=identities, known=known)
    for entry in entries:
        if entry.kind == "directory":
            shutil.rmtree(entry.text("path"), ignore_errors=True)
    journal.discard()


def destroy_these(labs: Sequence[LabSummary]) -> Destroyed:
    """Remove labs, but those that a running process owns by now; errors as ``destroy_all``."""
    return _destroy(labs, force=False)


def _destroy(labs: Sequence[LabSummary], *, force: bool) -> Destroyed:
    removed: list[LabSummary] = []
    in_use: list[LabSummary] = []
    problems: list[str] = []
    for lab in labs:
        try:
            journal = Journal.open(lab.run_id, even_if_owned=force)
        except LabInUseError:
            in_use.append(lab)
            continue
        except FileNotFoundError:
            # Cut short between making the directory and the journal: there is nothing else.
            _remove_empty(lab.run_id)
            continue
        try:
            remove(journal)
            removed.append(lab)
        except BackendError as error:
            problems.append(str(error))
        finally:
            journal.close()
    if problems:
        raise BackendError("\n".join(problems))
    return Destroyed(tuple(removed), tuple(in_use))


def _summary(run_id: str) -> LabSummary:
    entry = next((entry for entry in read_entries(run_id) if entry.kind == "lab"), None)
    record = state.load(run_id)
    owned = False
    try:
        Journal.open(run_id).close()
    except LabInUseError:
        owned = True
    except FileNotFoundError:
        pass  # it vanished, or was never wholly there
    return LabSummary(
        run_id=run_id,
        name=entry.text("name") if entry else "",
        backend=entry.text("backend") if entry else "",
        up=record is not None,
        owner=entry.number("pid") if entry and owned else None,
        detached=bool(entry and entry.fields.get("detached")),
        labels=_labels(entry),
        made=entry.number("made") if entry else 0,
    )


def _labels(entry: JournalEntry | None) -> dict[str, str]:
    found = entry.fields.get("labels") if entry is not None else None
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _cut_off(names: list[str]) -> None:
    """Remove the interfaces in link namespaces, and so their peers in namespaces that are not ours.

    The kernel takes a namespace apart some time after its removal; a container would see its
    interfaces for that long.
    """
    for name in names:
        path = namespaces.path_of(name)
        if namespaces.is_namespace(path):
            lines = [("link", "delete", "dev", device) for device in (DEVICE_A, DEVICE_B)]
            run_batch(Executor(), "ip", lines, namespace=path, force=True)


def _remove_empty(run_id: str) -> None:
    journal = Journal(run_id)
    try:
        journal.directory.rmdir()
    except OSError as error:
        _LOG.debug("%s is left: %s", journal.directory, error)


def _remove_containers(run_id: str) -> None:
    # Imported by name: only who made containers needs the Docker SDK.
    importlib.import_module("orchestrator.containers.nodes").remove_labelled(run_id)
