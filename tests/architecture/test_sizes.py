"""Modules, functions and interfaces keep the sizes of docs/architecture.md, and the rule can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.tree import EXCEPTIONS, ROOT, python_files, size_violations


def test_every_module_keeps_the_size_limits() -> None:
    found = [
        violation
        for path in python_files("node", "orchestrator", "tests")
        for violation in size_violations(path, (ROOT / path).read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("lines", "fails"), [(500, False), (501, True)])
def test_a_module_of_501_lines_fails_and_one_of_500_does_not(lines: int, fails: bool) -> None:
    assert bool(list(size_violations(Path("node/long.py"), "x = 1\n" * lines))) is fails


@pytest.mark.parametrize(("lines", "fails"), [(800, False), (801, True)])
def test_a_test_of_801_lines_fails_and_one_of_800_does_not(lines: int, fails: bool) -> None:
    assert bool(list(size_violations(Path("tests/unit/test_long.py"), "x = 1\n" * lines))) is fails


@pytest.mark.parametrize(("lines", "fails"), [(70, False), (71, True)])
def test_a_function_of_71_lines_fails_and_one_of_70_does_not(lines: int, fails: bool) -> None:
    text = "def long():\n" + "    x = 1\n" * (lines - 1)
    assert bool(list(size_violations(Path("node/long.py"), text))) is fails


@pytest.mark.parametrize(("methods", "fails"), [(10, False), (11, True)])
def test_an_interface_of_11_methods_fails_and_one_of_10_does_not(methods: int, fails: bool) -> None:
    text = "class Wide(Protocol):\n" + "".join(f"    def m{n}(self): ...\n" for n in range(methods))
    assert bool(list(size_violations(Path("node/wide.py"), text))) is fails


def test_the_connection_facade_has_a_limit_of_its_own() -> None:
    assert list(size_violations(Path("node/protocol/connection.py"), "x = 1\n" * 401))


def test_each_exception_has_a_reason_and_an_issue_and_is_still_needed() -> None:
    for name, (_, why, issue) in EXCEPTIONS.items():
        assert why, f"{name}: no reason"
        assert issue > 0, f"{name}: no issue"
        assert (ROOT / name.split("::")[0]).exists(), f"{name} is gone: drop its exception"
