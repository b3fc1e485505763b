"""A topology as docker-compose.yml (pure): text in the order in which a reader wants it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.compose.networks import alias, endpoints_of, network_name
from orchestrator.errors import NotSupportedError
from orchestrator.images import NODE_IMAGE, ORCHESTRATOR_IMAGE
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
    if any(node.ipv6 for node in plan.nodes):
        raise NotSupportedError("Compose networks here have IPv4 only: write ip: 4, or use --backend docker")
    parts = [_head(plan), "services:\n"]
    for index, node in enumerate(plan.nodes):
        parts.append("\n".join(_service(plan, node, first=index == 0)) + "\n")
    parts.append("\n".join(_orchestrator(plan, path)) + "\n")
    parts.append("\n".join(_networks(plan)))
    return "\n".join(parts) + "\n"


def _head(plan: DeploymentPlan) -> str:
    peers = {
        node.name: {"public_key": node.public_key.hex(), "host": node.ipv4, "port": node.port}
        for node in plan.nodes
        if node.kind is NodeKind.HOST
    }
    return _HEAD.format(
        name=plan.name,
        image=NODE_IMAGE,
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
        yield "    build: {context: ., target: node}"
        yield "    pull_policy: build"
    yield f"    hostname: {node.name}"
    yield "    environment:"
    yield "      <<: *environment"
    yield f"      NARROWS_NAME: {node.name}"
    yield f"      NARROWS_PRIVATE_KEY: {json.dumps(node.private_key.hex())}"
    yield f"      NARROWS_LISTEN: 0.0.0.0:{node.port}"
    yield f"      NARROWS_KEY_LOG: {RESULTS}/agents/{node.name}/keys.log"
    yield f"      NARROWS_FILES_DIRECTORY: {RESULTS}/agents/{node.name}/files"
    if node.transport:
        yield f"      NARROWS_TRANSPORT: {json.dumps(json.dumps(dict(node.transport)))}"
    if plan.qlog:
        yield f"      NARROWS_QLOG_DIRECTORY: {RESULTS}/agents/{node.name}/qlog"
    if node.kind is NodeKind.ROUTER:
        yield "    sysctls:"
        yield '      net.ipv4.ip_forward: "1"'
        yield '      net.ipv4.conf.all.rp_filter: "0"'
        yield '      net.ipv4.conf.default.rp_filter: "0"'
    yield "    networks:"
    yield "      management: {}"
    for link, endpoint in endpoints_of(plan, node.name):
        yield f"      {network_name(link)}: {{aliases: [{alias(endpoint)}]}}"


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
        mtu = f'{{com.docker.network.driver.mtu: "{link.mtu}"}}'
        yield f"  {network_name(link)}: {{driver_opts: {mtu}}}"


def _flow(words: Sequence[str]) -> str:
    return "[" + ", ".join(words) + "]"
