"""What `ip` is told for a lab, as text: reviewed as such, changed on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.links.settings import Impairments
from orchestrator.backends.base import Impairment
from orchestrator.errors import BackendError
from orchestrator.executor import FakeExecutor, run_batch
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from orchestrator.wiring import commands, namespaces
from orchestrator.wiring.shaping import FORWARD, LinkShaping
from orchestrator.wiring.state import LinkRecord

LINE = b"""
name: line
topology:
  nodes: {left: {}, middle: {kind: router}, right: {}}
  links:
    - endpoints: ["left:eth1", "middle:eth1"]
      netem: {delay: 10ms}
    - endpoints: ["middle:eth2", "right:eth1"]
      mtu: 1400
"""

GOLDEN = """\
ip -batch -
    netns add nw-0123abcd-link-0
    netns add nw-0123abcd-node-left
ip -batch -
    link add name eth1 index 1000000000 netns /L address 02:00:00:00:00:01 mtu 1500 \
txqueuelen 1000 type veth peer name a netns /0 mtu 1500 txqueuelen 1000
    link add name eth1 index 1000000001 netns /M address 02:00:00:00:00:02 mtu 1500 \
txqueuelen 1000 type veth peer name b netns /0 mtu 1500 txqueuelen 1000
nsenter --net=/L -- ip -batch -
    link set dev lo up
    address add 10.0.0.1/30 dev eth1
    link set dev eth1 up
    neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth1 nud permanent
    route replace 10.0.0.0/8 via 10.0.0.2 dev eth1
nsenter --net=/M -- ip -batch -
    link set dev lo up
    address add 10.0.0.2/30 dev eth1
    link set dev eth1 up
    neigh replace 10.0.0.1 lladdr 02:00:00:00:00:01 dev eth1 nud permanent
    address add 10.0.0.5/30 dev eth2
    link set dev eth2 up
    neigh replace 10.0.0.6 lladdr 02:00:00:00:01:02 dev eth2 nud permanent
nsenter --net=/0 -- ip -batch -
    link set dev a up
    link set dev b up
    link add name join type bridge stp_state 0 forward_delay 0 ageing_time 0 mcast_snooping 0
    link set dev a master join
    link set dev b master join
    link set dev join up
"""


@pytest.fixture
def plan() -> DeploymentPlan:
    return make_plan(parse(LINE, file="line.lab.yml"))


def test_a_lab_in_commands(plan: DeploymentPlan) -> None:
    fake = FakeExecutor()
    names = [namespaces.link_namespace("0123abcd", 0), namespaces.node_namespace("0123abcd", "left")]
    run_batch(fake, "ip", commands.namespace_lines(names))
    left, middle, link = Path("/L"), Path("/M"), Path("/0")
    run_batch(fake, "ip", commands.veth_lines(plan.links[0], plan, a=left, middle=link, b=middle))
    run_batch(fake, "ip", commands.node_lines(plan.node("left"), plan), namespace=left)
    run_batch(fake, "ip", commands.node_lines(plan.node("middle"), plan), namespace=middle)
    run_batch(fake, "ip", [*commands.link_up_lines(), *commands.join_lines()], namespace=link)
    assert "\n".join(fake.script) + "\n" == GOLDEN


def test_only_routers_forward(plan: DeploymentPlan) -> None:
    settings = {node.name: commands.node_settings(node)["net/ipv4/ip_forward"] for node in plan.nodes}
    assert settings == {"left": "0", "middle": "1", "right": "0"}


def test_impairments_that_did_not_take_are_an_error() -> None:
    """tc says that all went well, and the kernel has nothing."""

    def no_spawn(*_: object) -> object:
        raise AssertionError("a kernel with netem needs no shaper")

    link = LinkRecord("l", 0, "a:eth1", "b:eth1", 1500, "/0", "/none", "seed")
    fake = FakeExecutor(answer=lambda argv: "[]" if "show" in argv else "")
    shaping = LinkShaping(link, Impairment.KERNEL, fake, no_spawn)  # type: ignore[arg-type]
    with pytest.raises(
        BackendError, match="link l, forward: the impairments did not take: delay: asked 10ms"
    ):
        shaping.set(FORWARD, Impairments.parse({"delay": "10ms"}))
    assert fake.script[0] == "nsenter --net=/0 -- tc -batch -"
    assert fake.script[1].startswith("    qdisc replace dev b root handle 1: netem ")


def test_names_of_namespaces_are_safe_and_distinct() -> None:
    assert namespaces.node_namespace("0123abcd", "lisbon") == "nw-0123abcd-node-lisbon"
    odd = [namespaces.node_namespace("0123abcd", name) for name in ("a/b", "a b", "a-b", "x" * 60, "x" * 61)]
    assert len(set(odd)) == len(odd)
    assert all("/" not in name and " " not in name and len(name) < 80 for name in odd)


def test_ipv6_is_configured_to_say_nothing_by_itself() -> None:
    dual = LINE.replace(b"nodes:", b"defaults: {ip: dual}\n  nodes:")
    plan = make_plan(parse(dual, file="line.lab.yml"))
    lines = [" ".join(line) for line in commands.node_lines(plan.node("left"), plan)]
    assert "address add 10.0.0.1/30 dev eth1" in lines
    assert "address add fd6e:6172:726f::1/64 dev eth1 nodad" in lines
    assert "route replace fd6e:6172:726f::/48 via fd6e:6172:726f::2 dev eth1" in lines
    assert "neigh replace fd6e:6172:726f::2 lladdr 02:00:00:00:00:02 dev eth1 nud permanent" in lines
    router, host = (commands.node_settings(plan.node(name)) for name in ("middle", "left"))
    assert (router["net/ipv6/conf/all/forwarding"], host["net/ipv6/conf/all/forwarding"]) == ("1", "0")
    assert host["net/ipv6/conf/default/disable_ipv6"] == "0"
    assert host["net/ipv6/conf/default/accept_dad"] == "0"
    assert host["net/ipv6/conf/default/addr_gen_mode"] == "1"
