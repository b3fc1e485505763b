"""A topology as docker-compose.yml (pure): text in the order in which a reader wants it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.compose.networks import alias, endpoints_of, interface_of, network_name
from orchestrator.containers.equipment import image_of
from orchestrator.errors import NotSupportedError
from orchestrator.images import NODE_STAGES, ORCHESTRATOR_IMAGE
from orchestrator.topology.model import NodeKind, Topology
from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.topology.planning import make_plan

#: Where agents take commands, on the management network.
CONTROL_PORT = 7000
#: Where results lie in every container; ``./results`` outside.
RESULTS = "/results"

_HEAD = """\
# Made by `narrows compose` from the topology {name!r}; change that, not this.
#
#   docker compose up --build --abort-on-container-exit
#
# builds two images, starts an agent a node, and an orchestrator that sets the links' impairments through the
# agents, runs the flows, checks every captured frame and ends with a table and PASS or FAIL; all is kept in
# ./results/. Without netem in this machine's kernel the agents shape in user space; the report says so.
name: narrows-{name}

x-agent: &agent
  image: {image}
  pull_policy: never      # made by the first service's build
  init: true              # PID 1 must act on SIGTERM, or each stop takes ten seconds
  cap_drop: [ALL]
  cap_add: {capabilities}
  stop_grace_period: 10s
  volumes: ["./results:{results}"]
  sysctls:
    net.ipv4.conf.all.rp_filter: "0"       # a node is reached by one address over any of its links
    net.ipv4.conf.default.rp_filter: "0"

x-environment: &environment
  NARROWS_CONTROL: {control}
  NARROWS_PEERS: >-
    {peers}
"""

#: tc, routes, offloads and the shaper's rule · raw sockets of captures · writing a user's ./results as root.
AGENT_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "DAC_OVERRIDE")
#: What is off where IPv6 is on: nothing of it is to speak by itself, and addresses are the plan's.
_IPV6_OFF = ("disable_ipv6", "accept_ra", "autoconf", "dad_transmits", "router_solicitations")
ORCHESTRATOR_CAPABILITIES = ("DAC_OVERRIDE",)


def generate(topology: Topology, path: str = "topologies/demo.lab.yml") -> str:
    """Return the Compose file of a topology.

    Args:
        path: the topology's file as the orchestrator's container sees it.
    """
    plan = make_plan(topology)
    routers = [node.name for node in plan.nodes if node.nat is not None]
    if routers:
        raise NotSupportedError(
            f"Compose has no NAT routers, and {routers[0]} is one: use another back end, or kind: router"
        )
    parts = [_head(plan), "services:\n"]
    for index, node in enumerate(plan.nodes):
        parts.append("\n".join(_service(plan, node, first=index == 0)) + "\n")
    parts.append("\n".join(_orchestrator(plan, path)) + "\n")
    parts.append("\n".join(_networks(plan)))
    return "\n".join(parts) + "\n"


def _head(plan: DeploymentPlan) -> str:
    peers = {
        node.name: {"public_key": node.public_key.hex(), "host": node.host, "port": node.port}
        for node in plan.nodes
        if node.kind is NodeKind.HOST
    }
    return _HEAD.format(
        name=plan.name,
        image=image_of(plan),
        capabilities=_flow(AGENT_CAPABILITIES),
        results=RESULTS,
        control=json.dumps({"tcp": f"0.0.0.0:{CONTROL_PORT}"}).join("''"),
        peers=_peers_text(peers),
    )


def _peers_text(peers: Mapping[str, Mapping[str, object]]) -> str:
    """Return the peers as JSON, one a line: YAML's ``>-`` folds the lines into one again."""
    lines = [f"{json.dumps(name)}: {json.dumps(peer)}" for name, peer in peers.items()]
    return "{" + ",\n    ".join(lines) + "}"


def _service(plan: DeploymentPlan, node: NodePlan, *, first: bool) -> Iterator[str]:
    yield f"  {node.name}:"
    yield "    <<: *agent"
    if first:
        yield f"    build: {{context: ., target: {NODE_STAGES[image_of(plan)]}}}"
        yield "    pull_policy: build"
    yield f"    hostname: {node.name}"
    yield "    environment:"
    yield "      <<: *environment"
    yield f"      NARROWS_NAME: {node.name}"
    yield f"      NARROWS_PRIVATE_KEY: {json.dumps(node.private_key.hex())}"
    everywhere = '"[::]:{}"' if ":" in node.host else "0.0.0.0:{}"
    yield f"      NARROWS_LISTEN: {everywhere.format(node.port)}"
    yield f"      NARROWS_KEY_LOG: {RESULTS}/agents/{node.name}/keys.log"
    yield f"      NARROWS_FILES_DIRECTORY: {RESULTS}/agents/{node.name}/files"
    if node.transport:
        yield f"      NARROWS_TRANSPORT: {json.dumps(json.dumps(dict(node.transport)))}"
    if plan.qlog:
        yield f"      NARROWS_QLOG_DIRECTORY: {RESULTS}/agents/{node.name}/qlog"
    settings = _settings(node)
    if settings:
        yield "    sysctls:"
        yield from (f'      {name}: "{value}"' for name, value in settings.items())
    yield "    networks:"
    yield "      management: {}"
    for link, endpoint in endpoints_of(plan, node.name):
        yield f"      {network_name(link)}: {{aliases: [{alias(endpoint)}]}}"


def _settings(node: NodePlan) -> dict[str, str]:
    """Return the kernel settings of a node that are not every agent's; they take the place of those."""
    forwards = node.kind.forwards
    found = {"net.ipv4.ip_forward": "1"} if forwards else {}
    if forwards or node.ipv6:
        found |= {"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"}
    if node.ipv6:
        found |= {f"net.ipv6.conf.{of}.{name}": "0" for of in ("all", "default") for name in _IPV6_OFF}
        found |= {"net.ipv6.conf.all.forwarding": "1"} if forwards else {}
    return found


def _orchestrator(plan: DeploymentPlan, path: str) -> Iterator[str]:
    yield "  orchestrator:"
    yield "    build: {context: ., target: orchestrator}"
    yield f"    image: {ORCHESTRATOR_IMAGE}"
    yield "    init: true"
    yield "    cap_drop: [ALL]"
    yield f"    cap_add: {_flow(ORCHESTRATOR_CAPABILITIES)}"
    yield f"    command: [run, {path}, --backend, compose, --results, {RESULTS}]"
    yield f'    volumes: ["./results:{RESULTS}"]'
    yield "    networks: [management]"
    yield "    depends_on:"
    for node in plan.nodes:
        yield f"      {node.name}: {{condition: service_healthy}}"


def _networks(plan: DeploymentPlan) -> Iterator[str]:
    yield "networks:"
    yield "  management: {}"
    for link in plan.links:
        words = [f'driver_opts: {{com.docker.network.driver.mtu: "{link.mtu}"}}']
        if interface_of(plan, link.a).ipv6:
            # Its subnet is Docker's choice, as for IPv4: Docker Engine 27 and newer have some to choose from.
            words.append("enable_ipv6: true")
        yield f"  {network_name(link)}: {{{', '.join(words)}}}"


def _flow(words: Sequence[str]) -> str:
    return "[" + ", ".join(words) + "]"
