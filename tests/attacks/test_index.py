"""Each attack of the list has its tests, and each such test is there."""

from __future__ import annotations

import ast

import pytest

from tests.attacks.index import ENTRIES, Entry
from tests.lanes.machine import ROOT


def problem(place: str) -> str:
    """Return why ``file::test`` proves nothing; empty: it is a test that runs."""
    name, _, test = place.partition("::")
    path = ROOT / "tests" / name
    if not path.is_file():
        return f"{place}: no such file"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == test:
            skipped = any("skip" in ast.unparse(decorator) for decorator in node.decorator_list)
            return f"{place}: is skipped" if skipped else ""
    return f"{place}: no such test"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.what.replace(" ", "-"))
def test_each_attack_has_its_tests(entry: Entry) -> None:
    assert entry.tests
    assert not [found for place in entry.tests if (found := problem(place))]


def test_no_attack_stands_twice() -> None:
    names = [entry.what for entry in ENTRIES]
    assert len(names) == len(set(names))


def test_each_test_of_this_directory_says_its_cap() -> None:
    """In calls, bytes or packets: what has no number is no cap."""
    for path in sorted((ROOT / "tests/attacks").glob("test_*.py")):
        if path.name == "test_index.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = ast.get_docstring(node) or ""
                assert "Cap: " in said or " Cap:" in said, f"{path.name}::{node.name} states no cap"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("attacks/nowhere.py::test_x", "no such file"),
        ("attacks/test_index.py::test_x", "no such test"),
        ("attacks/test_index.py::test_no_attack_stands_twice", ""),
    ],
)
def test_what_is_missing_is_named(place: str, words: str) -> None:
    assert words in problem(place)
    assert bool(problem(place)) == bool(words)
