"""Kinds that inherit, parameters, files that extend others, and groups of nodes and flows."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.topology.bounded_yaml import MAX_DEPTH
from orchestrator.topology.errors import TopologyError
from orchestrator.topology.extending import MAX_FILES
from orchestrator.topology.groups import MAX_FLOWS
from orchestrator.topology.load import load, parse
from orchestrator.topology.model import NodeKind, Topology
from orchestrator.topology.parameters import ParameterError, parse_settings

KINDS = """
name: lab
topology:
  defaults: {netem: {delay: 5ms, rate: 1Gbit}, mtu: 1400, transport: {arq: go-back-n, ecn: true}}
  kinds:
    host: {transport: {congestion: cubic}}
    edge: {transport: {congestion: bbr}}
    phone: {kind: edge, transport: {ecn: false}}
    core: {kind: router}
  link-kinds:
    wan: {netem: {delay: 20ms}, mtu: 1500}
    dsl: {kind: wan, netem-forward: {rate: 1Mbit}, netem-reverse: {rate: 16Mbit}}
  nodes: {a: {kind: phone, transport: {arq: stop-and-wait}}, b: {kind: edge}, r: {kind: core}}
  links:
    - {endpoints: ["a:eth1", "r:eth1"], kind: dsl, netem-reverse: {delay: 30ms}}
    - {endpoints: ["r:eth2", "b:eth1"], kind: dsl, netem: {rate: 5Mbit}, mtu: 1300}
"""

TEMPLATE = """
name: template-${rate}
parameters: {rtt: 20ms, rate: 10Mbit, hosts: 2, big: "${hosts}MB"}
topology:
  defaults: {netem: {delay: "${rtt}"}}
  generate:
    g: {shape: star, size: "${hosts}", names: {host: "n{n}"}}
workloads:
  up-${rate}: {kind: bulk, from: n1, to: n2, size: "${big}"}
expect:
  - completion <= 30s
"""


def read(text: str, **parameters: str) -> Topology:
    return parse(text.encode(), file="lab.yml", parameters=parameters)


def refused(text: str, **parameters: str) -> str:
    with pytest.raises(TopologyError) as caught:
        read(text, **parameters)
    return str(caught.value)


def test_nodes_inherit_key_by_key_from_defaults_through_kinds() -> None:
    a, b, r = read(KINDS).nodes
    assert a.transport == {"arq": "stop-and-wait", "ecn": False, "congestion": "bbr"}
    assert b.transport == {"arq": "go-back-n", "ecn": True, "congestion": "bbr"}
    assert (a.kind, b.kind, r.kind) == (NodeKind.HOST, NodeKind.HOST, NodeKind.ROUTER)


def test_links_inherit_and_the_more_special_layer_wins_in_both_directions() -> None:
    first, second = read(KINDS).links
    assert first.forward.to_mapping() == {"delay": "20ms", "rate": "1Mbit"}
    assert first.reverse.to_mapping() == {"delay": "30ms", "rate": "16Mbit"}
    assert second.forward.to_mapping() == second.reverse.to_mapping() == {"delay": "20ms", "rate": "5Mbit"}
    assert (first.mtu, second.mtu) == (1500, 1300)


def test_a_kind_of_nobody_is_of_the_default_kind() -> None:
    text = KINDS.replace("defaults: {", "defaults: {kind: core, ").replace(
        "b: {kind: edge}", "b: {kind: host}"
    )
    a, b, _ = read(text).nodes
    assert (a.kind, b.kind) == (NodeKind.ROUTER, NodeKind.HOST)


def test_parameters_take_their_type_where_they_stand() -> None:
    topology = read(TEMPLATE)
    assert topology.name == "template-10Mbit"
    assert [node.name for node in topology.nodes] == ["g-hub", "n1", "n2"]
    assert topology.links[0].forward.delay == 20_000_000
    assert (topology.workloads[0].name, topology.workloads[0].options) == ("up-10Mbit", {"size": 2_000_000})


def test_set_overrides_parameters_that_others_are_made_of() -> None:
    topology = read(TEMPLATE, hosts="3", rtt="1s")
    assert len(topology.nodes) == 4
    assert topology.workloads[0].options == {"size": 3_000_000}
    assert topology.links[0].forward.delay == 10**9


def test_a_wrong_value_is_shown_where_it_is_used_and_where_it_came_from() -> None:
    assert refused(TEMPLATE, rtt="20").count("${rtt} is '20', from --set") == 1
    shown = refused(TEMPLATE.replace("rtt: 20ms", "rtt: 20"))
    assert "lab.yml:5:29: delay: 20 has no unit" in shown
    assert "${rtt} is '20', given in lab.yml:3:19" in shown


def test_a_dollar_sign_can_be_written() -> None:
    assert read(TEMPLATE + "description: $${rtt}\n").description == "${rtt}"


def test_a_parameter_that_nobody_has_is_named_once() -> None:
    shown = refused(TEMPLATE.replace('delay: "${rtt}"', 'delay: "${rtd}"'), hots="3")
    assert shown.count("there is no parameter 'rtd'") == 1
    assert "did you mean 'rtt'?" in shown
    assert "--set hots=3: there is no parameter 'hots'" in shown
    assert "did you mean 'hosts'?" in shown
    assert "has no unit" not in shown


def test_parameters_made_of_each_other_end() -> None:
    circle = TEMPLATE.replace("rtt: 20ms", 'rtt: "${rate}"').replace("rate: 10Mbit", 'rate: "${rtt}"')
    assert "made of itself: rtt → rate → rtt" in refused(circle)
    doubling = ", ".join(f'p{n}: "${{p{n + 1}}}${{p{n + 1}}}"' for n in range(60))
    text = f"name: x${{p0}}\nparameters: {{{doubling}, p60: zzzzzzzz}}\ntopology: {{nodes: {{a: }}}}\n"
    assert "longer than 1000 characters" in refused(text)


@pytest.mark.parametrize("words", [("rtt",), ("=1",), ("a b=1",), ("a=1", "a=2")])
def test_set_wants_a_name_and_a_value(words: tuple[str, ...]) -> None:
    with pytest.raises(ParameterError):
        parse_settings(words)


def test_set_takes_anything_after_the_first_sign() -> None:
    assert parse_settings(("a=b=c", "d=")) == {"a": "b=c", "d": ""}


def test_a_file_changes_what_it_extends_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "film").write_bytes(b"x")
    flow = "workloads: {f: {kind: bulk, from: a, to: b, file: film}}\nexpect: [completion <= 9s]\n"
    (tmp_path / "base" / "base.yml").write_text(KINDS + flow)
    (tmp_path / "lab.yml").write_text(
        "extends: base/base.yml\nname: other\n"
        "topology:\n"
        "  nodes: {a: {transport: {ecn: true}}, c: }\n"
        "  link-kinds: {wan: {netem: {loss: 1%}}}\n"
        '  links: [{endpoints: ["c:eth1", "r:eth3"], kind: wan}]\n'
        "expect: [integrity == ok]\n"
    )
    topology = load(tmp_path / "lab.yml")
    assert topology.name == "other"
    assert topology.node("a").transport == {"arq": "stop-and-wait", "ecn": True, "congestion": "bbr"}
    assert [str(link.a) for link in topology.links] == ["a:eth1", "r:eth2", "c:eth1"]
    assert topology.links[2].forward.to_mapping() == {"loss": "1%", "delay": "20ms", "rate": "1Gbit"}
    assert [found.text for found in topology.expectations] == ["completion <= 9s", "integrity == ok"]
    assert topology.workloads[0].options == {"file": str((tmp_path / "base" / "film").resolve())}


def test_problems_of_an_extended_file_are_shown_in_it_and_say_who_extends_it(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(KINDS.replace("delay: 20ms", "delay: 20"))
    (tmp_path / "middle.yml").write_text("extends: base.yml\n")
    (tmp_path / "lab.yml").write_text("extends: [middle.yml]\ntopology: {nodes: {a: {kind: fone}}}\n")
    with pytest.raises(TopologyError) as caught:
        load(tmp_path / "lab.yml")
    shown = str(caught.value)
    assert f"{tmp_path / 'base.yml'}:11:26: delay: 20 has no unit" in shown
    assert "   11 |     wan: {netem: {delay: 20}, mtu: 1500}" in shown
    assert f"= extended from {tmp_path / 'middle.yml'}:1:10" in shown
    assert f"= extended from {tmp_path / 'lab.yml'}:1:11" in shown
    assert f"{tmp_path / 'lab.yml'}:2:30: kind: found 'fone'" in shown
    assert "did you mean 'phone'?" in shown


def test_files_that_extend_themselves_end(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("extends: b.yml\n")
    (tmp_path / "b.yml").write_text("extends: a.yml\n")
    with pytest.raises(TopologyError, match="extends itself"):
        load(tmp_path / "a.yml")


def test_a_long_chain_of_files_is_refused(tmp_path: Path) -> None:
    for number in range(MAX_DEPTH + 5):
        (tmp_path / f"{number}.yml").write_text(f"extends: {number + 1}.yml\n")
    with pytest.raises(TopologyError, match="files deep"):
        load(tmp_path / "0.yml")


def test_a_wide_fan_of_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(KINDS)
    names = ", ".join(["base.yml"] * (MAX_FILES + 1))
    (tmp_path / "lab.yml").write_text(f"extends: [{names}]\n")
    with pytest.raises(TopologyError, match="files in one topology"):
        load(tmp_path / "lab.yml")


GROUPS = """
name: lab
topology:
  generate: {g: {shape: dumbbell, left: 3, right: 3, names: {left: "client{n}", right: "server{n}"}}}
workloads:
  one: {kind: bulk, from: client1, to: server1, size: 1kB}
"""


def flows(text: str) -> list[tuple[str, str, str]]:
    found = read(GROUPS + text).workloads[1:]
    return [(flow.name, flow.source, flow.target) for flow in found]


def test_all_to_one_and_pairs_and_several_a_pair() -> None:
    assert flows("  m: {kind: bulk, from: client*, to: server1, size: 1kB}\n") == [
        ("m-1", "client1", "server1"),
        ("m-2", "client2", "server1"),
        ("m-3", "client3", "server1"),
    ]
    matched = flows("  m: {kind: bulk, from: client*, to: server*, pairs: matched, size: 1kB}\n")
    assert [pair[1:] for pair in matched] == [(f"client{n}", f"server{n}") for n in (1, 2, 3)]
    twice = flows("  m: {kind: bulk, from: client1, to: [server2], per-pair: 2, size: 1kB}\n")
    assert twice == [("m-1", "client1", "server2"), ("m-2", "client1", "server2")]


def test_all_to_all_leaves_flows_to_oneself_out() -> None:
    made = flows('  m: {kind: bulk, from: "*", to: "*", size: 1kB}\n')
    assert len(made) == 30
    assert all(source != target for _, source, target in made)


def test_expectations_are_about_the_flows_of_an_entry_or_of_nodes() -> None:
    many = "  m: {kind: bulk, from: client*, to: server1, size: 1kB}\n"
    expect = "expect: [m: completion <= 1s, client2*: completion <= 2s, m-3: completion <= 3s]\n"
    found = [(one.flow, one.text) for one in read(GROUPS + many + expect).expectations]
    assert found == [
        *((f"m-{n}", "completion <= 1s") for n in (1, 2, 3)),
        ("m-2", "completion <= 2s"),
        ("m-3", "completion <= 3s"),
    ]


def test_actions_on_flows_name_the_flows_of_an_entry_or_of_nodes() -> None:
    many = "  m: {kind: bulk, from: client*, to: server1, size: 1kB}\n"
    actions = "{at: 1s, start: [m-2, m]}, {at: 2s, stop: client3*}, {at: 3s, stop: one}, {at: 4s, stop: m-*}"
    timeline = f"timeline: [{actions}]\n"
    assert [event.value for event in read(GROUPS + many + timeline).timeline] == [
        ["m-2", "m-1", "m-3"],
        ["m-3"],
        ["one"],
        ["m-1", "m-2", "m-3"],
    ]


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ("from: cliemt*, to: server1", "did you mean 'client"),
        ("from: g-r*, to: server1", "no host is called 'g-r*'"),
        ("from: client*, to: [server1, server2], pairs: matched", "3 sources and 2 targets"),
        ("from: client*, to: server*, pairs: some", "pairs: found 'some'"),
        ("from: client*, to: server*, per-pair: 0", "write a number of at least 1"),
        ("from: client*, to: server*, per-pair: 9999", f"make at most {MAX_FLOWS:,}"),
        ("from: client*, to: server*, start: 5", "5 has no unit"),
    ],
)
def test_groups_that_cannot_be_are_explained_once(flow: str, said: str) -> None:
    shown = refused(f"{GROUPS}  m: {{kind: bulk, {flow}, size: 1kB}}\n")
    assert said in shown
    assert shown.count("lab.yml:") == 1
