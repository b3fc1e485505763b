"""How commands end: exit codes that shells and CI can rely on, and what is on stdout and stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.registry import UnknownNameError
from orchestrator.cli.main import main
from orchestrator.cli.support.exit_codes import ExitCode, exit_code_of
from orchestrator.errors import (
    BackendError,
    EnvironmentMissingError,
    ExpectationError,
    NotInLabError,
    NotSupportedError,
)
from orchestrator.results import ResultsError
from orchestrator.topology.errors import Problem, TopologyError

ROOT = Path(__file__).resolve().parents[3]
WRONG = "name: x\ntopology:\n  nodes: {a: {kind: hots}}\n"


def narrows(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="narrows")


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.lab.yml"
    path.write_text(WRONG)
    return path


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TopologyError("f", "", [Problem(1, 1, "m")]), 2),
        (UnknownNameError("m"), 2),
        (NotInLabError("m"), 2),
        (EnvironmentMissingError("m"), 3),
        (BackendError("m"), 4),
        (NotSupportedError("m"), 127),
        (ExpectationError("m"), 1),
        (ResultsError("m"), 1),
    ],
)
def test_each_error_has_its_code(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


def test_bug_has_no_code_but_a_traceback() -> None:
    assert exit_code_of(KeyError("x")) is None
    assert exit_code_of(ZeroDivisionError()) is None


def test_valid_topology_is_0() -> None:
    result = narrows("validate", str(ROOT / "topologies" / "demo.lab.yml"))
    assert result.exit_code == ExitCode.OK
    assert "valid: demo" in result.stdout


@pytest.mark.parametrize("verb", ["validate", "run", "deploy", "plan", "graph", "compose"])
def test_invalid_yaml_is_2_with_the_place_on_stderr(verb: str, wrong: Path) -> None:
    result = narrows(verb, str(wrong))
    assert result.exit_code == ExitCode.USAGE
    assert f"{wrong}:3:" in result.stderr
    assert "did you mean 'host'?" in result.stderr
    assert result.stdout == ""


def test_invalid_yaml_as_json_is_one_object_on_stdout(wrong: Path) -> None:
    result = narrows("validate", str(wrong), "-f", "json")
    assert result.exit_code == ExitCode.USAGE
    told = json.loads(result.stdout)
    assert told["valid"] is False
    assert told["problems"][0]["line"] == 3


def test_missing_file_argument_is_2() -> None:
    assert narrows("run").exit_code == ExitCode.USAGE
    assert narrows("run", "a.yml", "-t", "b.yml").exit_code == ExitCode.USAGE


def test_unknown_verb_and_option_are_2() -> None:
    assert narrows("fly").exit_code == ExitCode.USAGE
    assert "No such command 'destory'. Did you mean 'destroy'?" in narrows("destory", "x").stderr
    assert narrows("run", "--fast", "x").exit_code == ExitCode.USAGE


def test_topology_is_taken_with_t_as_well() -> None:
    result = narrows("validate", "-t", str(ROOT / "topologies" / "line.lab.yml"))
    assert result.exit_code == ExitCode.OK


def test_lab_that_cannot_be_kept_is_127(tmp_path: Path) -> None:
    topology = str(ROOT / "topologies" / "line.lab.yml")
    result = narrows("run", topology, "--backend", "simulation", "--keep", "--results", str(tmp_path))
    assert result.exit_code == ExitCode.NOT_SUPPORTED
    assert "--backend netns" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_back_end_that_cannot_run_here_is_3(tmp_path: Path) -> None:
    if Path("/results").is_dir():
        pytest.skip("this is the orchestrator's container of a Compose lab, where its back end can run")
    topology = str(ROOT / "topologies" / "line.lab.yml")
    result = narrows("run", topology, "--backend", "compose", "--results", str(tmp_path))
    assert result.exit_code == ExitCode.ENVIRONMENT
    assert "docker compose up" in result.stderr


def test_no_lab_to_destroy_is_0_and_no_lab_to_show_is_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path))
    assert narrows("destroy", "--all").exit_code == ExitCode.OK
    assert narrows("destroy", "nobody").exit_code == ExitCode.OK
    assert json.loads(narrows("inspect", "-f", "json").stdout) == {"labs": []}
    assert narrows("inspect", "nobody").exit_code == ExitCode.PARTLY_UP
    assert narrows("destroy").exit_code == ExitCode.USAGE


def test_unknown_back_end_is_2_and_says_which_there_are(tmp_path: Path) -> None:
    topology = str(ROOT / "topologies" / "line.lab.yml")
    result = narrows("run", topology, "--backend", "simulator", "--results", str(tmp_path))
    assert result.exit_code == ExitCode.USAGE
    assert "simulation" in result.stderr


def test_a_capture_into_no_directory_is_2_whether_or_not_a_lab_is_up(tmp_path: Path) -> None:
    ended = narrows("capture", "a:eth1", "-w", str(tmp_path / "nowhere" / "a.pcapng"))
    assert ended.exit_code == ExitCode.USAGE
    assert f"there is no directory {tmp_path / 'nowhere'}" in ended.stderr


def test_reader_that_has_enough_is_no_error() -> None:
    """`narrows plan … | head -1` must not end in a traceback."""
    arguments = [sys.executable, "-m", "orchestrator", "plan", "topologies/demo.lab.yml"]
    with subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert process.returncode in (0, 1)


def test_a_mistake_in_a_file_starts_with_its_place_so_that_editors_find_it(wrong: Path) -> None:
    ended = narrows("validate", str(wrong))
    assert ended.stderr.startswith(f"{wrong}:3:21: kind: found 'hots'")
    assert ended.stdout == ""


def test_a_lab_of_another_user_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/var/lib/narrows/0123abcd/journal.jsonl")

    monkeypatch.setattr("orchestrator.wiring.live.find", refuse)
    ended = narrows("inspect", "line")
    assert ended.exit_code == 3
    assert ended.stderr.startswith(
        "narrows: /var/lib/narrows/0123abcd/journal.jsonl: Permission denied; labs"
    )
