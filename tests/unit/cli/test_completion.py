"""What shells are offered: verbs, options, files, labs and nodes, as click tells them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from node.links.settings import NONE
from orchestrator.cli.main import main
from orchestrator.wiring.journal import Journal
from orchestrator.wiring.state import LabRecord, LinkRecord, NodeRecord
from tests.support.topologies import line as plan_of

RUN = "0123abcd"


def offered(*words: str) -> list[str]:
    """Return what a shell is offered for the last word."""
    complete = ShellComplete(main, {}, "narrows", "_NARROWS_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


@pytest.fixture
def no_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


@pytest.fixture
def line(no_lab: None, tmp_path: Path) -> None:
    """A lab that is up, as far as its records say."""
    journal = Journal.create(RUN)
    owner = {"kind": "lab", "name": "line", "backend": "netns", "pid": 1, "detached": True}
    journal.record(owner)
    plan = plan_of(NONE, NONE)
    nodes = [NodeRecord(node.name, node.kind.value, "/n", node.host) for node in plan.nodes]
    links = [
        LinkRecord(link.name, link.index, str(link.a), str(link.b), 1500, "/l", "/c", "s")
        for link in plan.links
    ]
    LabRecord("line", RUN, "netns", "kernel", str(tmp_path), tuple(nodes), tuple(links)).save()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_us(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell], prog_name="narrows")
    assert result.exit_code == 0
    assert f"_NARROWS_COMPLETE={shell}_complete" in result.stdout
    assert "narrows" in result.stdout


def test_the_script_of_bash_is_one_that_bash_reads() -> None:
    script = CliRunner().invoke(main, ["completion", "bash"], prog_name="narrows").stdout
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_verbs_options_and_choices_are_offered() -> None:
    assert offered("va") == ["validate"]
    assert {"deploy", "destroy", "doctor"} <= set(offered("d"))
    assert "--set" in offered("run", "--s")
    assert offered("graph", "-f", "me") == ["mermaid"]
    assert offered("run", "--backend", "ne") == ["netns"]
    assert offered("netem", "s") == ["set", "show"]


def test_topology_files_and_directories_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one.lab.yml", "other.txt", ".hidden.lab.yml", "labs/two.lab.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert offered("run", "") == ["labs/", "one.lab.yml"]
    assert offered("validate", "-t", "labs/") == ["labs/two.lab.yml"]
    assert offered("plan", ".h") == [".hidden.lab.yml"]
    assert offered("plan", "nowhere/") == []


def test_without_a_lab_nothing_is_offered_and_nothing_fails(no_lab: None) -> None:
    assert offered("destroy", "") == []
    assert offered("exec", "") == []
    assert offered("netem", "set", "") == []


def test_labs_nodes_and_endpoints_are_those_of_the_lab_that_is_up(line: None) -> None:
    assert offered("destroy", "") == ["line", RUN]
    assert offered("exec", "r") == ["r1"]
    assert offered("exec", "-l", "line", "") == ["a", "r1", "b"]
    assert offered("netem", "set", "r1:") == ["r1:eth1", "r1:eth2"]
    assert offered("netem", "show", "a") == ["a:eth1--r1:eth1", "a:eth1"]


def test_completion_imports_nothing_heavy() -> None:
    program = (
        "import sys; from click.shell_completion import ShellComplete;"
        "from orchestrator.cli.main import main;"
        "ShellComplete(main, {}, 'narrows', 'X').get_completions(['run'], '');"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pydantic", "scapy", "docker", "yaml", "cryptography"} & set(done.stdout.split())
