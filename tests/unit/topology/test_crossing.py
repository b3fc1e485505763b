"""The links that flows cross are those that packets take: along routes, both ways, around NAT."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from orchestrator.topology.crossing import flows_on_links
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan, RoutePlan
from orchestrator.topology.planning import make_plan

FORK = """
name: fork
topology:
  defaults: {ip: IP}
  nodes: {a: , b: , c: , one: {kind: router}, two: {kind: router}, three: {kind: router}}
  links:
    - endpoints: ["a:eth1", "one:eth1"]
    - endpoints: ["one:eth2", "two:eth1"]
    - endpoints: ["two:eth2", "b:eth1"]
    - endpoints: ["one:eth3", "three:eth1"]
    - endpoints: ["three:eth2", "c:eth1"]
workloads:
  - {name: far, kind: bulk, from: a, to: b, size: 1kB}
  - {name: back, kind: bulk, from: b, to: a, size: 1kB}
"""


def plan(text: str) -> DeploymentPlan:
    return make_plan(parse(text.encode(), file="test.lab.yml"))


@pytest.mark.parametrize("version", ["4", "6", "dual"])
def test_links_on_the_paths_of_flows_are_counted(version: str) -> None:
    made = plan(FORK.replace("IP", version))
    found = flows_on_links(made)
    names = {f"{link.a}": found[link.name] for link in made.links}
    assert names == {"a:eth1": 2, "one:eth2": 2, "two:eth2": 2, "one:eth3": 0, "three:eth2": 0}


def test_links_to_a_node_that_has_no_way_back_are_counted() -> None:
    behind = """
name: home
topology:
  nodes: {inside: , box: {kind: nat, outside: wan}, out: , isp: {kind: router}}
  links:
    - endpoints: ["inside:eth1", "box:lan"]
    - endpoints: ["box:wan", "isp:eth1"]
    - endpoints: ["isp:eth2", "out:eth1"]
workloads:
  - {name: up, kind: bulk, from: inside, to: out, size: 1kB}
"""
    assert sorted(flows_on_links(plan(behind)).values()) == [1, 1, 1]


def test_a_way_ends_where_no_route_leads_on() -> None:
    made = plan(FORK.replace("IP", "4"))
    without = tuple(
        dataclasses.replace(node, routes=()) if node.name == "two" else node for node in made.nodes
    )
    cut = dataclasses.replace(made, nodes=without, workloads=made.workloads[:1])
    assert set(flows_on_links(cut)) == {link.name for link in made.links[:3]}


def test_a_way_that_goes_round_ends() -> None:
    made = plan(FORK.replace("IP", "4"))
    one, two = made.node("one"), made.node("two")
    to_b = next(route for route in one.routes if route.interface == "eth2")
    back = dataclasses.replace(two, interfaces=two.interfaces[:1], routes=(replaced(to_b, one.ipv4),))
    circle = tuple(back if node.name == "two" else node for node in made.nodes)
    assert set(flows_on_links(dataclasses.replace(made, nodes=circle))) == {
        link.name for link in made.links[:3]
    }


def replaced(route: RoutePlan, via: str) -> RoutePlan:
    return dataclasses.replace(route, via=via, interface="eth1")


def test_the_longest_prefix_leads_where_a_host_has_two_links() -> None:
    two_ways = """
name: two-ways
topology:
  nodes: {a: , b: , one: {kind: router}, two: {kind: router}}
  links:
    - endpoints: ["a:eth1", "one:eth1"]
    - endpoints: ["a:eth2", "two:eth1"]
    - endpoints: ["one:eth2", "b:eth1"]
    - endpoints: ["two:eth2", "b:eth2"]
workloads:
  - {name: far, kind: bulk, from: a, to: b, size: 1kB}
"""
    made = plan(two_ways)
    assert flows_on_links(made) == Counter({made.links[0].name: 1, made.links[2].name: 1})
