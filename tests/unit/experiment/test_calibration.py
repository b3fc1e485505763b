"""Which links are measured before a run, where there are too many to measure all of them."""

from __future__ import annotations

import pytest

from orchestrator.experiment.calibration import MOST_LINKS, links_to_measure
from orchestrator.topology.crossing import flows_on_links
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan


def tree(depth: int, flows: str, *, seed: int = 1) -> DeploymentPlan:
    """A binary tree: 2 to the power of ``depth`` hosts, nearly twice as many links."""
    text = f"""
name: tree
seed: {seed}
topology:
  generate: {{t: {{shape: tree, depth: {depth}, fan-out: 2}}}}
workloads: {{{flows}}}
"""
    return make_plan(parse(text.encode(), file="tree.lab.yml"))


def test_all_links_of_a_small_lab_are_measured() -> None:
    plan = tree(5, "file: {kind: bulk, from: t-h1, to: t-h32, size: 1kB}")
    assert links_to_measure(plan) == (list(plan.links), [])


def test_links_that_flows_cross_are_measured_first() -> None:
    plan = tree(9, "file: {kind: bulk, from: t-h1, to: t-h512, size: 1kB}")
    links, notes = links_to_measure(plan)
    crossed = set(flows_on_links(plan))
    assert len(crossed) == 2 * 9
    assert {link.name for link in links[: len(crossed)]} == crossed
    assert len({link.name for link in links}) == MOST_LINKS
    assert notes == [
        f"{MOST_LINKS} of 1022 links were measured: 18 of the 18 that flows cross, 82 others by the seed"
    ]


def test_links_that_most_flows_cross_are_measured_where_flows_cross_too_many() -> None:
    flows = "load: {kind: bulk, from: 't-h[1-9][0-9]', to: t-h512, size: 1kB}"
    plan = tree(9, flows.replace("[1-9][0-9]", "1*"))
    count = flows_on_links(plan)
    assert len(count) > MOST_LINKS
    links, notes = links_to_measure(plan)
    least = min(count[link.name] for link in links)
    assert all(count[link.name] <= least for link in plan.links if link not in links)
    assert f"{MOST_LINKS} of the {len(count)} that flows cross, 0 others" in notes[0]


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_the_seed_chooses_among_links_that_are_alike(seeds: tuple[int, int]) -> None:
    one, other = (links_to_measure(tree(7, "", seed=seed))[0] for seed in seeds)
    assert ([link.name for link in one] == [link.name for link in other]) == (seeds[0] == seeds[1])
