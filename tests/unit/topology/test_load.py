"""What a topology file means once it is read."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from orchestrator.topology.errors import TopologyError
from orchestrator.topology.expectations import EXPECTATION_KINDS, ExpressionError, parse_expectation
from orchestrator.topology.load import load, parse
from orchestrator.topology.model import Expectation, NodeKind, Topology
from orchestrator.topology.schema_file import json_schema_text

TOPOLOGIES = Path(__file__).parents[3] / "topologies"

LAB = """
name: lab
topology:
  defaults: {netem: {delay: 5ms, loss: 1%}, mtu: 1400, transport: {arq: go-back-n}}
  kinds: {host: {transport: {integrity: xor}}}
  nodes:
    a:
    b: {transport: {arq: stop-and-wait, idle-timeout: 5s}}
    r: {kind: router}
  links:
    - endpoints: ["a:eth1", "r:eth1"]
      netem: {rate: 10Mbit}
      netem-forward: {delay: 20ms}
      netem-reverse: {loss: 0%}
    - {endpoints: ["r:eth2", "b:eth1"], mtu: 9000}
"""


def read(text: str) -> Topology:
    return parse(text.encode(), file="lab.yml")


def test_defaults_are_overridden_key_by_key() -> None:
    first, second = read(LAB).links
    assert first.forward.to_mapping() == {"loss": "1%", "delay": "20ms", "rate": "10Mbit"}
    assert first.reverse.to_mapping() == {"delay": "5ms", "rate": "10Mbit"}
    assert second.forward.to_mapping() == {"loss": "1%", "delay": "5ms"}
    assert (first.mtu, second.mtu) == (1400, 9000)


def test_transport_of_a_node_is_merged_from_defaults_kind_and_node() -> None:
    a, b, r = read(LAB).nodes
    assert a.transport == {"arq": "go-back-n", "integrity": "xor"}
    assert b.transport == {"arq": "stop-and-wait", "integrity": "xor", "idle_timeout": 5 * 10**9}
    assert r.kind is NodeKind.ROUTER
    assert r.transport == {"arq": "go-back-n"}


def test_flows_are_a_list_or_a_mapping() -> None:
    listed = read(LAB + "workloads:\n  - {name: f, kind: bulk, from: a, to: b, size: 1kB}\n")
    mapped = read(LAB + "workloads:\n  f: {kind: bulk, from: a, to: b, size: 1kB}\n")
    assert listed.workloads == mapped.workloads
    assert listed.workloads[0].options == {"size": 1000}


def test_options_are_in_base_units() -> None:
    flows = """workloads:
  e: {kind: echo, from: a, to: b, size: 64B, count: 10, interval: 20ms, start: 1s}
  m: {kind: messages, from: a, to: b, rate: 100/s, transport: {stream-window: 64KiB}}
"""
    echo, messages = read(LAB + flows).workloads
    assert echo.options == {"size": 64, "count": 10, "interval": 20_000_000}
    assert echo.start == 10**9
    assert messages.options == {"rate": 100}
    assert messages.transport == {"stream_window": 65_536}


def test_a_node_may_be_called_like_a_number_or_a_truth_value() -> None:
    text = LAB.replace("    a:\n", "    no:\n").replace("a:eth1", "no:eth1")
    topology = read(text.replace("    b:", "    1:").replace("b:eth1", "1:eth1"))
    assert [node.name for node in topology.nodes] == ["no", "1", "r"]


def test_a_file_is_looked_for_beside_the_topology(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"x")
    (tmp_path / "lab.yml").write_text(LAB + "workloads: {f: {kind: bulk, from: a, to: b, file: film}}\n")
    assert load(tmp_path / "lab.yml").workloads[0].options == {"file": str((tmp_path / "film").resolve())}


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="No such file"):
        load(tmp_path / "missing.yml")


def test_a_file_to_send_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"x")
    (tmp_path / "film").chmod(0)
    text = LAB + "workloads: {f: {kind: bulk, from: a, to: b, file: film}}\n"
    mine = os.geteuid()
    try:
        if mine == 0:
            os.seteuid(65_534)  # root may read anything
        with pytest.raises(TopologyError, match=r"'film' cannot be read: Permission denied\n"):
            parse(text.encode(), file="lab.yml", directory=tmp_path)
    finally:
        os.seteuid(mine)


def test_anchors_may_be_shared() -> None:
    text = LAB.replace("netem: {rate: 10Mbit}", "netem: &n {rate: 10Mbit}").replace("mtu: 9000", "netem: *n")
    first, second = read(text).links
    assert first.forward.rate == second.forward.rate == 10**7


def test_unknown_congestion_controller_names_those_there_are() -> None:
    with pytest.raises(TopologyError, match="new-reno"):
        read(LAB.replace("arq: go-back-n", "congestion: cubik"))


def test_schema_file_is_current() -> None:
    assert (TOPOLOGIES / "schema.json").read_text(encoding="utf-8") == json_schema_text(), (
        "the language changed: write topologies/schema.json anew with json_schema_text()"
    )


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.rglob("*.lab.yml")), ids=lambda path: path.name)
def test_editors_find_the_schema_of_each_topology(path: Path) -> None:
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", path.read_text().splitlines()[0])
    assert found is not None, "the first line tells editors where the schema is"
    assert (path.parent / found[1]).resolve() == TOPOLOGIES / "schema.json"


def test_schema_takes_parameters_where_numbers_stand() -> None:
    definitions = json.loads(json_schema_text())["$defs"]
    number, parameter = definitions["Clos"]["properties"]["spines"]["anyOf"]
    assert number["type"] == "integer"
    assert parameter == {"$ref": "#/$defs/Parameter"}
    assert re.search(definitions["Parameter"]["pattern"], "${spines}")
    # What is written by a unit is a text anyway, and what tells shapes apart stays as it is.
    assert definitions["Clos"]["properties"]["shape"]["const"] == "clos"


def test_schema_knows_every_top_level_key() -> None:
    schema = json.loads(json_schema_text())
    assert set(schema["properties"]) == {
        "name",
        "repeats",
        "calibrate",
        "labels",
        "case",
        "description",
        "topology",
        "workloads",
        "timeline",
        "expect",
        "seed",
        "time-limit",
        "qlog",
        "extends",
        "parameters",
    }
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("completion <= 30s", Expectation("completion", None, "<=", 30e9, "completion <= 30s")),
        ("goodput>=5Mbit", Expectation("goodput", None, ">=", 5e6, "goodput >= 5Mbit")),
        ("rtt  p50 <= 90ms", Expectation("rtt p50", None, "<=", 90e6, "rtt p50 <= 90ms")),
        ("loss <= 1%", Expectation("loss", None, "<=", 0.01, "loss <= 1%")),
        ("integrity == ok", Expectation("integrity", None, "==", 1.0, "integrity == ok")),
        ("wire violations == 0", Expectation("wire violations", None, "==", 0.0, "wire violations == 0")),
    ],
)
def test_expectations_are_read(text: str, expected: Expectation) -> None:
    assert parse_expectation(text, None) == expected


def test_every_expectation_is_described_in_the_readme() -> None:
    readme = (TOPOLOGIES / "README.md").read_text(encoding="utf-8")
    for name in EXPECTATION_KINDS:
        assert f"`{name}`" in readme


@pytest.mark.parametrize(
    ("text", "kind", "arguments", "aggregate"),
    [
        ("fairness(film, news) >= 95%", "fairness", ("film", "news"), ""),
        ("fairness >= 0.95", "fairness", (), ""),
        ("median(goodput) >= 5Mbit", "goodput", (), "median"),
        ("min( fairness( a,b ) ) >= 0.9", "fairness", ("a", "b"), "min"),
        ("utilisation(r1:eth2) >= 80%", "utilisation", ("r1:eth2",), ""),
    ],
)
def test_expectations_may_name_what_they_are_about(
    text: str, kind: str, arguments: tuple[str, ...], aggregate: str
) -> None:
    found = parse_expectation(text, None)
    assert (found.kind, found.arguments, found.aggregate) == (kind, arguments, aggregate)
    assert parse_expectation(found.text, None) == found


@pytest.mark.parametrize(
    ("text", "flow", "message"),
    [
        ("goodput(film) >= 5Mbit", None, "about one flow"),
        ("fairness >= 0.9", "film", "about several flows"),
        ("utilisation >= 90%", "film", "about a link"),
        ("utilisation(a:eth1, b:eth1) >= 90%", None, "of 2 links"),
        ("handshakes(film) == 1", None, "about the whole run"),
        ("fairness(a, ) >= 0.9", None, "empty place"),
        ("average(goodput) >= 1Mbit", None, "is measured"),
        ("median(median(goodput)) >= 1Mbit", None, "is measured"),
        ("fairness >= fair", None, "is not a number"),
    ],
)
def test_expectations_about_the_wrong_thing_are_refused(text: str, flow: str | None, message: str) -> None:
    with pytest.raises(ExpressionError, match=message) as caught:
        parse_expectation(text, flow)
    assert caught.value.advice or "write" in str(caught.value)
