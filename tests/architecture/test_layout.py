"""What lies in the project: only what belongs there, nothing of one machine, versions that agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import node
from tests.architecture.tree import ROOT, files_of_project
from tests.lanes.table import directories_with_tests, lanes

TOP_LEVEL = {
    "README.md",
    "docker-compose.yml",
    "Dockerfile",
    "node",
    "orchestrator",
    "topologies",
    "tests",
    "pyproject.toml",
    "Makefile",
    "LICENSE",
    "CHANGELOG.md",
    "docs",
}

#: What one machine has and another has not, and hosts that a user's own settings must choose.
# Put together from halves, so that this file does not accuse itself.
FOREIGN = re.compile(
    "|".join(
        [
            "/wo" + r"rk/(?!dir)",
            "/ro" + "ot/",
            r"pypi\." + "org",
            r"files\.python" + "hosted",
            r"deb\.deb" + r"ian\.org",
            r"registry-1\.dock" + "er",
            r"--(extra-)?index" + "-url",
            "--find" + "-links",
        ]
    )
)
#: The kernel for the netem lane may lie beside the checkout; only these may look there.
BESIDE = re.compile(r"\.\./shar" + r"ed|shar" + r"ed/uml")
MAY_LOOK_BESIDE = (".ci/", "tests/lanes/")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_top_level_holds_only_what_belongs_there() -> None:
    names = {path.parts[0] for path in files_of_project()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_nothing_names_a_registry_or_a_path_of_one_machine() -> None:
    found = []
    for path in files_of_project():
        text = (ROOT / path).read_text(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            beside = BESIDE.search(line) and not str(path).startswith(MAY_LOOK_BESIDE)
            if beside or FOREIGN.search(line):
                found.append(f"{path}:{number}: {line.strip()[:120]}")
    assert not found, "\n".join(found)


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not [path for path in files_of_project() if path.name in {"utils.py", "helpers.py", "misc.py"}]


def test_nothing_is_left_to_do_later() -> None:
    mark = re.compile(r"\b(TO" + "DO|FIX" + r"ME|X" + r"XX)\b")
    python = [path for path in files_of_project() if path.suffix in {".py", ".sh", ".yml"}]
    assert not [str(path) for path in python if mark.search((ROOT / path).read_text(errors="replace"))]


def test_the_version_is_written_once() -> None:
    assert "version" not in PROJECT
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", node.__version__)


def test_the_changelog_opens_with_what_is_not_released_yet() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_every_locked_package_has_hashes_and_every_dependency_is_locked() -> None:
    wanted = {
        "node": PROJECT["optional-dependencies"]["node"],
        "orchestrator": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["probe"],
        "dev": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"],
    }
    for name, requirements in wanted.items():
        entries = re.split(r"\n(?=\S)", (ROOT / ".ci" / "requirements" / f"{name}.txt").read_text())
        entries = [entry for entry in entries if not entry.startswith("#")]
        assert all(re.match(r"[a-z0-9-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)
        locked = {re.split("==", entry)[0] for entry in entries}
        names = {re.match(r"[\w-]+", one.lower()).group() for one in requirements}  # type: ignore[union-attr]
        assert names - {"narrows"} <= locked


def test_every_directory_of_tests_belongs_to_a_lane() -> None:
    covered = {name for lane in lanes() for name in lane.directories}
    assert set(directories_with_tests()) <= covered


def test_every_command_of_the_readme_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    known = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    verbs = set(re.findall(r"^\s*(?:\$ )?narrows ([a-z]+)", readme, re.MULTILINE))
    assert verbs, "the README shows no command"
    assert not {verb for verb in verbs if not re.search(rf"^\s+{verb}\b", known, re.MULTILINE)}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", readme)) <= targets
    for path in re.findall(r"topologies/[\w.-]+\.yml", readme):
        assert (ROOT / path).exists(), path


def test_scripts_can_be_run() -> None:
    scripts = [*(ROOT / ".ci").iterdir(), *(ROOT / "tests/lanes/scripts").glob("*.sh")]
    for script in scripts:
        assert Path(script).stat().st_mode & 0o111, f"{script.name} is not executable"
