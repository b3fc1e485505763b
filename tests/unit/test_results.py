"""Results as data, as JSON and as files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestrator.results import (
    ExpectationResult,
    LinkResult,
    ResultsError,
    Verdict,
    make_run_directory,
    write_atomically,
)
from tests.support.results import flow, run_result

HELD = ExpectationResult("completion <= 3s", "film", passed=True, measured=2e9, shown="2s")
MISSED = ExpectationResult("completion <= 1s", "film", passed=False, measured=2e9, shown="2s")


def test_verdict_is_pass_only_if_everything_held() -> None:
    assert run_result(expectations=(HELD,)).verdict is Verdict.PASS
    assert run_result(expectations=(HELD, MISSED)).verdict is Verdict.FAIL
    assert run_result(expectations=(HELD,), failures=("node paris failed",)).verdict is Verdict.FAIL


def test_reasons_name_failures_and_missed_expectations() -> None:
    result = run_result(expectations=(HELD, MISSED), failures=("node paris failed",))
    assert result.reasons == ("node paris failed", "film: expected completion <= 1s, found 2s")
    assert run_result(expectations=(HELD,)).reasons == ()


def test_json_has_what_programs_read() -> None:
    data = json.loads(json.dumps(run_result(flow(corrupted_bytes=3), expectations=(HELD,)).to_json()))
    assert (data["verdict"], data["backend"], data["impairment"]) == ("PASS", "simulation", "simulated")
    film = data["flows"]["film"]
    for key in ("bytes", "sha256", "bits_per_second", "retransmitted_packets", "rtt_ms"):
        assert film[key]
    assert film["corrupted_bytes"] == 3
    assert (data["wire"]["frames"], data["wire"]["violations"]) == (100, 0)
    assert data["seed"] == 1
    assert data["versions"] == {"narrows": "0.1.0"}
    (expectation,) = data["expectations"]
    assert expectation["passed"] is True


def test_link_loss_is_what_did_not_come_out() -> None:
    assert LinkResult("l", "a:e", "b:e", frames_in=200, frames_out=150).loss == 0.25
    assert LinkResult("l", "a:e", "b:e", frames_in=0, frames_out=0).loss == 0.0
    assert LinkResult("l", "a:e", "b:e", frames_in=9, frames_out=None).loss is None
    # Duplicates: more came out than went in.
    assert LinkResult("l", "a:e", "b:e", frames_in=100, frames_out=101).loss == 0.0


def test_result_file_is_written_whole(tmp_path: Path) -> None:
    path = run_result(directory=tmp_path).write()
    assert json.loads(path.read_text())["verdict"] == "PASS"
    assert [found.name for found in tmp_path.iterdir()] == ["result.json"]


def test_full_disk_is_a_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match=r"the disk is full.*--results DIR"):
        write_atomically(tmp_path / "result.json", "{}")
    assert list(tmp_path.iterdir()) == []


def test_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="choose another place with --results"):
        make_run_directory(tmp_path / "file", "line", "0123abcd")
