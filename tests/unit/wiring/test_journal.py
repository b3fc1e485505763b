"""A journal is on disk before anything is made, and is owned by one process at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import BackendError
from orchestrator.wiring.journal import JOURNAL_FILE, Journal, LabInUseError, read_entries, run_ids

RUN = "0123abcd"


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


def test_one_process_owns_a_lab() -> None:
    with Journal.create(RUN), pytest.raises(LabInUseError, match="in use"):
        Journal.open(RUN)
    Journal.open(RUN).close()


def test_nothing_more_can_be_made_once_the_journal_is_gone() -> None:
    with Journal.create(RUN) as journal:
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
