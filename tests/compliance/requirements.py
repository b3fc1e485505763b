"""Reads the numbered requirements of SPEC.md, and finds who cites them.

A requirement is a list entry ``- 4.1-2 …``. It is cited as ``SPEC 4.1-2``; several at once as
``SPEC 4-1, 4-2`` or ``SPEC 4-1 and 4-2``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.architecture.tree import ROOT, files_of_project

SPEC = Path("node/protocol/SPEC.md")
#: What follows the wire: the dissectors read it a second time, and so prove nothing of the node.
CODE = Path("node")
NOT_CODE = Path("node/dissectors")
TESTS = Path("tests")
#: The checker's own tests speak of requirements that exist nowhere.
NOT_TESTS = Path("tests/compliance")

#: Requirements that no code can cite: number → why. None is needed so far.
NOT_IN_CODE: dict[str, str] = {}

_NUMBER = r"\d+(?:\.\d+)*-\d+"
#: In a list there may be whole sections as well; they count for nothing.
_ITEM = r"\d+(?:\.\d+)*(?:-\d+)?"
_ENTRY = re.compile(rf"^- ({_NUMBER}) (.+)$", re.MULTILINE)
_CITATION = re.compile(rf"\bSPEC\s+({_ITEM}(?:(?:,| and|, and)\s+(?:#\s+)?{_ITEM})*)")


@dataclass(slots=True)
class Citations:
    """Who cites which requirement: number → places."""

    #: ``node/protocol/endpoint.py:42``
    code: dict[str, list[str]] = field(default_factory=dict)
    #: ``tests/unit/test_x.py::test_something``
    tests: dict[str, list[str]] = field(default_factory=dict)


def requirements(spec: str) -> dict[str, str]:
    """Return number → first line of each requirement.

    Raises:
        ValueError: a number stands twice.
    """
    found: dict[str, str] = {}
    for number, text in _ENTRY.findall(spec):
        if number in found:
            raise ValueError(f"{SPEC}: requirement {number} stands twice")
        found[number] = text
    return found


def cited(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and number of each citation in a text."""
    for citation in _CITATION.finditer(text):
        for number in re.finditer(_NUMBER, citation[1]):
            yield text.count("\n", 0, citation.start(1) + number.start()) + 1, number[0]


def cited_in_tests(text: str) -> Iterator[tuple[str, str]]:
    """Yield test and number of each citation in a module of tests.

    What stands outside of a function (a heading, the module's docstring) is about the test below it.
    """
    tests = sorted(
        (node.end_lineno or node.lineno, node.name)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    for line, number in cited(text):
        name = next((name for end, name in tests if end >= line), None)
        if name is not None:
            yield name, number


def find_citations(files: Iterable[Path], root: Path = ROOT) -> Citations:
    """Return who cites what in these files, given relative to ``root``."""
    found = Citations()
    for path in files:
        if path.suffix != ".py":
            continue
        if path.is_relative_to(CODE) and not path.is_relative_to(NOT_CODE):
            for line, number in cited((root / path).read_text()):
                found.code.setdefault(number, []).append(f"{path}:{line}")
        elif (
            path.name.startswith("test_")
            and path.is_relative_to(TESTS)
            and not path.is_relative_to(NOT_TESTS)
        ):
            for name, number in cited_in_tests((root / path).read_text()):
                found.tests.setdefault(number, []).append(f"{path}::{name}")
    return found


def problems(
    known: dict[str, str], citations: Citations, not_in_code: dict[str, str] = NOT_IN_CODE
) -> list[str]:
    """Return what is wrong, a line each: requirements without citation, citations without requirement."""
    found = []
    for number, text in known.items():
        if number not in citations.tests:
            found.append(f"SPEC {number} is cited in no test: {text}")
        if number not in citations.code and number not in not_in_code:
            found.append(f"SPEC {number} is cited nowhere in the code: {text}")
        if number in citations.code and number in not_in_code:
            found.append(f"SPEC {number} needs no exception: the code cites it")
    for place in (citations.code, citations.tests):
        for number, where in place.items():
            if number not in known:
                found.append(f"SPEC {number} does not exist: {', '.join(where)}")
    found += [
        f"SPEC {number} is excepted, but does not exist" for number in not_in_code if number not in known
    ]
    return found


def of_project() -> tuple[dict[str, str], Citations]:
    """Return the requirements of SPEC.md and their citations."""
    return requirements((ROOT / SPEC).read_text()), find_citations(files_of_project())
