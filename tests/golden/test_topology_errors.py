"""Every kind of bad topology file has its message, with line, column, caret and advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.topology.errors import TopologyError
from orchestrator.topology.load import parse
from tests.golden import golden

HERE = Path(__file__).parent
BAD = sorted(path.stem for path in (HERE / "topology").glob("*.yml"))


@pytest.mark.parametrize("name", BAD)
def test_bad_topology_is_explained(name: str) -> None:
    file = HERE / "topology" / f"{name}.yml"
    with pytest.raises(TopologyError) as caught:
        parse(file.read_bytes(), file=f"{name}.yml", directory=HERE)
    golden.check(f"topology/{name}.txt", f"{caught.value}\n")


def test_there_are_many_kinds_of_bad_topologies() -> None:
    assert len(BAD) >= 30


@pytest.mark.parametrize("name", BAD)
def test_every_problem_has_a_place(name: str) -> None:
    content = (HERE / "topology" / f"{name}.yml").read_bytes()
    with pytest.raises(TopologyError) as caught:
        parse(content, file=name, directory=HERE)
    lines = content.count(b"\n") + 1
    for problem in caught.value.problems:
        assert 1 <= problem.line <= lines
        assert problem.column >= 1
        assert problem.advice, f"no advice for: {problem.message}"
