"""Plans: deterministic, shortest paths, addresses that do not collide."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.links.settings import NONE
from node.protocol.identity import Identity
from orchestrator.errors import NotSupportedError
from orchestrator.topology.errors import TopologyError
from orchestrator.topology.load import load, parse
from orchestrator.topology.model import IpVersion, Link, LinkEndpoint, Node, NodeKind, Topology, WorkloadSpec
from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.topology.planning import make_plan
from orchestrator.topology.routing import Paths

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "topologies" / "demo.lab.yml"


def network(kinds: str, pairs: list[tuple[int, int]]) -> Topology:
    """Build a lab: ``kinds`` is a letter a node (h or r), links are pairs of indices."""
    meaning = {"h": NodeKind.HOST, "r": NodeKind.ROUTER}
    nodes = tuple(Node(f"n{index}", meaning[kind]) for index, kind in enumerate(kinds))
    links = tuple(
        Link(LinkEndpoint(f"n{a}", f"e{index}"), LinkEndpoint(f"n{b}", f"e{index}"), NONE, NONE)
        for index, (a, b) in enumerate(pairs)
    )
    return Topology(
        name="lab",
        description="",
        nodes=nodes,
        links=links,
        workloads=(),
        expectations=(),
        seed=1,
        time_limit=10**9,
    )


@st.composite
def networks(draw: st.DrawFn) -> Topology:
    kinds = draw(st.text(alphabet="hr", min_size=1, max_size=8))
    ends = st.integers(0, len(kinds) - 1)
    pairs = draw(st.lists(st.tuples(ends, ends).filter(lambda pair: pair[0] != pair[1]), max_size=14))
    return network(kinds, pairs)


def walk(plan: DeploymentPlan, source: str, address: str) -> Iterator[str]:
    """Yield the nodes that a packet from ``source`` to ``address`` visits, by the plan's routes alone."""
    here = plan.node(source)
    yield here.name
    while all(address not in interface.hosts for interface in here.interfaces):
        here = next_node(plan, here, address)
        yield here.name


def next_node(plan: DeploymentPlan, here: NodePlan, address: str) -> NodePlan:
    via = address
    own = [ip_interface(each) for found in here.interfaces for each in found.addresses]
    if all(ip_address(address) not in interface.network for interface in own):
        fitting = [found for found in here.routes if ip_address(address) in ip_network(found.prefix)]
        via = max(fitting, key=lambda found: ip_network(found.prefix).prefixlen).via
    (there,) = (node for node in plan.nodes for found in node.interfaces if via in found.hosts)
    return there


@given(networks())
def test_routes_lead_to_every_address_that_can_be_reached(topology: Topology) -> None:
    plan, paths = make_plan(topology), Paths(topology)
    for source in plan.nodes:
        for target in plan.nodes:
            if source == target or target.name not in paths.reachable(source.name):
                continue
            visited = list(walk(plan, source.name, target.ipv4))
            assert visited[-1] == target.name
            assert len(visited) == len(set(visited)), "a loop"
            assert all(plan.node(name).kind is NodeKind.ROUTER for name in visited[1:-1])
            assert len(visited) - 1 <= len(paths.links(source.name, target.name)) + 1


@given(networks())
def test_addresses_and_macs_are_unique(topology: Topology) -> None:
    interfaces = [found for node in make_plan(topology).nodes for found in node.interfaces]
    assert len({found.ipv4 for found in interfaces}) == len(interfaces)
    assert len({found.mac for found in interfaces}) == len(interfaces)
    for found in interfaces:
        address = ip_interface(found.ipv4)
        assert address.ip not in (address.network.network_address, address.network.broadcast_address)
        assert found.mac.startswith("02:")


def test_ends_of_a_link_share_a_subnet() -> None:
    plan = make_plan(network("hrh", [(0, 1), (1, 2)]))
    for link in plan.links:
        ends = [found for node in plan.nodes for found in node.interfaces if found.link == link.name]
        assert len({ip_interface(found.ipv4).network for found in ends}) == 1


def test_shortest_path_is_taken() -> None:
    ring = network("hrrrh", [(0, 1), (1, 2), (2, 3), (3, 4), (0, 3)])
    assert Paths(ring).links("n0", "n4") == (4, 3)


def test_of_two_shortest_paths_the_first_in_the_file_is_taken() -> None:
    assert Paths(network("hrrh", [(0, 1), (0, 2), (1, 3), (2, 3)])).links("n0", "n3") == (0, 2)
    assert Paths(network("hrrh", [(0, 2), (0, 1), (1, 3), (2, 3)])).links("n0", "n3") == (0, 3)


def test_hosts_do_not_forward() -> None:
    assert Paths(network("hhh", [(0, 1), (1, 2)])).links("n0", "n2") == ()
    assert Paths(network("hhh", [(0, 1), (1, 2)])).reachable("n0") == {"n0", "n1"}


def test_keys_follow_from_seed_and_name() -> None:
    topology = network("hh", [(0, 1)])
    plan, again, other = make_plan(topology), make_plan(topology), make_plan(topology, seed=2)
    assert plan == again
    assert plan.node("n0").private_key != other.node("n0").private_key
    assert plan.node("n0").private_key != plan.node("n1").private_key
    for node in plan.nodes:
        identity = Identity(node.private_key)
        assert (node.public_key, node.address) == (identity.public_key, identity.address)


def test_adding_a_node_leaves_the_other_keys_alone() -> None:
    assert make_plan(network("hh", [])).node("n0") == make_plan(network("hhh", [])).node("n0")


@pytest.mark.parametrize(("mtu", "size"), [(1500, None), (1480, None), (1479, 1451), (1280, 1252)])
def test_datagrams_fit_the_narrowest_link(mtu: int, size: int | None) -> None:
    flow = WorkloadSpec("f", "bulk", "n0", "n1", {"size": 1}, {})
    whole = network("hh", [(0, 1)])
    narrow = Link(whole.links[0].a, whole.links[0].b, NONE, NONE, mtu)
    topology = Topology("lab", "", whole.nodes, (narrow,), (flow,), (), seed=1, time_limit=10**9)
    (planned,) = make_plan(topology).workloads
    assert planned.transport.get("max_datagram_size") == size


def test_generated_bytes_follow_from_seed_and_flow() -> None:
    plan = make_plan(load(DEMO))
    seeds = {flow.name: flow.options["seed"] for flow in plan.workloads}
    assert seeds == {name: f"7/flow/{name}" for name in ("film", "ping", "news")}


def test_plan_does_not_depend_on_hash_seeds() -> None:
    program = (
        "import json, sys; from orchestrator.topology.load import load;"
        "from orchestrator.topology.planning import make_plan;"
        "print(json.dumps(make_plan(load(sys.argv[1])).to_json()))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(DEMO)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(outputs) == 1
    assert json.loads(outputs.pop())["name"] == "demo"


TREE = """
name: tree
topology: {generate: {t: {shape: tree, depth: 4, fan-out: 10}}}
workloads: {f: {kind: bulk, from: t-h1, to: t-h9999, size: 1MB}}
"""


def test_ten_thousand_nodes_have_few_routes_and_they_lead_everywhere() -> None:
    plan = make_plan(parse(TREE.encode(), file="tree.yml"))
    assert len(plan.nodes) == 11_111
    # A host needs one, a router one for each branch and some for what is above it: counted, not timed.
    assert sum(len(node.routes) for node in plan.nodes) < 40_000
    for source, target in (("t-h1", "t-h10000"), ("t-h5000", "t-h4999"), ("t-r1", "t-h7777")):
        visited = list(walk(plan, source, plan.node(target).ipv4))
        assert visited[-1] == target
        assert len(visited) <= 9


def test_a_graph_without_order_is_routed_to_the_hosts_that_have_flows() -> None:
    text = TREE.replace("tree, depth: 4, fan-out: 10", "random, size: 1500").replace("t-h9999", "t-h999")
    plan = make_plan(parse(text.encode(), file="random.yml"))
    assert list(walk(plan, "t-h1", plan.node("t-h999").ipv4))[-1] == "t-h999"
    assert list(walk(plan, "t-h999", plan.node("t-h1").ipv4))[-1] == "t-h1"
    assert sum(len(node.routes) for node in plan.nodes) < 10_000


def test_more_routes_than_a_machine_has_room_for_are_refused_in_words() -> None:
    text = TREE.replace("tree, depth: 4, fan-out: 10", "random, size: 2500").replace(
        "to: t-h9999", "to: t-h9"
    )
    many = text.replace("from: t-h1,", 'from: "t-h*",')
    with pytest.raises(NotSupportedError, match="routes or more"):
        make_plan(parse(many.encode(), file="random.yml"))


def test_a_path_that_no_packet_survives_is_refused() -> None:
    text = TREE.replace("tree, depth: 4, fan-out: 10", "line, size: 70")
    with pytest.raises(TopologyError, match="has 68 links"):
        parse(text.replace("t-h9999", "t-h67").encode(), file="line.yml")
    assert parse(text.replace("t-h9999", "t-h60").encode(), file="line.yml").workloads


@given(networks())
def test_routes_over_ipv6_lead_everywhere_too_and_ipv4_stays_as_it_was(topology: Topology) -> None:
    links = tuple(dataclasses.replace(link, ip=IpVersion.DUAL) for link in topology.links)
    plan, paths = make_plan(dataclasses.replace(topology, links=links)), Paths(topology)
    alone = make_plan(topology)
    for source, before in zip(plan.nodes, alone.nodes, strict=True):
        assert [route for route in source.routes if ":" not in route.prefix] == list(before.routes)
        for target in plan.nodes:
            if source != target and paths.joined(source.name, target.name):
                visited = list(walk(plan, source.name, target.ipv6))
                assert visited[-1] == target.name
                assert len(visited) - 1 <= len(paths.links(source.name, target.name)) + 1


MIXED = """
name: mixed
topology:
  nodes: {a: , r: {kind: router}, b: , c: }
  links:
    - {endpoints: ["a:eth1", "r:eth1"], ip: dual}
    - {endpoints: ["r:eth2", "b:eth1"], ip: 6}
    - {endpoints: ["r:eth3", "c:eth1"], ip: 4}
workloads:
  f: {kind: bulk, from: a, to: b, size: 1kB}
"""


def test_flows_use_ipv6_where_all_of_them_can() -> None:
    plan = make_plan(parse(MIXED.encode(), file="mixed.yml"))
    assert [plan.node(name).host for name in "ab"] == ["fd6e:6172:726f::1", "fd6e:6172:726f:1::2"]
    assert (plan.node("b").ipv4, plan.node("c").ipv6) == ("", "")
    only_c = MIXED.replace("to: b", "to: c")
    assert make_plan(parse(only_c.encode(), file="mixed.yml")).node("a").host == "10.0.0.1"


def test_flows_that_have_no_version_of_ip_in_common_are_refused() -> None:
    both = MIXED + "  g: {kind: bulk, from: a, to: c, size: 1kB}\n"
    with pytest.raises(TopologyError, match="no path from 'a' to 'b' by IPv4"):
        parse(both.encode(), file="mixed.yml")


def test_datagrams_over_ipv6_leave_room_for_its_header() -> None:
    narrow = MIXED.replace("ip: 6}", "ip: 6, mtu: 1300}")
    (flow,) = make_plan(parse(narrow.encode(), file="mixed.yml")).workloads
    assert flow.transport["max_datagram_size"] == 1300 - 48


def test_nat_routers_have_ipv4_only() -> None:
    text = MIXED.replace("r: {kind: router}", "r: {kind: nat}")
    with pytest.raises(TopologyError, match="translate IPv4 only"):
        parse(text.encode(), file="mixed.yml")


def test_nodes_of_a_large_lab_know_those_that_they_have_flows_with() -> None:
    plan = make_plan(parse(TREE.encode(), file="tree.yml"))
    assert [peer.name for peer in plan.peers_of("t-h1")] == ["t-h9999"]
    assert [peer.name for peer in plan.peers_of("t-h9999")] == ["t-h1"]
    assert plan.peers_of("t-h2") == []
    small = make_plan(load(DEMO))
    assert [peer.name for peer in small.peers_of("lisbon")] == ["london", "frankfurt"]
