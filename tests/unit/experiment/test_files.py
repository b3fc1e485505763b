"""Real files for flows: written where agents may read, kept, and compared with what was reported."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from node.workloads.sources import generated_source
from orchestrator.experiment import files
from orchestrator.experiment.files import check_received, keep_files, received_file, stage_files
from orchestrator.results import ResultsError
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from tests.support.results import flow

TOPOLOGY = """
name: pair
topology:
  nodes: {{a: , b: }}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
workloads:
  film: {{kind: bulk, from: a, to: b, {bytes}}}
  ping: {{kind: echo, from: b, to: a}}
"""


def plan_of(bytes_: str, directory: Path) -> DeploymentPlan:
    return make_plan(parse(TOPOLOGY.format(bytes=bytes_).encode(), file="pair.lab.yml", directory=directory))


class Elsewhere:
    """A back end whose agents have directories of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def files_directory(self, directory: Path, node: str) -> Path:
        return self.directory / node


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_generated_bytes_are_written_out_as_a_simulation_makes_them(size: int, tmp_path: Path) -> None:
    plan = plan_of(f"size: {size}B", tmp_path)
    staged = stage_files(plan, tmp_path, backend=None, generate=True)
    film, ping = staged.plan.workloads
    assert film.options == {"file": "film/film.bin"}
    assert ping == plan.workloads[1]
    simulated = generated_source({**plan.workloads[0].options, "flow": "film"})
    assert (tmp_path / "files/film/film.bin").read_bytes() == simulated.read(0, size)
    assert keep_files(staged, tmp_path) == {"film": tmp_path / "files/film/film.bin"}


def test_a_simulation_writes_nothing_out(tmp_path: Path) -> None:
    plan = plan_of("size: 1MB", tmp_path)
    staged = stage_files(plan, tmp_path, backend=None, generate=False)
    assert (staged.plan, staged.sent, staged.notes) == (plan, {}, ())
    assert list(tmp_path.iterdir()) == []


def test_too_many_bytes_are_made_as_they_are_sent_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_GENERATED_BYTES", 999_999)
    plan = plan_of("size: 1MB", tmp_path)
    staged = stage_files(plan, tmp_path, backend=None, generate=True)
    assert staged.plan == plan
    assert staged.sent == {}
    (note,) = staged.notes
    assert note.startswith("film: ")


@pytest.mark.parametrize("generate", [False, True])
def test_a_file_is_copied_so_that_later_changes_do_not_reach_the_flow(generate: bool, tmp_path: Path) -> None:
    source = tmp_path / "film.mp4"
    source.write_bytes(b"before")
    source.chmod(0o600)
    run = tmp_path / "run"
    staged = stage_files(plan_of("file: film.mp4", tmp_path), run, backend=None, generate=generate)
    with source.open("r+b") as file:
        file.write(b"after!")
    copy = run / "files/film/film.mp4"
    assert copy.read_bytes() == b"before"
    # An agent may be another user, or a root without its rights.
    assert stat.S_IMODE(copy.stat().st_mode) & stat.S_IRUSR
    assert staged.plan.workloads[0].options == {"file": "film/film.mp4"}


def test_agents_with_directories_of_their_own_read_there_and_the_run_keeps_the_file(tmp_path: Path) -> None:
    backend, run = Elsewhere(tmp_path / "agents"), tmp_path / "run"
    staged = stage_files(plan_of("size: 10B", tmp_path), run, backend=backend, generate=True)
    assert (tmp_path / "agents/a/film/film.bin").stat().st_size == 10
    assert keep_files(staged, run) == {"film": run / "files/film/film.bin"}
    assert (run / "files/film/film.bin").stat().st_size == 10
    assert list((tmp_path / "agents/a").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "files/film").mkdir(parents=True)
    os.symlink("/dev/full", tmp_path / "files/film/film.bin")
    with pytest.raises(ResultsError, match="the disk is full; make room, or choose another place"):
        stage_files(plan_of("size: 2MB", tmp_path), tmp_path, backend=None, generate=True)


def test_what_was_kept_must_be_what_was_reported(tmp_path: Path) -> None:
    kept = tmp_path / "received/paris/film"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"film")
    digest = hashlib.sha256(b"film").hexdigest()
    assert received_file(tmp_path, "film") == kept
    assert check_received(flow(sha256=digest), kept) == ""
    assert check_received(flow(completed=False, sha256=""), None) == ""
    assert check_received(flow(workload="echo"), None) == ""
    assert f"has SHA-256 {digest}, but paris reported abab" in check_received(flow(), kept)
    assert check_received(flow(), None) == "film: its target paris kept no file"
