"""A journal is on disk before anything is made, and is owned by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.errors import BackendError
from orchestrator.wiring.journal import JOURNAL_FILE, Journal, LabInUseError, read_entries, run_ids

RUN = "0123abcd"
#: Above what Linux gives to any process (PID_MAX_LIMIT): its owner is dead.
NOBODY = (1 << 22) + 1


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path))
    return tmp_path


def test_what_is_recorded_can_be_read_by_anybody() -> None:
    with Journal.create(RUN) as journal:
        journal.record({"kind": "namespace", "name": "one"}, {"kind": "process", "pid": 7, "start": 8})
        first, second = read_entries(RUN)
    assert (first.kind, first.text("name")) == ("namespace", "one")
    assert (second.number("pid"), second.number("start")) == (7, 8)
    assert run_ids() == [RUN]


def test_an_entry_cut_off_by_a_crash_is_left_out(state: Path) -> None:
    with Journal.create(RUN) as journal:
        journal.record({"kind": "namespace", "name": "one"})
    with (state / RUN / JOURNAL_FILE).open("a") as stream:
        stream.write('{"kind": "names')
    assert [entry.text("name") for entry in read_entries(RUN)] == ["one"]


def test_a_full_disk_leaves_no_half_line_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with Journal.create(RUN) as journal:
        journal.record({"kind": "namespace", "name": "one"})
        monkeypatch.setattr("os.write", lambda descriptor, data: write(descriptor, data[:9]))
        with pytest.raises(BackendError, match=r"cannot be written: No space left on device; make room"):
            journal.record({"kind": "namespace", "name": "lost"})
        monkeypatch.setattr("os.write", write)
        journal.record({"kind": "namespace", "name": "two"})
    assert [entry.text("name") for entry in read_entries(RUN)] == ["one", "two"]


def test_one_process_owns_a_lab() -> None:
    with Journal.create(RUN) as journal:
        journal.record({"kind": "lab", "pid": os.getpid()})
        with pytest.raises(LabInUseError, match="in use"):
            Journal.open(RUN)
    Journal.open(RUN).close()


def test_nothing_more_can_be_made_once_the_journal_is_gone() -> None:
    with Journal.create(RUN) as journal:
        journal.record({"kind": "lab", "pid": os.getpid()})
        with Journal.open(RUN, even_if_owned=True) as other:
            other.discard()
        with pytest.raises(BackendError, match="destroyed by another command"):
            journal.record({"kind": "namespace", "name": "late"})
    assert run_ids() == []


def test_a_state_directory_that_cannot_be_written_is_explained(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "file").write_text("")
    monkeypatch.setenv("NARROWS_STATE", str(state / "file"))
    with pytest.raises(BackendError, match="set NARROWS_STATE to a directory that you may write"):
        Journal.create(RUN)


@contextmanager
def started_by(owner: int) -> Iterator[int]:
    """A journal whose lock is held by a copy of the descriptor, as by what ``owner`` was just starting."""
    journal = Journal.create(RUN)
    journal.record({"kind": "lab", "pid": owner})
    held = os.dup(journal._descriptor)
    journal.close()
    try:
        yield held
    finally:
        os.close(held)


def test_what_a_dead_owner_was_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets go of the lock once it runs its program."""
    with started_by(NOBODY) as held:
        other_file = os.open("/dev/null", os.O_RDONLY)
        waits: list[float] = []

        def run_program(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                os.dup2(other_file, held)
                os.close(other_file)

        monkeypatch.setattr("orchestrator.wiring.journal.time.sleep", run_program)
        with Journal.open(RUN) as journal:
            assert len(waits) == 3
            assert journal.owner() == NOBODY


def test_it_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with started_by(NOBODY):
        clock = iter(range(0, 1000, 2))
        monkeypatch.setattr("orchestrator.wiring.journal.time.monotonic", lambda: next(clock))
        monkeypatch.setattr("orchestrator.wiring.journal.time.sleep", lambda seconds: None)
        with pytest.raises(LabInUseError, match=f"pid {NOBODY}"):
            Journal.open(RUN)


def test_a_living_owner_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.wiring.journal.time.sleep", lambda seconds: pytest.fail("it waited"))
    with started_by(os.getpid()), pytest.raises(LabInUseError, match=f"pid {os.getpid()}"):
        Journal.open(RUN)


def test_a_lock_that_is_not_waited_for_can_be_done_without() -> None:
    with started_by(os.getpid()), Journal.open(RUN, even_if_owned=True) as journal:
        assert journal.owner() == os.getpid()
