"""Large topologies are drawn with what is alike as one."""

from __future__ import annotations

from orchestrator.topology.folding import fold
from orchestrator.topology.graph import RENDERERS
from orchestrator.topology.load import parse
from orchestrator.topology.model import Topology

TEXT = """
name: fabric
topology:
  defaults: {netem: {delay: 1ms}}
  generate: {dc: {shape: clos, spines: 4, leaves: 12, hosts: 7, names: {host: "server{n}"}}}
workloads:
  incast: {kind: bulk, from: "server*", to: server1, size: 1kB}
  ping: {kind: echo, from: server84, to: server1, count: 3}
expect: [integrity == ok, incast: completion <= 9s]
"""


def fabric() -> Topology:
    return parse(TEXT.encode(), file="fabric.yml")


def test_a_hundred_nodes_become_a_group_a_leaf() -> None:
    whole, folded = fabric(), fold(fabric())
    assert (len(whole.nodes), len(whole.links), len(whole.workloads)) == (100, 132, 84)
    assert (len(folded.nodes), len(folded.links), len(folded.workloads)) == (28, 60, 13)
    assert [node.name for node in folded.nodes if node.name.startswith("server")][:2] == [
        "server1…server7 (7)",
        "server8…server14 (7)",
    ]
    assert {flow.name for flow in folded.workloads} == {"incast ×6", "incast ×7", "ping"}
    assert [(one.flow, one.text) for one in folded.expectations] == [
        (None, "integrity == ok"),
        ("incast ×6", "completion <= 9s"),
        ("incast ×7", "completion <= 9s"),
    ]


def test_hosts_on_links_that_differ_are_drawn_each() -> None:
    text = TEXT.replace("links:", "") + ""
    more = text.replace(
        "workloads:",
        '  nodes: {server85: , server86: }\n  links:\n    - endpoints: ["server85:eth1", "dc-leaf1:x"]\n'
        '    - {endpoints: ["server86:eth1", "dc-leaf1:y"], netem: {delay: 9ms}}\nworkloads:',
    )
    names = {node.name for node in fold(parse(more.encode(), file="fabric.yml")).nodes}
    assert "server86" in names
    assert "server85…server7 (8)" in names


def test_every_style_draws_it_in_few_lines_and_with_known_ends() -> None:
    folded = fold(fabric())
    for style, draw in RENDERERS.items():
        drawn = draw(folded)
        assert len(drawn.splitlines()) < 110, style
        assert "server1…server7 (7)" in drawn
    mermaid = RENDERERS["mermaid"](folded)
    ids = {line.split("[")[0].split("(")[0].strip() for line in mermaid.splitlines() if '["' in line}
    assert "n_server1_server7__7_" in ids
