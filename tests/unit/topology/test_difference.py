"""What has to change between two plans of a lab."""

from __future__ import annotations

import pytest

from orchestrator.topology.difference import difference, with_indexes_of, with_made_anew
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan

BASE = """
name: base
topology:
  nodes: {left: {}, middle: {kind: router}, right: {}}
  links:
    - {endpoints: ["left:eth1", "middle:eth1"], netem: {delay: 1ms}}
    - {endpoints: ["middle:eth2", "right:eth1"]}
"""
MORE = (
    BASE.replace("right: {}}", "right: {}, far: {}}")
    + '    - {endpoints: ["middle:eth3", "far:eth1"], netem: {delay: 3ms}}\n'
)


def plan_of(text: str) -> DeploymentPlan:
    return make_plan(parse(text.encode(), file="base.lab.yml"))


def told(old: str, new: str) -> list[str]:
    return [str(change) for change in difference(plan_of(old), plan_of(new)).changes]


def test_the_same_file_changes_nothing() -> None:
    found = difference(plan_of(MORE), plan_of(MORE))
    assert (found.changes, found.impossible) == ((), ())
    flow = "workloads: {film: {kind: bulk, from: left, to: right, size: 1MB}}\n"
    assert told(BASE, BASE + flow) == []


def test_nodes_and_links_come_and_go() -> None:
    # Agents are told their peers when they start.
    assert told(BASE, MORE) == [
        "add     node far",
        "add     link middle:eth3--far:eth1",
        "change  agent left",
        "change  agent right",
    ]
    assert told(MORE, BASE)[:2] == ["remove  link middle:eth3--far:eth1", "remove  node far"]


def test_impairments_change_one_way() -> None:
    changed = BASE.replace(
        "netem: {delay: 1ms}", "netem: {delay: 1ms}, netem-reverse: {delay: 9ms, loss: 1%}"
    )
    found = difference(plan_of(BASE), plan_of(changed))
    assert [str(change) for change in found.changes] == [
        "change  impairments middle:eth1: delay=1ms → loss=1% delay=9ms"
    ]
    assert found.only_impairments


def test_a_link_that_goes_moves_the_subnets_behind_it() -> None:
    fewer = "\n".join(line for line in MORE.splitlines() if '"right:eth1"' not in line).replace(
        "right: {}, ", ""
    )
    found = difference(plan_of(MORE), plan_of(fewer))
    assert found.links_removed == ("middle:eth2--right:eth1", "middle:eth3--far:eth1")
    assert found.links_added == ("middle:eth3--far:eth1",)
    assert found.nodes_removed == ("right",)
    assert set(found.agents) == {"left", "far"}


def test_links_that_stay_keep_their_index_and_others_get_new_ones() -> None:
    old, new = plan_of(MORE), plan_of(MORE.replace("right:eth1", "right:eth9"))
    found = difference(old, new)
    assert [link.index for link in with_indexes_of(old, new, found).links] == [0, 3, 2]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (BASE + "seed: 9\n", r"the seed cannot change \(1 → 9\)"),
        (
            BASE.replace("left: {}", "left: {kind: router}"),
            r"node left cannot change its kind \(host → router\)",
        ),
    ],
)
def test_what_cannot_change_is_told(changed: str, why: str) -> None:
    import re

    (found,) = difference(plan_of(BASE), plan_of(changed)).impossible
    assert re.match(why, found)


def test_nodes_that_cannot_stay_are_made_anew_with_their_links() -> None:
    changed = BASE.replace("delay: 1ms", "delay: 2ms")
    old, new = plan_of(BASE), plan_of(changed)
    found = with_made_anew(
        difference(old, new), old, new, lost=["right"], lacking={"left": ("node", "node-quic +NET_ADMIN")}
    )
    assert [str(change) for change in found.changes] == [
        "remove  link left:eth1--middle:eth1",
        "change  node left: node → node-quic +NET_ADMIN",
        "add     node right",
        "add     link left:eth1--middle:eth1",
        "add     link middle:eth2--right:eth1",
    ]
    assert found.nodes_added == found.nodes_removed == ("left", "right")
    assert found.links_added == found.links_removed == ("left:eth1--middle:eth1", "middle:eth2--right:eth1")
    assert found.impairments == ()


def test_of_two_nodes_that_cannot_stay_the_link_that_is_lost_is_not_removed() -> None:
    old = plan_of(BASE)
    found = with_made_anew(
        difference(old, old), old, old, lost=["middle"], lacking={"left": ("node", "node-quic")}
    )
    assert [str(change) for change in found.changes] == [
        "change  node left: node → node-quic",
        "add     node middle",
        "add     link left:eth1--middle:eth1",
        "add     link middle:eth2--right:eth1",
    ]
