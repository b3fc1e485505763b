"""Who may import whom: the contracts hold, and each of them fails when it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns

import pytest

from tests.architecture.tree import ROOT, python_files

LINTER = Path(sys.executable).parent / "lint-imports"

NEW_RENO = "import node.protocol.congestion.new_reno"


def lint_imports(tree: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Run the import contracts over a tree."""
    argv = [str(LINTER), "--no-cache", "--no-logo"]
    for contract in contracts:
        argv += ["--contract", contract]
    return subprocess.run(argv, cwd=tree, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code alone, to be spoilt."""
    for name in ("node", "orchestrator"):
        copytree(ROOT / name, tmp_path / name, ignore=ignore_patterns("__pycache__"))
    copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_every_import_contract_holds() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        ("pure", "node/protocol/spoilt.py", "import time"),
        ("pure", "node/protocol/spoilt.py", "from asyncio import sleep"),
        ("pure", "node/workloads/spoilt.py", "import socket"),
        ("pure", "node/links/spoilt.py", "import os"),
        ("pure", "orchestrator/simulation/spoilt.py", "import threading"),
        ("pure", "orchestrator/topology/spoilt.py", "import logging"),
        ("pure", "orchestrator/tc/spoilt.py", "import subprocess"),
        ("node-alone", "node/agent/spoilt.py", "import orchestrator.errors"),
        ("node-layers", "node/protocol/spoilt.py", "import node.core"),
        ("orchestrator-layers", "orchestrator/topology/spoilt.py", "import orchestrator.backends.base"),
        ("links-low", "node/shaper/spoilt.py", "import node.core"),
        ("links-pure-low", "node/links/spoilt.py", "import node.shaper"),
        ("dissector-independent", "node/dissectors/spoilt.py", "import node.protocol.identity"),
        ("independent-congestion", "node/protocol/congestion/spoilt.py", NEW_RENO),
        ("probes-independent", "orchestrator/probes/spoilt.py", "import node.protocol.wire.frames"),
        ("independent-arq", "node/protocol/arq/spoilt.py", "import node.protocol.arq.go_back_n"),
        ("independent-workloads", "node/workloads/spoilt.py", "import node.workloads.bulk"),
        (
            "independent-generators",
            "orchestrator/topology/generators/spoilt.py",
            "import orchestrator.topology.generators.star",
        ),
        ("independent-impairments", "node/links/impairments/spoilt.py", "import node.links.impairments.loss"),
        ("independent-backends", "orchestrator/backends/spoilt.py", "import orchestrator.backends.compose"),
        ("independent-verbs", "orchestrator/cli/spoilt.py", "import orchestrator.cli.plan"),
        ("scapy", "node/protocol/spoilt.py", "import scapy"),
        ("scapy", "orchestrator/backends/spoilt.py", "from scapy.all import IP"),
        ("docker", "orchestrator/spoilt.py", "import docker"),
        ("subprocess", "orchestrator/wiring/spoilt.py", "import subprocess"),
    ],
)
def test_a_contract_fails_when_broken(copy: Path, contract: str, module: str, line: str) -> None:
    assert lint_imports(copy, contract).returncode == 0
    (copy / module).write_text(f'"""Spoilt."""\n\n{line}\n')
    done = lint_imports(copy, contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "spoilt" in done.stdout


def test_a_node_needs_neither_scapy_nor_docker_nor_the_orchestrator() -> None:
    """The image of a node holds only node/ and its locked packages."""
    modules = [str(path.with_suffix("")).replace("/", ".") for path in python_files("node")]
    modules = [name.removesuffix(".__init__") for name in modules]
    modules = [name for name in modules if "scapy_layer" not in name and not name.endswith("__main__")]
    absent = ("scapy", "docker", "orchestrator", "yaml", "pydantic", "click", "rich")
    program = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {absent!r}:
            raise ImportError('not in the image: ' + name)
sys.meta_path.insert(0, Absent())
for name in {modules!r}:
    importlib.import_module(name)
"""
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
