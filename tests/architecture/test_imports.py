"""Who may import whom: the contracts hold, and each of them fails when it should."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns

import pytest

from tests.architecture.tree import ROOT, python_files

LINTER = Path(sys.executable).parent / "lint-imports"

NEW_RENO = "import node.protocol.congestion.new_reno"


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the import contracts over a tree."""
    argv = [str(LINTER), "--no-cache", "--no-logo"]
    return subprocess.run(argv, cwd=tree, capture_output=True, text=True, check=False)


#: Contract, module that breaks it, and how.
SPOILT = [
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
    ("measuring-independent", "orchestrator/measure/spoilt.py", "import node.links.model"),
    ("measuring-independent", "node/measuring/spoilt.py", "import node.shaper.client"),
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
]


def test_every_import_contract_holds() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each contract that is broken, all being broken at once: id → its section."""
    tree = tmp_path_factory.mktemp("spoilt")
    for name in ("node", "orchestrator"):
        copytree(ROOT / name, tree / name, ignore=ignore_patterns("__pycache__"))
    copyfile(ROOT / "pyproject.toml", tree / "pyproject.toml")
    for number, (_, module, line) in enumerate(SPOILT):
        (tree / spoilt(number, module)).write_text(f'"""Spoilt."""\n\n{line}\n')
    done = lint_imports(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    _, _, broken = done.stdout.partition("\nBroken contracts\n")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    names = {contract["name"]: contract["id"] for contract in contracts}
    heads = re.split(rf"^({'|'.join(map(re.escape, names))})\n-+\n", broken, flags=re.MULTILINE)[1:]
    return {names[name]: text for name, text in zip(heads[::2], heads[1::2], strict=True)}


def spoilt(number: int, module: str) -> str:
    """Return the path of a module of the list, which each has one of its own."""
    return module.replace("spoilt.py", f"spoilt_{number}.py")


@pytest.mark.parametrize("number", range(len(SPOILT)), ids=[f"{one[0]}-{one[1]}" for one in SPOILT])
def test_a_contract_fails_when_broken(said: dict[str, str], number: int) -> None:
    contract, module, line = SPOILT[number]
    importer = spoilt(number, module).removesuffix(".py").replace("/", ".")
    imported = re.split(r"\s", line)[1].partition(".")[0]
    assert re.search(rf"\b{re.escape(importer)} ->\s+{imported}\b", said[contract]), said[contract]


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
