"""What every generator of topologies promises; a new one is tested here by being registered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random

import pytest

from orchestrator.topology.errors import TopologyError
from orchestrator.topology.generators.base import GENERATORS, Draft, Generator
from orchestrator.topology.load import parse
from orchestrator.topology.model import NodeKind, Topology
from orchestrator.topology.routing import Paths
from orchestrator.topology.schema_file import json_schema


@pytest.fixture(params=GENERATORS.names())
def shape(request: pytest.FixtureRequest) -> type[Generator]:
    return GENERATORS[request.param]


def some_sizes(shape: type[Generator]) -> list[dict[str, int]]:
    """Small sizes of a shape: the least that fit each other, and three larger ones."""
    found = [
        {name: max(size.least, number) for name, size in shape.sizes.items()} for number in (0, 1, 2, 3, 4)
    ]
    found += [{name: size.least + 5 - (name == "degree") for name, size in shape.sizes.items()}]
    fitting = [sizes for sizes in found if shape().problem(sizes) is None and sum(shape().count(sizes)) < 400]
    assert len(fitting) >= 3
    return fitting


def drawn(shape: type[Generator], sizes: Mapping[str, int], seed: int = 1) -> Draft:
    draft = Draft()
    shape().draw(draft, sizes, Random(seed))
    return draft


def lab(shape: type[Generator], sizes: Mapping[str, int], **rest: object) -> Topology:
    text = {"name": "lab", "topology": {"generate": {"g": {"shape": shape.name, **sizes, **rest}}}}
    return parse(json.dumps(text).encode(), file="lab.yml")


def test_counts_are_known_before_anything_is_drawn(shape: type[Generator]) -> None:
    for sizes in some_sizes(shape):
        draft = drawn(shape, sizes)
        assert shape().count(sizes) == (len(draft.nodes), len(draft.links)), sizes


def test_every_graph_is_connected_and_joins_no_pair_twice(shape: type[Generator]) -> None:
    for sizes in some_sizes(shape):
        draft = drawn(shape, sizes)
        assert all(a != b for _, a, b in draft.links)
        pairs = [frozenset((a, b)) for _, a, b in draft.links]
        assert len(set(pairs)) == len(pairs)
        reached, waiting = {0}, [0]
        while waiting:
            here = waiting.pop()
            near = {other for pair in pairs if here in pair for other in pair} - reached
            reached |= near
            waiting.extend(near)
        assert len(reached) == len(draft.nodes), sizes


def test_equal_seeds_give_equal_graphs_and_only_chance_gives_others(shape: type[Generator]) -> None:
    sizes = some_sizes(shape)[-1]
    assert drawn(shape, sizes).links == drawn(shape, sizes).links
    others = [drawn(shape, sizes, seed).links for seed in range(2, 6)]
    assert any(links != drawn(shape, sizes).links for links in others) == shape.chance


def test_roles_and_sizes_are_those_declared(shape: type[Generator]) -> None:
    draft = drawn(shape, some_sizes(shape)[-1])
    assert set(draft.nodes) == set(shape.roles)
    assert {role for role, _, _ in draft.links} == set(shape.links)
    assert shape.description
    assert all(size.description for size in shape.sizes.values())


def test_hosts_reach_each_other_in_a_lab_of_it(shape: type[Generator]) -> None:
    for sizes in some_sizes(shape):
        topology = lab(shape, sizes)
        assert (len(topology.nodes), len(topology.links)) == shape().count(sizes)
        paths = Paths(topology)
        hosts = [node.name for node in topology.nodes if node.kind is NodeKind.HOST]
        assert all(set(hosts) <= paths.reachable(host) for host in hosts[:2])


def test_every_role_may_have_a_name_a_kind_and_settings(shape: type[Generator]) -> None:
    sizes = some_sizes(shape)[1]
    names = {role: f"{role}x{{n:03}}" for role in shape.roles}
    links = {role: {"mtu": 9000} for role in shape.links}
    nodes = {role: found.kind for role, found in shape.roles.items()}
    topology = lab(shape, sizes, names=names, links=links, nodes=nodes)
    assert {node.name.rstrip("0123456789") for node in topology.nodes} == {f"{role}x" for role in shape.roles}
    assert {link.mtu for link in topology.links} == {9000}


def test_absurd_sizes_are_refused_in_words(shape: type[Generator]) -> None:
    with pytest.raises(TopologyError, match=r"nodes and|deeper|take at most|write a number"):
        lab(shape, dict.fromkeys(shape.sizes, 10**9))


def test_a_missing_size_is_named(shape: type[Generator]) -> None:
    needed = [name for name, size in shape.sizes.items() if size.default is None]
    with pytest.raises(TopologyError) as caught:
        lab(shape, {})
    for name in needed:
        assert f"'{name}' is missing" in str(caught.value)


def test_it_is_in_the_schema_for_editors(shape: type[Generator]) -> None:
    definitions = json_schema()["$defs"]
    properties = definitions[shape.__name__]["properties"]
    assert set(shape.sizes) <= set(properties)
    assert properties["shape"]["const"] == shape.name
