"""docker-compose.yml is what its topology says, and asks for no more rights than it needs."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.links.settings import NONE, Impairments
from orchestrator.backends.compose import ComposeBackend
from orchestrator.compose.egress import SPLITTER_HANDLE, set_own_egress
from orchestrator.compose.generate import generate
from orchestrator.compose.networks import alias, endpoints_of, interface_of, network_name
from orchestrator.errors import NotSupportedError
from orchestrator.experiment.selection import missing_transports
from orchestrator.tc.commands import ROOT_HANDLE, set_impairments
from orchestrator.topology.load import load
from orchestrator.topology.model import NodeKind
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from tests.lanes.machine import ROOT

DEMO = "topologies/demo.lab.yml"


@pytest.fixture(scope="module")
def plan() -> DeploymentPlan:
    return make_plan(load(ROOT / DEMO))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The committed file, as Compose reads it."""
    found = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(found, dict)
    return found


def test_the_committed_file_is_what_the_demo_topology_generates() -> None:
    """Made anew by ``narrows compose topologies/demo.lab.yml -o docker-compose.yml``."""
    assert (ROOT / "docker-compose.yml").read_text() == generate(load(ROOT / DEMO), DEMO)


def test_the_same_topology_gives_the_same_file() -> None:
    assert generate(load(ROOT / DEMO), DEMO) == generate(load(ROOT / DEMO), DEMO)


def test_every_topology_becomes_a_file_with_a_service_a_node_and_a_network_a_link() -> None:
    for path in sorted((ROOT / "topologies").glob("*.lab.yml")):
        planned = make_plan(load(path))
        if any(node.nat is not None for node in planned.nodes):
            with pytest.raises(NotSupportedError, match="Compose has no NAT routers"):
                generate(load(path))
            continue
        read = yaml.safe_load(generate(load(path), f"topologies/{path.name}"))
        assert set(read["services"]) == {node.name for node in planned.nodes} | {"orchestrator"}
        assert len(read["networks"]) == len(planned.links) + 1, "the links and the management network"


def test_nodes_have_aioquic_where_a_flow_asks_for_quic_and_nowhere_else() -> None:
    for path, image, stage in (
        ("topologies/versus.lab.yml", "narrows-node-quic", "node-quic"),
        (DEMO, "narrows-node", "node"),
    ):
        services = yaml.safe_load(generate(load(ROOT / path), path))["services"]
        nodes = {name: service for name, service in services.items() if name != "orchestrator"}
        assert {service["image"] for service in nodes.values()} == {image}
        assert [service["build"]["target"] for service in nodes.values() if "build" in service] == [stage]
        plan = make_plan(load(ROOT / path))
        assert missing_transports(ComposeBackend(), plan) == []


def test_ipv6_is_on_where_the_topology_has_it_and_nowhere_else() -> None:
    path = "topologies/ipv6.lab.yml"
    planned = make_plan(load(ROOT / path))
    read = yaml.safe_load(generate(load(ROOT / path), path))
    for link in planned.links:
        network = read["networks"][network_name(link)]
        assert network.get("enable_ipv6", False) == bool(interface_of(planned, link.a).ipv6), link.name
        # As of IPv4, no subnet of the plan's becomes a route of the user's machine.
        assert set(network) <= {"driver_opts", "enable_ipv6"}
    for node in planned.nodes:
        service = read["services"][node.name]
        peers = json.loads(service["environment"]["NARROWS_PEERS"])
        assert peers == {
            other.name: {"public_key": other.public_key.hex(), "host": other.host, "port": other.port}
            for other in planned.nodes
            if other.kind is NodeKind.HOST
        }
        assert any(":" in peer["host"] for peer in peers.values())
        assert service["environment"]["NARROWS_LISTEN"] == f"[::]:{node.port}"
        forwards = "1" if node.kind is NodeKind.ROUTER else None
        assert service["sysctls"].get("net.ipv6.conf.all.forwarding") == forwards
        assert service["sysctls"]["net.ipv6.conf.all.disable_ipv6"] == "0"


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker compose here")
def test_compose_itself_takes_a_file_with_ipv6(tmp_path: Path) -> None:
    path = "topologies/ipv6.lab.yml"
    (tmp_path / "docker-compose.yml").write_text(generate(load(ROOT / path), path))
    argv = ["docker", "compose", "-f", str(tmp_path / "docker-compose.yml"), "config", "--format", "json"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    networks = json.loads(done.stdout)["networks"].values()
    assert sum(network.get("enable_ipv6", False) for network in networks) == len(networks) - 1


def test_agents_trace_only_where_the_topology_says_so() -> None:
    for qlog in (False, True):
        topology = replace(load(ROOT / DEMO), qlog=qlog)
        services = yaml.safe_load(generate(topology, DEMO))["services"]
        for node in make_plan(topology).nodes:
            found = services[node.name]["environment"].get("NARROWS_QLOG_DIRECTORY")
            assert found == (f"/results/agents/{node.name}/qlog" if qlog else None)


def test_services_drop_all_capabilities_but_the_needed(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert set(service["cap_add"]) <= {"NET_ADMIN", "NET_RAW", "DAC_OVERRIDE"}, name
        assert service["init"] is True, name
        assert not {"privileged", "pid", "ipc", "devices", "network_mode"} & set(service), name
    assert compose["services"]["orchestrator"]["cap_add"] == ["DAC_OVERRIDE"]


def test_no_service_mounts_more_than_the_results(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["volumes"] == ["./results:/results"], name


def test_only_routers_forward(compose: dict[str, Any], plan: DeploymentPlan) -> None:
    for node in plan.nodes:
        sysctls = compose["services"][node.name]["sysctls"]
        forwards = sysctls.get("net.ipv4.ip_forward") == "1"
        assert forwards == (node.kind is NodeKind.ROUTER), node.name


def test_each_end_of_a_link_has_an_alias_of_its_own(compose: dict[str, Any], plan: DeploymentPlan) -> None:
    found = [
        found
        for name, service in compose["services"].items()
        if name != "orchestrator"
        for network, settings in service["networks"].items()
        if network != "management"
        for found in settings["aliases"]
    ]
    wanted = [alias(end) for node in plan.nodes for _, end in endpoints_of(plan, node.name)]
    assert sorted(found) == sorted(wanted)
    assert len(set(found)) == len(found)


def test_no_network_puts_the_plan_on_the_users_machine(compose: dict[str, Any]) -> None:
    """A subnet in the file would become a route of the host, and shadow a network of the user's."""
    for name, network in compose["networks"].items():
        assert set(network or {}) <= {"driver_opts"}, name


def test_the_orchestrator_starts_when_all_agents_are_healthy(
    compose: dict[str, Any], plan: DeploymentPlan
) -> None:
    conditions = compose["services"]["orchestrator"]["depends_on"]
    assert conditions == {node.name: {"condition": "service_healthy"} for node in plan.nodes}


def test_a_nodes_own_egress_has_the_same_tree_below_a_splitter() -> None:
    impairments = Impairments.parse({"delay": "10ms", "loss": "1%", "rate": "10Mbit", "queue": "50p"})
    splitter, *rest = set_own_egress("eth0", impairments)
    assert splitter[:9] == ["tc", "qdisc", "replace", "dev", "eth0", "root", "handle", SPLITTER_HANDLE, "tbf"]
    assert rest[0][5:9] == ["parent", f"{SPLITTER_HANDLE}1", "handle", ROOT_HANDLE]
    assert rest[1:] == set_impairments("eth0", impairments)[1:]


def test_the_splitters_bucket_holds_the_largest_frame() -> None:
    """A frame longer than tbf's bucket is dropped."""
    for mtu in (1280, 1500, 9000):
        splitter = set_own_egress("eth0", Impairments.parse({"delay": "1ms"}), mtu=mtu)[0]
        assert int(splitter[splitter.index("burst") + 1].removesuffix("b")) >= mtu + 14


def test_an_unimpaired_egress_has_no_splitter() -> None:
    assert set_own_egress("eth0", NONE) == set_impairments("eth0", NONE)
