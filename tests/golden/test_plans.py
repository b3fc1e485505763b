"""The plan of each topology that we ship, as a file: addresses, routes, keys, in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.topology.graph import RENDERERS
from orchestrator.topology.load import load, parse
from orchestrator.topology.plan_file import plan_from_json
from orchestrator.topology.planning import make_plan
from tests.golden import golden

TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").glob("*.lab.yml"))
NAMES = [path.name.removesuffix(".lab.yml") for path in TOPOLOGIES]


@pytest.mark.parametrize("path", TOPOLOGIES, ids=NAMES)
def test_plan_is_as_reviewed(path: Path) -> None:
    plan = make_plan(load(path)).to_json()
    golden.check(f"plans/{path.name.removesuffix('.lab.yml')}.json", json.dumps(plan, indent=1) + "\n")


@pytest.mark.parametrize("style", sorted(RENDERERS))
def test_drawing_is_as_reviewed(style: str) -> None:
    (demo,) = (path for path in TOPOLOGIES if path.name.startswith("demo."))
    golden.check(f"plans/demo.{style}.txt", RENDERERS[style](load(demo)))


@pytest.mark.parametrize("path", TOPOLOGIES, ids=NAMES)
def test_topology_has_a_line_in_the_readme(path: Path) -> None:
    topology = load(path)
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    assert f"| `{path.name}` | {topology.description} |" in readme
    assert topology.expectations


@pytest.mark.parametrize("path", TOPOLOGIES, ids=NAMES)
def test_a_plan_is_read_back_from_its_json(path: Path) -> None:
    plan = make_plan(load(path))
    again = plan_from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert again.to_json() == plan.to_json()


def test_a_flow_of_several_connections_is_read_back_as_that() -> None:
    flow = "{kind: bulk, from: a, to: b, size: 1kB, connections: 5, on-crash: restart}"
    text = f"""
name: dials
topology:
  nodes: {{a: {{}}, b: {{}}}}
  links: [{{endpoints: ["a:eth1", "b:eth1"]}}]
workloads: {{dials: {flow}}}
"""
    plan = make_plan(parse(text.encode(), file="dials"))
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan
