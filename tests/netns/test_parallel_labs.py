"""Labs of one topology side by side, made and removed at the same time, have nothing in common."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.wiring import cleanup, live
from tests.netns.labs import left_over
from tests.support.command import narrows
from tests.unit.topology.test_difference import BASE

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.any_kernel]

ROOT = Path(__file__).resolve().parent.parent.parent


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "orchestrator", *map(str, arguments)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> dict[str, object]:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    found: dict[str, object] = json.loads(output)
    return found


def test_they_are_made_and_removed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    file = tmp_path / "base.lab.yml"
    file.write_text(BASE)
    deploy = ("deploy", file, "--new", "--results", tmp_path / "results", "-f", "json")
    run_ids = []
    try:
        run_ids += [str(told(process)["run_id"]) for process in [start(*deploy), start(*deploy)]]
        first, second = (live.find(run_id) for run_id in run_ids)
        # The same addresses, in namespaces of different names: nothing can be seen from one in the other.
        assert [node.ipv4 for node in first.nodes] == [node.ipv4 for node in second.nodes]
        assert not {node.namespace for node in first.nodes} & {node.namespace for node in second.nodes}
        # One goes, a third comes, the second is left alone.
        racing = [start("destroy", run_ids[0], "-f", "json"), start(*deploy)]
        assert told(racing[0])["removed"] == [run_ids[0]]
        run_ids.append(str(told(racing[1])["run_id"]))
        assert left_over(run_ids[0]) == []
        for run_id in run_ids[1:]:
            nodes = narrows("inspect", run_id, "-f", "json").json()["nodes"]
            assert {node["state"] for node in nodes} == {"running", "forwarding"}
        # Two that remove the same lab at once: it goes, and neither fails otherwise than by that.
        both = [start("destroy", run_ids[1]) for _ in range(2)]
        for process in both:
            process.communicate(timeout=240)
        assert {process.returncode for process in both} <= {0, 4}
    finally:
        cleanup.destroy_all()
    assert [left_over(run_id) for run_id in run_ids] == [[] for _ in run_ids]
