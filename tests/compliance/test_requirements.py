"""Each requirement of SPEC.md has its place in the code and a test that proves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compliance.requirements import (
    Citations,
    cited,
    cited_in_tests,
    find_citations,
    of_project,
    problems,
    requirements,
)


def test_every_requirement_is_cited_by_code_and_by_a_test() -> None:
    known, citations = of_project()
    wrong = problems(known, citations)
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_specification_has_requirements() -> None:
    known, _ = of_project()
    assert len(known) >= 48
    assert {"1-1", "4.1-4", "6.1-1"} <= set(known)


# the checker can fail

TEXT = "- 1-1 A node MUST.\n- 1-2 A node\n  SHOULD.\n\n- 3.1-1 A peer MAY.\n"


def test_requirements_are_list_entries_with_a_number() -> None:
    assert requirements(TEXT) == {"1-1": "A node MUST.", "1-2": "A node", "3.1-1": "A peer MAY."}
    with pytest.raises(ValueError, match="1-1 stands twice"):
        requirements(TEXT + "- 1-1 Again.\n")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("SPEC 1-1", ["1-1"]),
        ("# SPEC 3.1-1: why", ["3.1-1"]),
        ("(SPEC 1-1, 1-2, and 3.1-1)", ["1-1", "1-2", "3.1-1"]),
        ("SPEC 1-1 and\n    # 1-2 say so", ["1-1", "1-2"]),
        ("SPEC 3.1 is a section, INSPEC 1-1 a word", []),
        ("SPEC 14, 14.1-1", ["14.1-1"]),
        ("SPEC 12-34 and 5 more", ["12-34"]),
    ],
)
def test_citations_are_found_alone_and_in_lists(text: str, numbers: list[str]) -> None:
    assert [number for _, number in cited(text)] == numbers


def test_a_citation_belongs_to_the_test_around_or_below_it() -> None:
    text = (
        '"""SPEC 1-1"""\ndef helper(): pass\n# SPEC 1-2\n\ndef test_one():\n    """SPEC 3.1-1"""\n'
        "def test_two():\n    pass  # SPEC 4-4\n# SPEC 9-9\n"
    )
    assert list(cited_in_tests(text)) == [
        ("test_one", "1-1"), ("test_one", "1-2"), ("test_one", "3.1-1"), ("test_two", "4-4"),
    ]  # fmt: skip


def test_whatever_is_missing_or_made_up_is_named() -> None:
    known = {"1-1": "cited by both", "1-2": "by none", "1-3": "by a test", "1-4": "by code"}
    citations = Citations(
        code={"1-1": ["a.py:1"], "1-4": ["a.py:2"], "7-7": ["a.py:3"]},
        tests={"1-1": ["t.py::test"], "1-3": ["t.py::test"], "8-8": ["t.py::test"]},
    )
    assert problems(known, citations, {}) == [
        "SPEC 1-2 is cited in no test: by none",
        "SPEC 1-2 is cited nowhere in the code: by none",
        "SPEC 1-3 is cited nowhere in the code: by a test",
        "SPEC 1-4 is cited in no test: by code",
        "SPEC 7-7 does not exist: a.py:3",
        "SPEC 8-8 does not exist: t.py::test",
    ]
    assert problems({"1-3": "x"}, Citations(tests={"1-3": ["t"]}), {"1-3": "for people"}) == []


def test_an_exception_goes_when_it_is_not_needed() -> None:
    both = Citations(code={"1-1": ["a"]}, tests={"1-1": ["t"]})
    assert problems({"1-1": "x"}, both, {"1-1": "why"}) == ["SPEC 1-1 needs no exception: the code cites it"]
    assert problems({}, Citations(), {"1-1": "why"}) == ["SPEC 1-1 is excepted, but does not exist"]


def test_only_what_runs_in_a_node_and_only_modules_of_tests_count(tmp_path: Path) -> None:
    for name, text in {
        "node/core.py": "# SPEC 1-1\n",
        "node/dissectors/layer.py": "# SPEC 1-2\n",
        "node/readme.md": "SPEC 1-3\n",
        "orchestrator/probe.py": "# SPEC 1-4\n",
        "tests/unit/test_a.py": "def test_a(): pass  # SPEC 2-1\n",
        "tests/support/pair.py": "# SPEC 2-2\n",
        "tests/compliance/test_x.py": "def test_x(): pass  # SPEC 2-3\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    files = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*.*"))]
    found = find_citations(files, tmp_path)
    assert found == Citations({"1-1": ["node/core.py:1"]}, {"2-1": ["tests/unit/test_a.py::test_a"]})
